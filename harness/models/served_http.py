"""Asking a server over HTTP: retries, pauses, an end to retrying, and a key that nobody gets to see.

A request ends with a reply or with one named problem; nothing is raised. Problems: `no_connection`, `timeout`,
`rate_limited` (429), `server_error` (408, 409, 5xx), `refused` (any other status), `server_nonsense`. A reply is read
to `MAX_BODY_BYTES` and the key is taken out of it. Redirects are not followed, and neither proxy settings nor password
files of the machine are read.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from harness.records import Problem

if TYPE_CHECKING:
    import httpx

MAX_BODY_BYTES = 16 * 2**20
"""Longest reply that is read; a chat answer has kilobytes."""
_EXCERPT_CHARACTERS = 200
_CONNECT_S = 10.0
_RETRIED = frozenset({"no_connection", "rate_limited", "server_error"})
"""A time-out is not retried: the server had its time, and asking again doubles its load."""
_UNANSWERED = frozenset({"no_connection", "timeout"})
_UNAUTHORISED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How patient a client is; the fields are explained at the options of the family `openai`."""

    concurrency: int
    timeout_s: float
    retries: int
    retry_budget: int
    backoff_s: float
    max_wait_s: float
    give_up_after: int
    max_requests_per_minute: float | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a body, or a problem; the status where the server gave one."""

    body: bytes = b""
    status: int | None = None
    problem: Problem | None = None
    wait_s: float | None = None
    """How long the server asks to be left alone (`Retry-After`)."""


class Pace:
    """When the next request may start: a smallest distance between requests, and pauses that the server asks for."""

    def __init__(self, per_minute: float | None) -> None:
        self._distance_s = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Seconds until the caller's turn, which is now taken."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._distance_s
            return start - now

    def pause(self, seconds: float) -> None:
        """Let nobody start for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class HttpClient:
    """Asks one server; used by several threads at once."""

    def __init__(self, base_url: str, key: str | None, limits: HttpLimits) -> None:
        import httpx

        self._base_url, self._limits = base_url, limits
        self._hidden = [key, key.replace("/", "\\/"), quote(key, safe="")] if key else []
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(limits.timeout_s, connect=min(_CONNECT_S, limits.timeout_s)),
            limits=httpx.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency),
            trust_env=False,
        )
        self._pace = Pace(limits.max_requests_per_minute)
        self._lock = threading.Lock()
        self._retries_left = limits.retry_budget
        self._in_a_row = 0
        self._given_up = threading.Event()
        self._why = ""

    def close(self) -> None:
        """Wake whoever waits, and close the connections."""
        self.stop("the model was closed")
        self._client.close()

    def stop(self, why: str) -> None:
        """Ask nothing from here on."""
        self._why = self._why or why
        self._given_up.set()

    def ask(self, path: str, body: dict[str, Any] | None, *, seed: str) -> Reply:
        """The reply to a POST of `body`, or to a GET where there is none, after as many attempts as the limits allow.

        Args:
            path: below the base URL.
            body: JSON types.
            seed: of the jitter: two runs wait equally long.
        """
        reply = self._ask(path, body, seed)
        self._count(reply)
        return reply

    def _ask(self, path: str, body: dict[str, Any] | None, seed: str) -> Reply:
        content = None if body is None else json.dumps(body).encode("utf-8")
        attempt = 0
        while True:
            if self._given_up.wait(self._pace.turn()):
                return Reply(problem=Problem("no_connection", f"not asked: {self._why}"))
            reply = self._once(path, content)
            attempt += 1
            if reply.problem is None or reply.problem.kind not in _RETRIED:
                return reply
            delay = max(self._backoff(attempt, seed), reply.wait_s or 0.0)
            end = self._no_more(attempt, delay)
            if end:
                return _with_note(reply, f"attempt {attempt}: {end}")
            if reply.wait_s:
                self._pace.pause(reply.wait_s)
            self._given_up.wait(delay)

    def _backoff(self, attempt: int, seed: str) -> float:
        """Twice as long after each attempt, times 0.5 to 1: requests that failed together come back apart."""
        longest = min(self._limits.backoff_s * 2.0 ** min(attempt - 1, 60), self._limits.max_wait_s)
        return longest * random.Random(f"{seed} {attempt}").uniform(0.5, 1.0)

    def _no_more(self, attempt: int, delay: float) -> str:
        """Why there is no further attempt; empty where there is one, which is then taken from the budget."""
        if attempt > self._limits.retries:
            return "the last one"
        if delay > self._limits.max_wait_s:
            return f"the server asks to wait {delay:.0f} s, which is more than run.options.max_wait_s"
        with self._lock:
            if self._retries_left <= 0:
                return f"the {self._limits.retry_budget} retries of run.options.retry_budget are spent"
            self._retries_left -= 1
        return ""

    def _count(self, reply: Reply) -> None:
        """Give up for good once so many requests in a row had no answer, each after its own retries."""
        lost = reply.problem is not None and (reply.problem.kind in _UNANSWERED or reply.status in _UNAUTHORISED)
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if lost else 0
            if self._in_a_row < self._limits.give_up_after or self._given_up.is_set() or reply.problem is None:
                return
            self.stop(f"{self._in_a_row} requests in a row had no answer, the last: {reply.problem.message}")

    def _once(self, path: str, content: bytes | None) -> Reply:
        import httpx

        try:
            return self._read(path, content)
        except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Reply(problem=self._problem("no_connection", f"no connection in time ({type(error).__name__})"))
        except httpx.TimeoutException as error:
            return self._too_late(type(error).__name__)
        except httpx.TransportError as error:
            return Reply(problem=self._problem("no_connection", f"{type(error).__name__}: {error}"))
        except httpx.DecodingError as error:
            return Reply(problem=self._problem("server_nonsense", f"the reply cannot be decoded: {error}"))

    def _read(self, path: str, content: bytes | None) -> Reply:
        end = time.monotonic() + self._limits.timeout_s
        method = "GET" if content is None else "POST"
        with self._client.stream(method, f"{self._base_url}/{path}", content=content) as response:
            parts, size = [], 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > MAX_BODY_BYTES:
                    message = f"the reply has more than {MAX_BODY_BYTES} bytes; its end was not read"
                    return Reply(status=response.status_code, problem=self._problem("server_nonsense", message))
                if time.monotonic() > end:
                    return self._too_late("the reply did not end")
            return self._judged(response, b"".join(parts))

    def _judged(self, response: httpx.Response, body: bytes) -> Reply:
        status = response.status_code
        for hidden in self._hidden:
            body = body.replace(hidden.encode("ascii"), b"[key]")
        if response.is_success:
            return Reply(body, status)
        if status == 429:
            kind = "rate_limited"
        elif status in (408, 409) or status >= 500:
            kind = "server_error"
        else:
            kind = "refused"
        problem = self._problem(kind, f"status {status}: {_excerpt(body)}")
        return Reply(status=status, problem=problem, wait_s=_seconds(response.headers.get("retry-after")))

    def _too_late(self, why: str) -> Reply:
        return Reply(problem=self._problem("timeout", f"no whole reply within {self._limits.timeout_s:g} s ({why})"))

    def _problem(self, kind: str, message: str) -> Problem:
        text = self.without_key(message)
        return Problem(kind, text if len(text) <= _EXCERPT_CHARACTERS else f"{text[:_EXCERPT_CHARACTERS]}…")

    def without_key(self, text: str) -> str:
        """`text` with the key replaced, for servers that echo what they were sent."""
        for hidden in self._hidden:
            text = text.replace(hidden, "[key]")
        return text


def _with_note(reply: Reply, note: str) -> Reply:
    problem = reply.problem
    if problem is None:
        return reply
    return Reply(status=reply.status, problem=Problem(problem.kind, f"{problem.message} ({note})"))


def _excerpt(body: bytes) -> str:
    """What the server says is wrong: the message of its JSON, else the body's text in one line."""
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return " ".join(text.split()) or "no body"
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    return " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())


def _seconds(header: str | None) -> float | None:
    """Seconds of a `Retry-After` header, which holds a number or a date; `None` for anything else."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
