"""Answers by request fingerprint, shared between runs: one SQLite file that any number of processes may use.

Beside them it keeps what `--batch-size auto` came to for a model on a machine.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.errors import StoreError
from harness.records import Request, Response
from harness.store.files import writing

_SCHEMA_VERSION = 1
_CREATE = """
CREATE TABLE IF NOT EXISTS responses (
  fingerprint BLOB PRIMARY KEY,
  text TEXT NOT NULL,
  latency_s REAL,
  batch_size INTEGER NOT NULL,
  prompt_tokens INTEGER,
  output_tokens INTEGER,
  choice_scores TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS steps (
  fingerprint BLOB PRIMARY KEY,
  steps TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_sizes (
  key BLOB PRIMARY KEY,
  size INTEGER NOT NULL
) WITHOUT ROWID;
"""
_LOOKUP_ROWS = 500


class ResponseCache:
    """What was answered before. Failures are never kept."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            StoreError: the file is no cache, or of another version.
        """
        self._path = path
        try:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            with ExitStack() as unless_ready:
                unless_ready.callback(self._connection.close)
                self._make_ready()
                unless_ready.pop_all()
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{path}: cannot be opened ({error}); make room or give a folder that can be written with --out"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path}: cannot be used as a cache ({error}); delete it to start anew") from error

    def _make_ready(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _SCHEMA_VERSION):
            raise StoreError(
                f"{self._path}: cache version {version}, expected {_SCHEMA_VERSION}; delete it to start anew"
            )
        self._connection.executescript(_CREATE)
        self._connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def get(self, requests: Sequence[Request]) -> list[Response | None]:
        """The answer to each request, where there is one."""
        keys = [bytes.fromhex(request.fingerprint) for request in requests]
        answers = self._found("responses", keys)
        steps = self._found("steps", keys) if answers and self._any_steps() else {}
        return [
            _response(request, answers[key], steps.get(key)) if key in answers else None
            for request, key in zip(requests, keys, strict=True)
        ]

    def _found(self, table: str, keys: Sequence[bytes]) -> dict[bytes, tuple[Any, ...]]:
        """The rows of these keys, by key."""
        rows: dict[bytes, tuple[Any, ...]] = {}
        for start in range(0, len(keys), _LOOKUP_ROWS):
            some = keys[start : start + _LOOKUP_ROWS]
            query = f"SELECT * FROM {table} WHERE fingerprint IN ({','.join('?' * len(some))})"
            rows.update({row[0]: row for row in self._connection.execute(query, some)})
        return rows

    def _any_steps(self) -> bool:
        return self._connection.execute("SELECT 1 FROM steps LIMIT 1").fetchone() is not None

    def put(self, responses: Iterable[Response]) -> None:
        """Keep the answers among `responses`.

        Raises:
            StoreError: the system refused to write.
        """
        answers = [r for r in responses if r.text is not None]
        rows = [
            (
                bytes.fromhex(r.fingerprint),
                r.text,
                r.latency_s,
                r.batch_size,
                r.prompt_tokens,
                r.output_tokens,
                json.dumps(r.choice_scores),
            )
            for r in answers
        ]
        steps = [(bytes.fromhex(r.fingerprint), json.dumps(r.steps)) for r in answers if r.steps]
        with writing(self._path), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR IGNORE INTO responses VALUES (?,?,?,?,?,?,?)", rows)
            self._connection.executemany("INSERT OR IGNORE INTO steps VALUES (?,?)", steps)

    def batch_size(self, key: str) -> int | None:
        """The size of batches that an earlier run came to; `key` is the fingerprint of a model on a machine."""
        found = self._connection.execute("SELECT size FROM batch_sizes WHERE key=?", (bytes.fromhex(key),)).fetchone()
        return None if found is None else int(found[0])

    def keep_batch_size(self, key: str, size: int) -> None:
        """Remember a size of batches."""
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO batch_sizes VALUES (?,?)", (bytes.fromhex(key), size))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> ResponseCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _response(request: Request, row: tuple[Any, ...], steps: tuple[Any, ...] | None) -> Response:
    _, text, latency_s, batch_size, prompt_tokens, output_tokens, scores = row
    return Response(
        request.fingerprint,
        request.task,
        request.sample_id,
        text,
        None,
        latency_s,
        batch_size,
        prompt_tokens,
        output_tokens,
        () if scores == "[]" else tuple(json.loads(scores)),
        True,
        tuple((name, step) for name, step in json.loads(steps[1])) if steps else (),
    )
