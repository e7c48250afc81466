"""A run folder: found or made, written while running, sealed once, read for ever.

RUN/plan.json           model, suite, tasks with all settings; written first
RUN/journal/TASK.jsonl  answers as they come, one JSON line each, durable line by line
RUN/samples.parquet     what was asked and answered
RUN/scores.parquet      how each unit was scored
RUN/record.json         the sealed record, written last: a folder without it can be resumed
RUN/rescore-001/        scores.parquet and record.json of a later scoring of the same answers
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.codec import decode, encode
from harness.errors import StoreError
from harness.records import SCHEMA_VERSION, Response, RunRecord
from harness.store.files import FolderLock, make_folder, read_json, write_json
from harness.store.journal import Journal, JournalledAnswers
from harness.store.tables import SAMPLES, SCORES, read_frame

if TYPE_CHECKING:
    import pandas as pd

RECORD, PLAN = "record.json", "plan.json"


class OpenRun:
    """A run that is being written; nobody else can write it meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FolderLock(folder)
        self._journals: dict[str, Journal] = {}
        self._read: list[JournalledAnswers] = []

    @property
    def run_id(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def __enter__(self) -> OpenRun:
        self._lock.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        for journal in self._journals.values():
            journal.close()
        for answers in self._read:
            answers.close()
        self._lock.__exit__(*exception)

    def journalled(self, task: str) -> JournalledAnswers:
        """Answers of an earlier, killed attempt."""
        answers = JournalledAnswers(self._journal(task))
        self._read.append(answers)
        return answers

    def append(self, task: str, responses: Iterable[Response]) -> None:
        """Make the responses durable."""
        self._journal(task).append(encode(response) for response in responses)

    def _journal(self, task: str) -> Journal:
        if task not in self._journals:
            folder = self.folder / "journal"
            make_folder(folder)
            self._journals[task] = Journal(folder / f"{task}.jsonl")
        return self._journals[task]

    def seal(self, record: RunRecord) -> None:
        """Write the record; from here on the folder is only read."""
        write_json(self.folder / RECORD, encode(record))


def run_name(suite: str, model: str, key: str, number: int) -> str:
    """Folder name of a run: suite, model, the first 8 digits of its key, and a count of equal runs."""
    return f"{suite}--{re.sub(r'[^A-Za-z0-9._-]', '+', model)}--{key[:8]}--{number:03d}"


def open_run(out: Path, suite: str, model: str, key: str, plan: Any) -> OpenRun:
    """The unsealed run of this key, to be resumed, or a new one.

    Args:
        plan: JSON types; kept beside the run and compared on resume.

    Raises:
        StoreError: the folder cannot be written, or belongs to another plan.
    """
    try:
        make_folder(out)
        stem = run_name(suite, model, key, 0)[:-3]
        numbers = sorted(int(p.name[-3:]) for p in out.glob(f"{stem}[0-9][0-9][0-9]") if p.is_dir())
        number = numbers[-1] if numbers else 1
        folder = out / f"{stem}{number:03d}"
        if (folder / RECORD).exists():
            folder = out / f"{stem}{number + 1:03d}"
        make_folder(folder)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written ({error.strerror}); give another folder with --out") from error
    known = folder / PLAN
    if known.exists():
        if read_json(known)["key"] != key:
            raise StoreError(f"{folder}: holds an unfinished run of another plan; remove it or give another --out")
    else:
        write_json(known, {"schema_version": SCHEMA_VERSION, "key": key, "plan": plan})
    return OpenRun(folder)


@dataclass(frozen=True, slots=True)
class Run:
    """A sealed run."""

    path: Path
    record: RunRecord

    def values(self) -> pd.DataFrame:
        """One row for each metric value, with model, task, suite and run id."""
        import pandas as pd

        rows = [
            {"run": self.record.run_id, "model": self.record.model, "task": task.plan.name, **encode(value)}
            for task in self.record.tasks
            for value in task.values
        ]
        return pd.DataFrame(rows)

    def efficiency(self) -> pd.DataFrame:
        """Latency, throughput and memory, one row each."""
        import pandas as pd

        return pd.DataFrame([{"model": self.record.model, **encode(v)} for v in self.record.efficiency])

    def samples(self) -> pd.DataFrame:
        """One row for each sample: question, prompt, references, answer or failure."""
        return read_frame(answers_file(self.path))

    def scores(self) -> pd.DataFrame:
        """One row for each unit and metric, with sufficient statistics."""
        return read_frame(self.path / SCORES)


def answers_file(run: Path) -> Path:
    """Where the answers of a run, or of a rescoring inside it, lie."""
    return run / SAMPLES if (run / SAMPLES).exists() else run.parent / SAMPLES


def read_run(path: str | Path) -> Run:
    """The sealed run in a folder, or in a rescoring folder inside one.

    Raises:
        StoreError: no run, not sealed, damaged, or of a later schema version.
    """
    folder = Path(path)
    file = folder / RECORD
    if not file.exists():
        if (folder / PLAN).exists():
            raise StoreError(f"{folder}: the run is not sealed; start it again with the same command to finish it")
        raise StoreError(f"{folder}: no run here; give a folder that holds {RECORD}")
    content = read_json(file)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise StoreError(f"{file}: has no schema version; it is not a run record")
    if version > SCHEMA_VERSION:
        raise StoreError(f"{file}: schema version {version} is later than {SCHEMA_VERSION}; update the harness")
    try:
        return Run(folder, decode(RunRecord, content))
    except StoreError as error:
        raise StoreError(f"{file}: {error}") from error


def find_runs(path: Path) -> list[Path]:
    """Sealed runs at `path`: itself, or those directly inside it, by name."""
    if (path / RECORD).exists() or (path / PLAN).exists():
        return [path]
    return sorted(p.parent for p in path.glob(f"*/{RECORD}"))
