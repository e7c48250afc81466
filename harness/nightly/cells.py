"""One model on one task on one night: the units of its main metric, ready to be held against another night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.compare.align import generation_class
from harness.engine.plan import load_metric
from harness.engine.scoring import score_cases
from harness.metrics.base import MeanMetric, Metric, ScoringContext
from harness.nightly.findings import Flip
from harness.records import MetricValue, Score, TaskPlan, TaskResult
from harness.stats.change import contributions
from harness.stats.resampling import cluster_sums
from harness.store.runs import RECORD, Run, answers_file, read_run, run_name
from harness.store.tables import SCORES, case, read_answers, read_frame

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("task", "signature", "unit", "cluster", "value", "statistics", "extracted")
_SAME = 1e-12
"""Values closer than this differ by rounding."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The main metric of one task of one run, unit by unit."""

    value: MetricValue
    units: tuple[str, ...]
    clusters: tuple[str, ...]
    values: np.ndarray
    """(units,), NaN where unscored."""
    statistics: np.ndarray
    """(units, k), NaN where unscored."""
    extracted: tuple[str | None, ...]

    @property
    def metric_name(self) -> str:
        """`metric@variant`."""
        return self.value.name


def earlier_nights(out: Path, suite: str, model: str) -> list[Run]:
    """All sealed runs of a model on a suite in a results folder, oldest first; gaps between them do not matter."""
    stem = run_name(suite, model, "", 0)[: -len("--000")]
    folders = [file.parent for file in out.glob(f"{stem}*/{RECORD}")]
    runs = [run for run in map(read_run, folders) if (run.record.suite, run.record.model) == (suite, model)]
    return sorted(runs, key=_moment)


def _moment(run: Run) -> tuple[str, int, str]:
    """When a run began; runs of one second in the order in which they were sealed."""
    return night_of(run), (run.path / RECORD).stat().st_mtime_ns, run.record.run_id


def night_of(run: Run) -> str:
    """When the run began, UTC, ISO 8601."""
    return str(run.record.timing.get("started", ""))


def task_of(run: Run, name: str) -> TaskResult | None:
    """The task's result in a run."""
    return next((task for task in run.record.tasks if task.plan.name == name), None)


def score_frame(run: Run) -> pd.DataFrame:
    """What `read_cell` needs of a run's scores."""
    return read_frame(run.path / SCORES, _COLUMNS)


def read_cell(frame: pd.DataFrame, result: TaskResult) -> Cell | None:
    """The cell of a task from its run's scores; `None` where the main metric was not computed."""
    value = result.main
    if value.estimate is None:
        return None
    held = frame[(frame["task"] == result.plan.name) & (frame["signature"] == value.signature)]
    return Cell(
        value=value,
        units=tuple(held["unit"].tolist()),
        clusters=tuple(held["cluster"].tolist()),
        values=held["value"].to_numpy(dtype=np.float64),
        statistics=_stacked(held["statistics"].tolist()),
        extracted=tuple(text if isinstance(text, str) else None for text in held["extracted"].tolist()),
    )


def rescored_cell(run: Run, plan: TaskPlan, corpus: ScoringContext) -> Cell | None:
    """The run's stored answers under the main metric as it is defined today, without writing anything.

    Args:
        run: whose answers are scored.
        plan: of tonight's task; its first metric is used.
        corpus: the reference corpus, where a metric needs one.
    """
    rows = [case(row) for row in read_answers(answers_file(run.path), plan.name)]
    scored = score_cases(rows, [load_metric(plan.metrics[0])], (), corpus)
    value = scored.values[0]
    if value.estimate is None:
        return None
    units: Sequence[Score] = scored.scores[0][1]
    return Cell(
        value=value,
        units=tuple(unit.unit for unit in units),
        clusters=tuple(unit.cluster for unit in units),
        values=np.array([np.nan if unit.value is None else unit.value for unit in units]),
        statistics=_stacked([unit.statistics for unit in units]),
        extracted=tuple(unit.extracted for unit in units),
    )


def _stacked(rows: Sequence[Sequence[float]]) -> np.ndarray:
    width = max((len(row) for row in rows), default=0)
    if rows and all(len(row) == width for row in rows):
        return np.array(rows, dtype=np.float64)
    stacked = np.full((len(rows), width), np.nan)
    for place, row in enumerate(rows):
        if len(row):
            stacked[place] = row
    return stacked


def metric_of(value: MetricValue) -> Metric:
    """The metric that made a value, as this version defines it."""
    return load_metric(value.name)


def is_mean(metric: Metric) -> bool:
    """Whether the corpus value is the mean over units."""
    return isinstance(metric, MeanMetric)


def joined(first: Cell, second: Cell) -> tuple[list[int], list[int]]:
    """Places of the units that both cells have scored, in the order of the second."""
    if first.units == second.units:
        both = np.flatnonzero(~np.isnan(first.values) & ~np.isnan(second.values)).tolist()
        return both, both
    place = {unit: n for n, unit in enumerate(first.units)}
    pairs = [
        (place[unit], n)
        for n, unit in enumerate(second.units)
        if unit in place and not np.isnan(first.values[place[unit]]) and not np.isnan(second.values[n])
    ]
    return [a for a, _ in pairs], [b for _, b in pairs]


def night_row(cell: Cell, reference: Cell, metric: Metric) -> np.ndarray:
    """Contribution of each cluster of `reference` (in sorted order) on the night of `cell`; NaN where not scored."""
    a, b = joined(cell, reference)
    width = cell.statistics.shape[1]
    statistics = np.zeros((len(reference.units), width))
    present = np.zeros((len(reference.units), 1))
    statistics[b], present[b] = cell.statistics[a], 1.0
    sums = cluster_sums(np.concatenate([statistics, present], axis=1)[None], reference.clusters)[0]
    return contributions(sums[:, :width], sums[:, width] > 0, metric.aggregate)


def unlike(first: TaskResult, second: TaskResult) -> bool:
    """Whether two nights of a task cannot stand in one series: other samples, words, ways of answering or scoring."""

    def identity(result: TaskResult) -> tuple[object, ...]:
        plan = result.plan
        return (
            result.sample_set,
            result.data_revision,
            plan.prompt_name.removesuffix(" (replaced by the card)"),
            plan.prompt_version,
            generation_class(plan.generation),
            plan.image_steps,
            plan.answer_by,
            result.main.signature,
        )

    return identity(first) != identity(second)


def same_scores(first: Cell, second: Cell) -> bool:
    """Whether two scorings of the same answers agree on every unit, up to rounding."""
    if first.units != second.units or first.statistics.shape != second.statistics.shape:
        return False
    return bool(
        np.allclose(first.values, second.values, rtol=0, atol=_SAME, equal_nan=True)
        and np.allclose(first.statistics, second.statistics, rtol=_SAME, atol=_SAME, equal_nan=True)
    )


def flips(before: Cell, after: Cell) -> tuple[Flip, ...]:
    """Units that score otherwise, those that got worse most first."""
    sign = 1.0 if after.value.higher_is_better else -1.0
    found = [
        Flip(
            unit=after.units[b],
            before=float(before.values[a]),
            after=float(after.values[b]),
            answer_before=before.extracted[a],
            answer_after=after.extracted[b],
        )
        for a, b in zip(*joined(before, after), strict=True)
        if abs(after.values[b] - before.values[a]) > _SAME
    ]
    return tuple(sorted(found, key=lambda flip: (sign * (flip.after - flip.before), flip.unit)))
