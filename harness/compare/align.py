"""Runs joined sample by sample, and the refusal to join what is not alike.

Two values stand in one column only if the runs saw the same samples with the same words, generated in the same way, and
were scored by the same definition. Everything that differs is named, all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import CompareError
from harness.records import GenerationSettings, MetricValue, TaskPlan, TaskResult
from harness.store.runs import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing in which runs of one task differ."""

    task: str
    what: str
    """`sample set`, `data revision`, `prompt`, `generation`, `metric signature`, …"""
    values: Mapping[str, str]
    """Run id → what it has."""

    def __str__(self) -> str:
        groups: dict[str, list[str]] = {}
        for run, value in self.values.items():
            groups.setdefault(value, []).append(run)
        shown = "; ".join(f"{', '.join(runs)}: {value}" for value, runs in groups.items())
        return f"task {self.task}: {self.what} differs: {shown}"


@dataclass(frozen=True, slots=True)
class Column:
    """One metric on one task for several models, unit by unit."""

    task: str
    metric: str
    variant: str
    signature: str
    main: bool
    """Whether it is the task's first metric."""
    units: tuple[str, ...]
    clusters: tuple[str, ...]
    runs: tuple[str, ...]
    """Run ids, in the order of the arrays."""
    statistics: np.ndarray
    """(runs, units, statistics); NaN where unscored."""
    scored: np.ndarray
    """(runs, units), whether the unit is scored."""
    values: tuple[MetricValue, ...]
    """The runs' own values over all samples."""
    marks: tuple[str, ...] = ()
    """Differences that were allowed."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is better."""
        return self.values[0].higher_is_better

    @property
    def unit(self) -> str:
        """What the values are measured in."""
        return self.values[0].unit

    @property
    def name(self) -> str:
        """`metric@variant`."""
        return f"{self.metric}@{self.variant}" if self.variant else self.metric


@dataclass(frozen=True, slots=True)
class Missing:
    """What not every run has; the others are compared without it."""

    task: str
    lacking: tuple[tuple[str, str, str], ...] = ()
    """(metric, run id, reason) of each value that was not computed; empty where a run lacks the task."""

    def told(self, names: Mapping[str, str]) -> str:
        """One line for the task; `names` gives the name of each run that is compared."""
        if not self.lacking:
            return f"task {self.task} is not in every run"
        runs_of: dict[tuple[str, str], list[str]] = {}
        for metric, run, reason in self.lacking:
            runs_of.setdefault((metric, reason), []).append(run)
        metrics_of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for (metric, reason), found in runs_of.items():
            metrics_of.setdefault((reason, tuple(found)), []).append(metric)
        parts = []
        for (reason, runs), metrics in metrics_of.items():
            whose = "any model" if len(runs) == len(names) else ", ".join(names[run] for run in runs)
            parts.append(f"{', '.join(metrics)} not computed for {whose} ({reason})")
        return f"task {self.task}: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Alignment:
    """Runs side by side."""

    runs: tuple[Run, ...]
    columns: tuple[Column, ...]
    mismatches: tuple[Mismatch, ...]
    """What differs; empty unless it was allowed."""
    missing: tuple[Missing, ...] = ()


def generation_class(settings: GenerationSettings) -> str:
    """How text is generated, as far as it makes runs unlike: greedy, beam or sampling with its settings."""
    if settings.do_sample:
        return f"sampling, temperature {settings.temperature:g}, top-p {settings.top_p:g}"
    return "greedy" if settings.num_beams == 1 else f"beam {settings.num_beams}"


def _prompt(plan: TaskPlan) -> str:
    """Name and version of the task's prompt; words that a card puts in their place belong to the model."""
    return f"{plan.prompt_name.removesuffix(' (replaced by the card)')} v{plan.prompt_version}"


def align(runs: Sequence[Run], *, allow: bool = False) -> Alignment:
    """The runs joined per task, metric and unit.

    Args:
        runs: sealed runs of different models (or of one model at different times).
        allow: join unlike runs all the same, in marked columns; only units that all of them have are then joined.

    Raises:
        CompareError: fewer than two runs, no common task, or unlike runs without `allow`; names every difference.
    """
    if len(runs) < 2:
        raise CompareError("a comparison needs at least two runs; give two or more run folders")
    ids = [run.record.run_id for run in runs]
    if len(set(ids)) < len(ids):
        raise CompareError(f"a run is given twice: {', '.join(sorted({i for i in ids if ids.count(i) > 1}))}")
    results = {run.record.run_id: {task.plan.name: task for task in run.record.tasks} for run in runs}
    names = [name for name in results[ids[0]] if all(name in results[i] for i in ids)]
    if not names:
        had = "; ".join(f"{i}: {', '.join(results[i])}" for i in ids)
        raise CompareError(f"the runs have no task in common: {had}")
    everywhere = {name for tasks in results.values() for name in tasks}
    missing = [Missing(name) for name in sorted(everywhere - set(names))]
    mismatches = [m for name in names for m in _differences(name, {i: results[i][name] for i in ids})]
    if mismatches and not allow:
        lines = "\n".join(f"- {mismatch}" for mismatch in mismatches)
        raise CompareError(f"these runs cannot be compared:\n{lines}\nrun them alike, or show them marked with --allow")
    columns: list[Column] = []
    tables = {run.record.run_id: run.scores() for run in runs}
    for name in names:
        tasks = {i: results[i][name] for i in ids}
        marks = tuple(str(m) for m in mismatches if m.task == name)
        made, lost = _columns(name, tasks, tables, marks)
        columns += made
        if lost:
            missing.append(Missing(name, tuple(lost)))
    return Alignment(tuple(runs), tuple(columns), tuple(mismatches), tuple(missing))


def _differences(name: str, tasks: Mapping[str, TaskResult]) -> list[Mismatch]:
    def compare(what: str, values: Mapping[str, str]) -> list[Mismatch]:
        return [Mismatch(name, what, values)] if len(set(values.values())) > 1 else []

    found = compare(
        "sample set", {i: f"{t.n_samples} samples, {t.sample_set[:12]} ({_subset(t.plan)})" for i, t in tasks.items()}
    )
    found += compare("data revision", {i: t.data_revision[:12] for i, t in tasks.items()})
    found += compare("split", {i: f"{t.plan.dataset} {t.plan.split}" for i, t in tasks.items()})
    found += compare("prompt", {i: _prompt(t.plan) for i, t in tasks.items()})
    found += compare("generation", {i: generation_class(t.plan.generation) for i, t in tasks.items()})
    found += compare("image preparation", {i: ", ".join(t.plan.image_steps) or "none" for i, t in tasks.items()})
    found += compare("way of answering", {i: t.plan.answer_by for i, t in tasks.items()})
    variants = {key for t in tasks.values() for key in _signatures(t)}
    for metric in sorted(variants):
        defined = {i: _signatures(t)[metric] for i, t in tasks.items() if metric in _signatures(t)}
        found += compare(f"metric signature of {metric}", defined)
    return found


def _subset(plan: TaskPlan) -> str:
    return ", ".join(f"{key} {value}" for key, value in plan.subset.items()) or "whole split"


def _signatures(task: TaskResult) -> dict[str, str]:
    """`metric@variant` → signature of the values that were computed."""
    return {f"{v.metric}@{v.variant}": v.signature for v in task.values if v.subset == "all" and v.estimate is not None}


def _reason(task: TaskResult, key: str) -> str:
    """Why a value was not computed."""
    reasons = [v.reason for v in task.values if v.subset == "all" and f"{v.metric}@{v.variant}" == key]
    return (reasons[0] if reasons else "") or "not among its metrics"


def _columns(
    name: str, tasks: Mapping[str, TaskResult], tables: Mapping[str, pd.DataFrame], marks: tuple[str, ...]
) -> tuple[list[Column], list[tuple[str, str, str]]]:
    """The columns of a task, and (metric, run id, reason) of what is missing for others."""
    columns: list[Column] = []
    missing: list[tuple[str, str, str]] = []
    first = next(iter(tasks.values()))
    for position, value in enumerate(v for v in first.values if v.subset == "all"):
        key = f"{value.metric}@{value.variant}"
        signatures = {i: _signatures(task)[key] for i, task in tasks.items() if key in _signatures(task)}
        missing += [(key.removesuffix("@"), i, _reason(tasks[i], key)) for i in tasks if i not in signatures]
        if len(signatures) < 2:
            continue
        frames = {
            i: tables[i][(tables[i]["task"] == name) & (tables[i]["signature"] == signature)].set_index("unit")
            for i, signature in signatures.items()
        }
        units = _common_units([list(frame.index) for frame in frames.values()])
        joined = [frame.loc[list(units)] for frame in frames.values()]
        scored = np.stack([frame["value"].notna().to_numpy() for frame in joined])
        width = max(len(s) for frame in joined for s in frame["statistics"])
        statistics = np.full((len(joined), len(units), width), np.nan)
        for row, frame in enumerate(joined):
            held = [s for s in frame["statistics"] if len(s)]
            if held:
                statistics[row, scored[row]] = np.stack(held)
        values = tuple(
            next(v for v in tasks[i].values if v.subset == "all" and f"{v.metric}@{v.variant}" == key)
            for i in signatures
        )
        columns.append(
            Column(
                task=name,
                metric=value.metric,
                variant=value.variant,
                signature=next(iter(signatures.values())),
                main=position == 0,
                units=units,
                clusters=tuple(joined[0]["cluster"]),
                runs=tuple(signatures),
                statistics=statistics,
                scored=scored,
                values=values,
                marks=marks,
            )
        )
    return columns, missing


def _common_units(indices: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Units that all runs have, in the order of the first."""
    lists = [list(index) for index in indices]
    others = [set(units) for units in lists[1:]]
    return tuple(unit for unit in lists[0] if all(unit in other for other in others))
