"""Accepted baselines: a small JSON file for each model and suite that names a run; acceptances are only ever added.

BASELINES/SUITE--MODEL.json   {"schema_version": 1, "suite": …, "model": …, "accepted": [oldest, …, current]}
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import NightlyError, StoreError
from harness.fingerprint import plain
from harness.store.files import FolderLock, make_folder, read_json, write_json
from harness.store.runs import Run, read_run

BASELINE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One run taken as what a model should do."""

    run: str
    """Run id."""
    path: str
    """Run folder, relative to the folder of baselines."""
    sample_sets: dict[str, str]
    """Task → checksum of its samples."""
    who: str
    when: str
    """UTC, ISO 8601."""
    why: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """All acceptances of one model on one suite."""

    suite: str
    model: str
    accepted: tuple[Acceptance, ...]
    """Oldest first; the last one counts."""

    @property
    def current(self) -> Acceptance:
        """The acceptance that counts."""
        return self.accepted[-1]


def baseline_file(folder: Path, suite: str, model: str) -> Path:
    """Where the baseline of a model on a suite is kept."""
    return folder / f"{suite}--{re.sub(r'[^A-Za-z0-9._-]', '+', model)}.json"


def accept(folder: Path, run_folder: str | Path, *, who: str, why: str = "") -> Baseline:
    """The baseline with this run as the current one; nothing is copied, earlier acceptances stay in the file.

    Args:
        folder: of baselines; made if it is not there.
        run_folder: a sealed run.
        who: name of the person or job that accepts.
        why: reason, kept in the file.

    Raises:
        StoreError: the run is not sealed or not readable.
        NightlyError: a rescoring, an interrupted run, or a folder that cannot be written.
    """
    run = read_run(run_folder)
    record = run.record
    if record.rescored_from:
        raise NightlyError(f"{run.path}: is a rescoring; accept the run itself, the gate rescores where it must")
    stopped = [task.plan.name for task in record.tasks if "interrupted" in task.unscored]
    if stopped:
        raise NightlyError(f"{run.path}: was interrupted in {', '.join(stopped)}; run it to the end and accept that")
    try:
        make_folder(folder)
        with FolderLock(folder):
            file = baseline_file(folder, record.suite, record.model)
            earlier = read_baseline(file).accepted if file.exists() else ()
            added = Acceptance(
                run=record.run_id,
                path=os.path.relpath(run.path.resolve(), folder.resolve()),
                sample_sets={task.plan.name: task.sample_set for task in record.tasks},
                who=who,
                when=datetime.now(UTC).isoformat(timespec="seconds"),
                why=why,
            )
            baseline = Baseline(record.suite, record.model, (*earlier, added))
            write_json(file, {"schema_version": BASELINE_VERSION, **plain(baseline)})
    except OSError as error:
        raise NightlyError(f"{folder}: cannot be written ({error.strerror}); give another --baselines") from error
    return baseline


def read_baseline(file: Path) -> Baseline:
    """The baseline in a file.

    Raises:
        StoreError: the file cannot be read or is no JSON.
        NightlyError: it is of a later version, or a field is missing.
    """
    content = read_json(file)
    try:
        version = content["schema_version"]
        if version > BASELINE_VERSION:
            raise NightlyError(f"{file}: version {version} is later than {BASELINE_VERSION}; update the harness")
        accepted = tuple(Acceptance(**item) for item in content["accepted"])
        if not accepted:
            raise NightlyError(f"{file}: no run is accepted; accept one with `harness baseline accept RUN`")
        return Baseline(content["suite"], content["model"], accepted)
    except (KeyError, TypeError) as error:
        raise NightlyError(f"{file}: is no baseline ({error}); remove it and accept the run again") from error


def current_run(folder: Path, suite: str, model: str) -> tuple[Acceptance, Run] | None:
    """The accepted run of a model on a suite, or `None` where nothing is accepted.

    Raises:
        NightlyError: the accepted run is gone or is another one than was accepted.
    """
    file = baseline_file(folder, suite, model)
    if not file.exists():
        return None
    accepted = read_baseline(file).current
    try:
        run = read_run(folder / accepted.path)
    except StoreError as error:
        raise NightlyError(
            f"{file}: the accepted run {accepted.run} cannot be read: {error}; accept another"
        ) from error
    sets = {task.plan.name: task.sample_set for task in run.record.tasks}
    if run.record.run_id != accepted.run or sets != accepted.sample_sets:
        raise NightlyError(f"{file}: {run.path} is not the run that was accepted ({accepted.run}); accept it anew")
    return accepted, run


def list_baselines(folder: Path) -> list[Baseline]:
    """All baselines of a folder, by suite and model.

    Raises:
        NightlyError: the folder is not there, or one of its files is no baseline.
    """
    if not folder.is_dir():
        raise NightlyError(f"{folder}: no baselines here; accept a run with `harness baseline accept RUN`")
    return [read_baseline(file) for file in sorted(folder.glob("*--*.json"))]
