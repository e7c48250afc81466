"""The chat protocol: from generation settings to the fields of a request, and from a reply to an answer.

Nothing is dropped in silence: a setting that the protocol has no field for must stand in the card's `extra_body`.
Source: OpenAI API reference, "Create chat completion"; vLLM documentation, "OpenAI-compatible server".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.models.base import Generation
from harness.records import GenerationSettings, Problem


def unmapped(settings: GenerationSettings, extra_body: Mapping[str, Any]) -> str:
    """Which setting the protocol has no field for and `extra_body` does not hold; empty where all can be sent.

    The names in `extra_body` are vLLM's: `use_beam_search` with `n`, `length_penalty`, `repetition_penalty`,
    `min_tokens`. `length_penalty` matters to beams only.
    """
    wanted: dict[str, tuple[object, dict[str, object]]] = {}
    if settings.num_beams != 1:
        wanted["num_beams"] = (settings.num_beams, {"use_beam_search": True, "n": settings.num_beams})
        if settings.length_penalty != 1.0:
            wanted["length_penalty"] = (settings.length_penalty, {"length_penalty": settings.length_penalty})
    if settings.repetition_penalty != 1.0:
        penalty = settings.repetition_penalty
        wanted["repetition_penalty"] = (penalty, {"repetition_penalty": penalty})
    if settings.min_new_tokens:
        wanted["min_new_tokens"] = (settings.min_new_tokens, {"min_tokens": settings.min_new_tokens})
    for name, (value, fields) in wanted.items():
        if any(extra_body.get(field) != given for field, given in fields.items()):
            return (
                f"generation.{name} is {value} and a chat endpoint has no such field; set it back in the card's "
                f"run.generation, or put {json.dumps(fields)} into run.options.extra_body where the server knows it"
            )
    return ""


def sent_settings(settings: GenerationSettings, length_field: str, seed: int) -> dict[str, Any]:
    """The fields of a request: temperature 0 without sampling, else temperature, top_p and the request's own seed."""
    body: dict[str, Any] = {length_field: settings.max_new_tokens, "temperature": 0.0}
    if settings.do_sample:
        body |= {"temperature": settings.temperature, "top_p": settings.top_p, "seed": seed}
    if settings.stop:
        body["stop"] = list(settings.stop)
    return body


def read_reply(body: bytes) -> Generation | Problem:
    """The answer in a reply of status 200: `choices[0].message.content` as it is, empty text included.

    A reply without one is a problem: `content_filter` where the server says that it held the answer back,
    `server_nonsense` for everything that is no chat completion.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Problem("server_nonsense", f"the reply is no JSON ({type(error).__name__}): {body[:60]!r}")
    try:
        choice = value["choices"][0]
        message = choice["message"]
        content = message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        return Problem("server_nonsense", f"the reply has no choices[0].message: {body[:60]!r}")
    if choice.get("finish_reason") == "content_filter" or message.get("refusal"):
        return Problem("content_filter", "the server held the answer back (finish_reason content_filter, or refusal)")
    if not isinstance(content, str):
        why = f"content is {type(content).__name__}, finish_reason is {choice.get('finish_reason')!r}"
        return Problem("server_nonsense", f"the reply has no text: {why}")
    usage = value.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    return Generation(content, _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens")))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def listed_models(body: bytes) -> list[Mapping[str, Any]]:
    """The entries in the answer to GET /models; none where it is no such list."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return []
    data = value.get("data") if isinstance(value, Mapping) else None
    return [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []
