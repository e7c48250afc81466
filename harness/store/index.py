"""What a results folder holds, in one SQLite file beside the response cache: a copy for speed, made anew at any time.

The records are the truth. A run is read again when its record's time or size has changed, and leaves the index with its
folder; an index that is lost, damaged or of another version is made anew from the records.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.store.runs import RECORD, Run, read_run

logger = logging.getLogger(__name__)
INDEX = Path(".cache") / "runs.sqlite"
_VERSION = 1
_BATCH = 200
_CREATE = """
CREATE TABLE runs (
  folder TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL, bytes INTEGER NOT NULL, model TEXT NOT NULL, suite TEXT NOT NULL,
  started TEXT NOT NULL, harness_version TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE results (
  folder TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, position INTEGER NOT NULL, task TEXT NOT NULL,
  n_samples INTEGER NOT NULL, n_answered INTEGER NOT NULL, sample_set TEXT NOT NULL, metric TEXT NOT NULL,
  signature TEXT NOT NULL, unit TEXT NOT NULL, estimate REAL, low REAL, high REAL, n_scored INTEGER NOT NULL,
  higher_is_better INTEGER NOT NULL, PRIMARY KEY (folder, position)
) WITHOUT ROWID;
"""
_RESULT = (
    "task, n_samples, n_answered, sample_set, metric, signature, unit, estimate, low, high, n_scored, higher_is_better"
)


@dataclass(frozen=True, slots=True)
class IndexedResult:
    """A run on one task: its main metric over all samples, and where that comes from."""

    run: str
    model: str
    suite: str
    started: str
    """UTC, ISO 8601."""
    harness_version: str
    task: str
    n_samples: int
    n_answered: int
    sample_set: str
    metric: str
    signature: str
    unit: str
    estimate: float | None
    low: float | None
    high: float | None
    n_scored: int
    higher_is_better: bool


def results(out: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> list[IndexedResult]:
    """The main value of every sealed run of a results folder on each of its tasks, oldest run first.

    Args:
        progress: told how many of the runs that are new or changed have been read, while they are.

    Raises:
        StoreError: a record that is new or changed cannot be read.
    """
    seen = dict(_records(out))
    with _opened(out) as index:
        known = {name: (mtime, size) for name, mtime, size in index.execute("SELECT folder, mtime_ns, bytes FROM runs")}
        gone = [(name,) for name, state in known.items() if seen.get(name) != state]
        new = sorted(name for name, state in seen.items() if known.get(name) != state)
        with index:
            index.executemany("DELETE FROM runs WHERE folder = ?", gone)
        for start in range(0, len(new), _BATCH):
            with index:
                for name in new[start : start + _BATCH]:
                    _keep(index, read_run(out / name), seen[name])
            progress(min(start + _BATCH, len(new)), len(new))
        rows = index.execute(
            f"SELECT folder, model, suite, started, harness_version, {_RESULT} FROM runs JOIN results USING (folder) "
            "ORDER BY started, mtime_ns, folder, position"
        )
        columns: Iterator[list[Any]] = ([*row[:-1], bool(row[-1])] for row in rows)
        return [IndexedResult(*values) for values in columns]


def _records(out: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for file in out.glob(f"*/{RECORD}"):
        state = file.stat()
        yield file.parent.name, (state.st_mtime_ns, state.st_size)


def _keep(index: sqlite3.Connection, run: Run, state: tuple[int, int]) -> None:
    record, folder = run.record, run.path.name
    started = str(record.timing.get("started", ""))
    index.execute(
        "INSERT INTO runs VALUES (?,?,?,?,?,?,?)",
        (folder, *state, record.model, record.suite, started, record.harness_version),
    )
    for position, task in enumerate(record.tasks):
        value = task.main
        index.execute(
            f"INSERT INTO results (folder, position, {_RESULT}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                *(folder, position, task.plan.name, task.n_samples, task.n_answered, task.sample_set, value.name),
                *(value.signature, value.unit, value.estimate, value.low, value.high, value.n_scored),
                value.higher_is_better,
            ),
        )


@contextmanager
def _opened(out: Path) -> Iterator[sqlite3.Connection]:
    path = out / INDEX
    try:
        path.parent.mkdir(exist_ok=True)
        connection = _connected(path)
    except (OSError, sqlite3.OperationalError) as error:
        logger.warning("%s: cannot be written (%s); every record is read, which takes longer", path, error)
        connection = _connected(Path(":memory:"))
    except sqlite3.DatabaseError as error:
        logger.warning("%s: cannot be read (%s); made anew from the records", path, error)
        path.unlink(missing_ok=True)
        connection = _connected(path)
    try:
        yield connection
    finally:
        connection.close()


def _connected(path: Path) -> sqlite3.Connection:
    """The index, emptied where it is of another version."""
    connection = sqlite3.connect(path, timeout=60)
    connection.execute("PRAGMA foreign_keys=ON")
    if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        connection.executescript(f"DROP TABLE IF EXISTS results; DROP TABLE IF EXISTS runs; {_CREATE}")
        connection.execute(f"PRAGMA user_version={_VERSION}")
    return connection
