"""Any server with an OpenAI-compatible chat endpoint: vLLM, SGLang, LMDeploy, `transformers serve`, commercial ones.

One request of the harness is one POST to `{base_url}/chat/completions`; a batch is that many at once, at most
`concurrency`. Images go before the text as PNG data URLs made from the decoded RGB picture, so no pixel changes; the
server puts its own chat template around the prompt. Whatever goes wrong is a problem of that request alone, and the
same command asks it again.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from harness.errors import ModelError
from harness.models.base import Generation, Model, ModelInput, Options, checked_options
from harness.models.decoding import cut_at, sampling_seed
from harness.models.served_http import HttpClient, HttpLimits
from harness.models.served_protocol import listed_models, read_reply, sent_settings, unmapped
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem

_OURS = frozenset({"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"})
_OURS_TOO = frozenset({"stream", "tools"})
_NO_ANSWERS = frozenset({"concurrency", "timeout_s", "retries", "retry_budget", "backoff_s", "max_wait_s"}) | {
    "give_up_after", "max_requests_per_minute", "api_key_env",
}  # fmt: skip
"""Options that change no answer and so are no part of the identity."""
_REVISION_FIELDS = ("revision", "commit", "sha", "digest", "root")
"""What servers call the weights behind a name in their answer to GET /models; vLLM: `root`."""
_UNVERIFIED = "a served model's weights cannot be verified: name and revision are the server's own word"
_NO_LIST = (400, 404, 405, 422, 500, 501)
"""Statuses of GET /models that say nothing about the chat: `transformers serve` gives 500 without a hub cache."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ServedOptions(Options):
    """Where the server is, what is sent beside the question, and how patient the harness is."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused value may be a secret in the wrong place

    base_url: str
    """Such as `http://localhost:8000/v1`; without user name, password and query."""
    model: str = Field(min_length=1)
    """The name under which the server serves the model."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$")
    """NAME of the environment variable that holds the key, never the key."""
    system: str | None = None
    """System message in front of every question."""
    image_detail: Literal["low", "high", "auto"] | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request, such as vLLM's `repetition_penalty`."""
    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the number of new tokens."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """Requests at once."""
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """For one attempt; longer ones are not tried again."""
    retries: Annotated[int, Field(ge=0)] = 5
    """Further attempts of one request after no connection, 408, 409, 429 or 5xx."""
    retry_budget: Annotated[int, Field(ge=0)] = 1000
    """Further attempts of all requests together."""
    backoff_s: Annotated[float, Field(gt=0)] = 0.5
    """Before the second attempt; doubled after each."""
    max_wait_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest wait between attempts; a server that asks for more is not waited for."""
    give_up_after: Annotated[int, Field(ge=1)] = 8
    """So many requests in a row without any answer, and the rest of the run is not asked."""
    max_requests_per_minute: Annotated[float, Field(gt=0)] | None = None

    @field_validator("base_url")
    @classmethod
    def _only_a_place(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give an address such as http://localhost:8000/v1")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("leave out user, password, query and fragment; a key comes from run.options.api_key_env")
        if parts.path.rstrip("/").endswith("/chat/completions"):
            raise ValueError("leave out /chat/completions")
        return value.rstrip("/")

    @field_validator("extra_body")
    @classmethod
    def _nothing_of_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(value.keys() & (_OURS | _OURS_TOO))
        if taken:
            raise ValueError(f"{taken[0]} is set by the harness; change the task's or the card's generation settings")
        return value

    def limits(self) -> HttpLimits:
        """How patient the client is."""
        return HttpLimits(**{name: getattr(self, name) for name in HttpLimits.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class _Question:
    item: ModelInput
    content: str | list[dict[str, Any]]
    """Of the user's message: text alone, or images and then the text."""


class Served(Model):
    """A model behind a chat endpoint. Any number of images; a batch is asked in parallel."""

    family = "openai"
    requires: ClassVar[tuple[str, ...]] = ("httpx",)
    extra: ClassVar[str] = "served"
    options_type: ClassVar[type[Options]] = ServedOptions

    def __init__(self, settings: ModelSettings, options: ServedOptions, client: HttpClient) -> None:
        super().__init__(settings)
        self.options = options
        self.client = client

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Any number of images; what the model behind the name takes, only the server knows."""
        return Capabilities(min_images=0, max_images=None, batching="padded")

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """The served name, the host, and the revision where the server tells one; the server is asked for it.

        Raises:
            ModelError: the server is not there or refuses the key.
        """
        options = checked_options(settings, ServedOptions)
        patience = options.model_copy(update={"retries": 1, "timeout_s": min(options.timeout_s, 30.0)})
        client = _client(settings, patience)
        try:
            told, warnings = _listed(settings, options, client)
        finally:
            client.close()
        parts = urlsplit(options.base_url)
        if parts.scheme == "http" and options.api_key_env and parts.hostname not in _LOOPBACK:
            warnings.append(f"the key travels unencrypted to {parts.hostname}; use https")
        lasting = options.model_dump(exclude=set(_NO_ANSWERS))
        processing = {
            "protocol": "chat completions, images before the text|v1",
            "images": "PNG of the decoded RGB image",
            **lasting,
            "server": told,
        }
        revision = "".join(f"#{told[name]}" for name in _REVISION_FIELDS[:1] if name in told)
        weights = f"served:{options.model}@{parts.netloc}{revision}"
        return ModelIdentity(replace(settings, options=lasting), weights, processing, (_UNVERIFIED, *warnings))

    @classmethod
    def load(cls, settings: ModelSettings) -> Served:
        """A client of the server; nothing is asked yet."""
        options = checked_options(settings, ServedOptions)
        return cls(settings, options, _client(settings, options))

    def prepare(self, batch: Sequence[ModelInput]) -> list[_Question]:
        """The messages, with images as data URLs."""
        return [_Question(item, self._content(item)) for item in batch]

    def _content(self, item: ModelInput) -> str | list[dict[str, Any]]:
        if not item.images:
            return item.request.prompt
        detail = {"detail": self.options.image_detail} if self.options.image_detail else {}
        parts: list[dict[str, Any]] = []
        for image in item.images:
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, format="PNG")
            url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
            parts.append({"type": "image_url", "image_url": {"url": url, **detail}})
        return [*parts, {"type": "text", "text": item.request.prompt}]

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        """Answers in order; settings that the protocol does not have are a problem of every request."""
        questions: list[_Question] = prepared
        lost = unmapped(settings, self.options.extra_body)
        if lost or not questions:
            return [Problem("unsupported_settings", lost) for _ in questions]
        ask: Callable[[_Question], Generation | Problem] = lambda question: self._answer(question, settings)  # noqa: E731
        with ThreadPoolExecutor(max_workers=min(self.options.concurrency, len(questions))) as pool:
            try:
                return list(pool.map(ask, questions))
            except BaseException:
                self.client.stop("the run was interrupted")
                raise

    def _answer(self, question: _Question, settings: GenerationSettings) -> Generation | Problem:
        request = question.item.request
        body = {**self.options.extra_body, "model": self.options.model, "messages": self._messages(question)}
        body |= sent_settings(settings, self.options.length_field, sampling_seed(settings.seed, request))
        reply = self.client.ask("chat/completions", body, seed=request.fingerprint)
        if reply.problem is not None:
            return reply.problem
        answer = read_reply(reply.body)
        if isinstance(answer, Problem):
            return Problem(answer.kind, self.client.without_key(answer.message))
        return replace(answer, text=cut_at(self.client.without_key(answer.text), settings.stop))

    def _messages(self, question: _Question) -> list[dict[str, Any]]:
        system = [{"role": "system", "content": self.options.system}] if self.options.system else []
        return [*system, {"role": "user", "content": question.content}]

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def api_key(settings: ModelSettings, options: ServedOptions) -> str | None:
    """The key that the card's variable holds; `None` where the card names none.

    The one environment read below the command line, on purpose: a key that came as an argument or in `ModelSettings`
    would be written into records and sent to other processes. Here it goes from the environment into the client alone.

    Raises:
        ModelError: the variable is not set, or holds what no header can carry; its value is never shown.
    """
    name = options.api_key_env
    if name is None:
        return None
    value = os.environ.get(name, "").strip()
    if not value:
        raise ModelError(f"{settings.name}: the environment variable {name} is not set; export it with the key")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ModelError(f"{settings.name}: the environment variable {name} holds characters that no key has")
    return value


def _client(settings: ModelSettings, options: ServedOptions) -> HttpClient:
    key = api_key(settings, options)
    try:
        return HttpClient(options.base_url, key, options.limits())
    except ImportError as error:
        raise ModelError(f'{settings.name}: httpx is not installed; pip install "vlm-harness[served]"') from error


def _listed(settings: ModelSettings, options: ServedOptions, client: HttpClient) -> tuple[dict[str, str], list[str]]:
    """What GET /models says of the model's revision, and warnings where it says nothing."""
    reply = client.ask("models", None, seed="models")
    problem = reply.problem
    unlisted = problem is None or problem.kind == "server_nonsense" or reply.status in _NO_LIST
    if problem is not None and not unlisted:
        raise ModelError(
            f"{settings.name}: {options.base_url}/models: {problem.kind}: {problem.message}; "
            "start the server, or correct run.options.base_url and api_key_env"
        )
    entries = listed_models(reply.body)
    entry = next((e for e in entries if e.get("id") == options.model), None)
    if entry is None:
        found = f"lists {len(entries)} models and not {options.model}" if entries else "lists no models"
        return {}, [f"the server {found}, so it tells no revision"]
    fields = {n: client.without_key(entry[n]) for n in _REVISION_FIELDS if isinstance(entry.get(n), str) and entry[n]}
    return fields, [] if fields else [f"the server tells no revision of {options.model}"]
