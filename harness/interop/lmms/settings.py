"""lmms-eval's generation arguments as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.records import GenerationSettings

_SAME = ("num_beams", "min_new_tokens", "length_penalty", "repetition_penalty", "seed")
_READ = {*_SAME, "max_new_tokens", "temperature", "do_sample", "top_p", "until"}
MAX_NEW_TOKENS = 1024
"""Where a task does not say: what lmms-eval's own models take."""


def generation(given: Mapping[str, Any]) -> tuple[GenerationSettings, list[str]]:
    """Our settings, and the arguments that have no counterpart.

    As in lmms-eval's models, a temperature of 0 is greedy whatever `do_sample` says.
    """
    temperature = float(given.get("temperature") or 0.0)
    sampled = temperature > 0 and bool(given.get("do_sample", True))
    until = given.get("until") or ()
    settings = GenerationSettings(
        max_new_tokens=int(given.get("max_new_tokens") or MAX_NEW_TOKENS),
        do_sample=sampled,
        temperature=temperature if sampled else 1.0,
        top_p=float(given.get("top_p") or 1.0) if sampled else 1.0,
        stop=(until,) if isinstance(until, str) else tuple(until),
        **{name: given[name] for name in _SAME if given.get(name) is not None},
    )
    return settings, sorted(set(given) - _READ)
