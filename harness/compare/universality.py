"""How many kinds of tasks a model does: by its card's claims, and by runs in which it beat every control.

A kind counts as done when on at least one task of that kind the main metric (the task's first) is better than that of
the best control on the same samples under the same metric signature. Without a control there nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreError
from harness.records import MetricValue, RunRecord, TaskResult
from harness.store.runs import find_runs, read_run

CONTROLS = frozenset({"majority-answer", "random-choice", "fixed-answer", "frequent-caption", "nearest-neighbour"})
"""Families that answer without understanding the picture."""
WRAPPERS = frozenset({"blank-image", "shuffled-image"})
"""Families that hide the picture from a model; a control for that model alone."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One task of one model beside the best control."""

    model: str
    task: str
    kind: str
    metric: str
    value: float
    control: str
    """Name of the best control; empty where there is none."""
    control_value: float | None
    beats: bool | None
    """`None` where there is no control on the same samples."""
    run_id: str


@dataclass(frozen=True, slots=True)
class _Main:
    """The main metric of one task of one run."""

    record: RunRecord
    task: TaskResult
    value: MetricValue

    @property
    def key(self) -> tuple[str, str, str]:
        """Values with one key may be compared."""
        return self.task.plan.name, self.task.sample_set, self.value.signature

    @property
    def estimate(self) -> float:
        assert self.value.estimate is not None
        return self.value.estimate


def read_records(folder: Path) -> list[RunRecord]:
    """The sealed runs directly in a folder.

    Raises:
        StoreError: there is none, or one is damaged.
    """
    found = find_runs(folder)
    if not found:
        raise StoreError(f"{folder}: no sealed run here; give the folder that `harness run --out` wrote to")
    return [read_run(path).record for path in found]


def measured(records: Iterable[RunRecord], model: str) -> list[Measured]:
    """Every task that a model has a main value for, beside the best control on the same samples."""
    mains = [main for record in records for main in _mains(record)]
    rows = []
    for main in mains:
        if main.record.model != model:
            continue
        sign = 1 if main.value.higher_is_better else -1
        rivals = [other for other in mains if other.key == main.key and _is_control(other.record, model)]
        best = max(rivals, key=lambda other: sign * other.estimate, default=None)
        rows.append(
            Measured(
                model=model,
                task=main.task.plan.name,
                kind=main.task.plan.kind,
                metric=main.value.metric,
                value=main.estimate,
                control=best.record.model if best else "",
                control_value=best.estimate if best else None,
                beats=sign * main.estimate > sign * best.estimate if best else None,
                run_id=main.record.run_id,
            )
        )
    return rows


def _mains(record: RunRecord) -> list[_Main]:
    found = []
    for task in record.tasks:
        name, _, variant = (task.plan.metrics[0] if task.plan.metrics else "").partition("@")
        matching = [v for v in task.values if v.metric == name and v.subset == "all" and variant in ("", v.variant)]
        if matching and matching[0].estimate is not None:
            found.append(_Main(record, task, matching[0]))
    return found


def _is_control(record: RunRecord, model: str) -> bool:
    settings = record.identity.settings
    if settings.family in WRAPPERS:
        return settings.inner is not None and settings.inner.name == model
    return settings.family in CONTROLS
