"""A chat endpoint on the loopback that does what its script says, and counts what it was asked.

A script maps each request to a behaviour; the first questions of a list of behaviours are served by it, the rest by the
last one. Behaviours: `answer`, `hang`, `drop` (closes without a word), a status such as `429`, or the bytes of a body.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Behaviour = str | int | bytes


def digest(body: Mapping[str, Any]) -> str:
    """What the server answers: eight digits of the question, its pictures included."""
    return hashlib.sha256(json.dumps(body["messages"], sort_keys=True).encode()).hexdigest()[:8]


class ChatServer:
    """Serves `/v1/chat/completions` and `/v1/models` until it is closed or dies."""

    def __init__(
        self,
        behaviour: Callable[[int, dict[str, Any]], Behaviour] = lambda number, body: "answer",
        *,
        key: str | None = None,
        models: Any = None,
        headers: Mapping[str, str] | None = None,
        says: Callable[[Mapping[str, Any]], str] = digest,
        port: int = 0,
    ) -> None:
        """`behaviour` is asked with the number of the question (from 1) and its body."""
        self.behaviour, self.key, self.says = behaviour, key, says
        self.models = {"data": [{"id": "tiny", "revision": "r1", "created": time.time()}]} if models is None else models
        self.headers = dict(headers or {})
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.busiest = 0
        self._busy = 0
        self._lock = threading.Lock()
        self._let_go = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def asked(self) -> int:
        return len(self.bodies)

    def close(self) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def __enter__(self) -> ChatServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on standard error."""

            def send(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def refused(self) -> bool:
                if server.key is None or self.headers.get("Authorization") == f"Bearer {server.key}":
                    return False
                echo = {"error": {"message": f"wrong key, got {self.headers.get('Authorization')}"}}
                self.send(401, json.dumps(echo).encode())
                return True

            def do_GET(self) -> None:
                if self.refused():
                    return
                if isinstance(server.models, int):
                    self.send(server.models, b"no such page", "text/plain")
                else:
                    self.send(200, json.dumps(server.models).encode())

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                if self.refused():
                    return
                body = json.loads(raw)
                with server._lock:
                    server.bodies.append(body)
                    server.times.append(time.monotonic())
                    number = len(server.bodies)
                    server._busy += 1
                    server.busiest = max(server.busiest, server._busy)
                try:
                    self.behave(server.behaviour(number, body), body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with server._lock:
                        server._busy -= 1

            def behave(self, how: Behaviour, body: dict[str, Any]) -> None:
                if isinstance(how, bytes):
                    self.send(200, how)
                elif isinstance(how, int):
                    echo = f"status {how} for {self.headers.get('Authorization')}"
                    self.send(how, json.dumps({"error": {"message": echo}}).encode())
                elif how == "hang":
                    server._let_go.wait(30)
                    self.close_connection = True
                elif how == "drop":
                    self.close_connection = True
                else:
                    self.send(200, json.dumps(completion(server.says(body))).encode())

        return Handler


def completion(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion as servers send it."""
    said = {"role": "assistant", "content": text, **message}
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    return {"object": "chat.completion", "choices": [{"message": said, "finish_reason": finish}], "usage": usage}
