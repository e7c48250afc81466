"""Answers by request fingerprint, shared between runs: one SQLite file that any number of processes may use."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from harness.errors import StoreError
from harness.records import Response

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
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA_VERSION):
                raise StoreError(
                    f"{path}: cache version {version}, expected {_SCHEMA_VERSION}; delete it to start anew"
                )
            self._connection.executescript(_CREATE)
            self._connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path}: cannot be used as a cache ({error}); delete it to start anew") from error

    def get(self, fingerprints: Sequence[str]) -> dict[str, Response]:
        """The answers that are there; task and sample of a response are left empty."""
        found: dict[str, Response] = {}
        for start in range(0, len(fingerprints), _LOOKUP_ROWS):
            keys = [bytes.fromhex(f) for f in fingerprints[start : start + _LOOKUP_ROWS]]
            marks = ",".join("?" * len(keys))
            rows = self._connection.execute(
                "SELECT responses.*, steps.steps FROM responses LEFT JOIN steps USING (fingerprint) "
                f"WHERE fingerprint IN ({marks})",
                keys,
            )
            for key, text, latency_s, batch_size, prompt_tokens, output_tokens, scores, steps in rows:
                found[key.hex()] = Response(
                    fingerprint=key.hex(),
                    task="",
                    sample_id="",
                    text=text,
                    latency_s=latency_s,
                    batch_size=batch_size,
                    prompt_tokens=prompt_tokens,
                    output_tokens=output_tokens,
                    choice_scores=tuple(json.loads(scores)),
                    cached=True,
                    steps=tuple((name, step) for name, step in json.loads(steps or "[]")),
                )
        return found

    def put(self, responses: Iterable[Response]) -> None:
        """Keep the answers among `responses`."""
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
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR IGNORE INTO responses VALUES (?,?,?,?,?,?,?)", rows)
            self._connection.executemany("INSERT OR IGNORE INTO steps VALUES (?,?)", steps)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> ResponseCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
