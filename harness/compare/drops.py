"""What a model loses when a task is made harder: perturbed tasks of one run against their unchanged form, paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness import registry
from harness.errors import CompareError
from harness.metrics.base import Metric
from harness.records import MetricValue, TaskResult
from harness.stats.multiplicity import holm
from harness.stats.paired import paired_differences
from harness.store.runs import Run


@dataclass(frozen=True, slots=True)
class Drop:
    """One perturbed task of one run."""

    model: str
    task: str
    variant_of: str
    change: str
    """What was done: image steps, prompt, or order of options."""
    metric: str
    signature: str
    unchanged: float
    perturbed: float
    difference: float
    """Perturbed minus unchanged, over the units scored in both."""
    low: float
    high: float
    p_value: float
    p_holm: float
    """Corrected over all drops of the run."""
    n_units: int
    n_clusters: int
    higher_is_better: bool
    unit: str


def drops(run: Run, *, resamples: int = 2000, permutations: int = 10_000, seed: int = 0) -> list[Drop]:
    """Every perturbed task of a run on its main metric, beside the task that it is a form of.

    Args:
        run: a sealed run of a suite with `variant_of` tasks.
        resamples: bootstrap corpora for the intervals.
        permutations: exchanges for the p-values.
        seed: of both.

    Raises:
        CompareError: the run has no perturbed task.
    """
    tasks = {task.plan.name: task for task in run.record.tasks}
    perturbed = [task for task in tasks.values() if task.plan.variant_of]
    if not perturbed:
        raise CompareError(f"{run.path}: no task of the run is a perturbed form of another; run the suite `robustness`")
    scores = run.scores()
    found: list[Drop] = []
    for task in perturbed:
        base = tasks[task.plan.variant_of]
        value, other = _main(task), _main(base)
        if value is None or other is None:
            continue
        metric: Metric = registry.load("metrics", value.metric)(value.variant)
        frames = [
            scores[(scores["task"] == t.plan.name) & (scores["signature"] == v.signature)]
            .dropna(subset=["value"])
            .set_index("unit")
            for t, v in ((task, value), (base, other))
        ]
        units = [unit for unit in frames[0].index if unit in set(frames[1].index)]
        clusters = list(frames[0].loc[units, "cluster"])
        if len(set(clusters)) < 2:
            continue
        statistics = np.stack([np.stack(list(frame.loc[units, "statistics"])) for frame in frames])
        result = paired_differences(
            statistics, clusters, metric.aggregate, seed=seed, resamples=resamples, permutations=permutations
        )
        found.append(
            Drop(
                model=run.record.model,
                task=task.plan.name,
                variant_of=base.plan.name,
                change=_change(task, base),
                metric=value.metric,
                signature=value.signature,
                unchanged=float(result.values[1]),
                perturbed=float(result.values[0]),
                difference=float(result.estimate[0]),
                low=float(result.low[0]),
                high=float(result.high[0]),
                p_value=float(result.p_value[0]),
                p_holm=1.0,
                n_units=len(units),
                n_clusters=result.n_clusters,
                higher_is_better=value.higher_is_better,
                unit=value.unit,
            )
        )
    return _corrected(found)


def _main(task: TaskResult) -> MetricValue | None:
    """The task's main value, where it was computed."""
    first = next(value for value in task.values if value.subset == "all")
    return first if first.estimate is not None else None


def _change(task: TaskResult, base: TaskResult) -> str:
    plan, old = task.plan, base.plan
    changes = [step for step in plan.image_steps if step not in old.image_steps]
    if plan.option_order != old.option_order:
        changes.append(f"options in order {plan.option_order}")
    if plan.prompt_text != old.prompt_text:
        changes.append(f"prompt {plan.prompt_name} v{plan.prompt_version}")
    return ", ".join(changes) or "nothing"


def _corrected(found: Sequence[Drop]) -> list[Drop]:
    from dataclasses import replace

    adjusted = holm([drop.p_value for drop in found])
    return [replace(drop, p_holm=float(p)) for drop, p in zip(found, adjusted, strict=True)]
