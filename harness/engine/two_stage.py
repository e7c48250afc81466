"""Whose fault is a wrong answer of a two-stage chart model: the reader of the table, or the reasoner on it?

Two runs are compared sample by sample: the pipeline's, and one of the same reasoner on the true tables
(`chartqa-gold-table`). Wrong on the table that was read and right on the true one: the reading is at fault. Wrong on
both: the reasoning is. Right on both: nobody. Right on the read table alone: luck, counted for itself.
Source: Liu et al. 2023 (DePlot), error analysis, there by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.errors import MetricError, ModelError, StoreError
from harness.metrics.tables import rms
from harness.models.pipeline import laid_out
from harness.records import GenerationSettings
from harness.stats.intervals import interval
from harness.store.runs import Run

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("both right", "reading error", "reasoning error", "right on the read table only")
UNSCORED = "unscored"
_SIGNATURE = "relaxed_accuracy|pix2struct|"


@dataclass(frozen=True, slots=True)
class Attribution:
    """Errors put down to one of the two stages."""

    samples: pd.DataFrame
    """One row for each sample of both runs: `sample_id`, `cluster`, `table_f1` (RMS-F1 of the read table, NaN where
    either table is missing), `right_on_read`, `right_on_gold` (NA where unscored) and `outcome`."""
    summary: pd.DataFrame
    """One row for each outcome: `count`, `share` of the scored samples with `low` and `high` (95 %, clusters
    resampled), `mean_table_f1`, `n_scored`, `n_total`. The unscored have a row with a count alone."""
    signature: str
    """The metric that says right or wrong."""


def attribute_errors(
    pipeline: Run,
    gold: Run,
    *,
    task: str = "chartqa",
    gold_task: str = "chartqa-gold-table",
    signature: str = _SIGNATURE,
) -> Attribution:
    """Each sample's outcome, and how often each occurs.

    Args:
        pipeline: a run of a card of family `pipeline`.
        gold: a run of its reasoner, or of the same pipeline with `table: given`, on the true tables.
        task: the pipeline's task.
        gold_task: the task with true tables.
        signature: of a metric of both runs, or the beginning of one; its values must be 0 or 1.

    Raises:
        StoreError: a run lacks the task or the metric, or the runs share no sample.
        ModelError: the runs differ in more than the table: another reasoner, or other worked examples.
        MetricError: the metric has values between 0 and 1.
    """
    import pandas as pd

    _check_same_reasoner(pipeline, gold)
    read, right = _answers(pipeline, task), _right(pipeline, task, signature)
    true, right_on_gold = _answers(gold, gold_task), _right(gold, gold_task, signature)
    one, other = _generation(pipeline, task), _generation(gold, gold_task)
    if one != other:
        raise ModelError(f"the runs generate differently: {one} and {other}; give both cards the same run.generation")
    if right[0] != right_on_gold[0]:
        raise StoreError(f"the runs are scored differently: {right[0]} and {right_on_gold[0]}; rescore one of them")
    shared = [sample for sample in read.index if sample in set(true.index)]
    if not shared or any(read.loc[s, "question"] != true.loc[s, "question"] for s in shared):
        raise StoreError(
            f"{pipeline.path} and {gold.path}: the tasks do not ask the same questions; run them on one set"
        )
    rows = []
    for sample in shared:
        on_read, on_gold = right[1].get(sample), right_on_gold[1].get(sample)
        table = json.loads(true.loc[sample, "metadata"]).get("table")
        if table and laid_out(table, read.loc[sample, "prompt"]) not in true.loc[sample, "prompt"]:
            raise ModelError(
                f"sample {sample}: the question is worded differently in the two runs; give both one prompt"
            )
        rows.append(
            {
                "sample_id": sample,
                "cluster": read.loc[sample, "cluster"] or sample,
                "table_f1": _table_f1(read.loc[sample, "steps"], table),
                "right_on_read": on_read,
                "right_on_gold": on_gold,
                "outcome": outcome(on_read, on_gold),
            }
        )
    samples = pd.DataFrame(rows).astype({"right_on_read": "boolean", "right_on_gold": "boolean", "table_f1": "float64"})
    return Attribution(samples, _summary(samples), right[0])


def outcome(on_read: bool | None, on_gold: bool | None) -> str:
    """The name of one sample's outcome; `unscored` where either answer is."""
    if on_read is None or on_gold is None:
        return UNSCORED
    return {
        (True, True): "both right",
        (False, True): "reading error",
        (False, False): "reasoning error",
        (True, False): "right on the read table only",
    }[on_read, on_gold]


def _summary(samples: pd.DataFrame) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    scored = samples[samples["outcome"] != UNSCORED]
    rows: list[dict[str, Any]] = []
    for name in OUTCOMES:
        hit = (scored["outcome"] == name).to_numpy(dtype=float)
        statistics = np.column_stack([hit, np.ones(len(hit))])  # (samples, 2)
        bounds = interval(statistics, list(scored["cluster"]), lambda s: s[..., 0] / s[..., 1], is_rate=True)
        rows.append(
            {
                "outcome": name,
                "count": int(hit.sum()),
                "share": float(hit.mean()) if len(hit) else None,
                "low": bounds.low,
                "high": bounds.high,
                "method": bounds.method,
                "mean_table_f1": float(scored.loc[hit == 1.0, "table_f1"].mean()),
            }
        )
    rows.append({"outcome": UNSCORED, "count": len(samples) - len(scored)})
    frame = pd.DataFrame(rows).set_index("outcome")
    return frame.assign(n_scored=len(scored), n_total=len(samples))


def _generation(run: Run, task: str) -> GenerationSettings | None:
    """The task's settings without its stop strings, which the pipeline adds by itself."""
    found = [t.plan.generation for t in run.record.tasks if t.plan.name == task]
    return replace(found[0], stop=()) if found else None


def _answers(run: Run, task: str) -> pd.DataFrame:
    """The task's rows of the sample table by sample id; a run sealed before there were steps has none."""
    samples = run.samples()
    found = samples[samples["task"] == task].set_index("sample_id")
    if found.empty:
        names = ", ".join(t.plan.name for t in run.record.tasks)
        raise StoreError(f"{run.path}: has no task {task}; its tasks: {names}")
    return found if "steps" in found else found.assign(steps=None)


def _right(run: Run, task: str, signature: str) -> tuple[str, dict[str, bool]]:
    """The full signature, and sample → right or wrong for every scored sample."""
    scores = run.scores()
    scores = scores[(scores["task"] == task) & scores["signature"].str.startswith(signature)]
    names = sorted(set(scores["signature"]))
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise StoreError(f"{run.path}: task {task}: one metric must begin with {signature!r}; there: {found}")
    values = scores.dropna(subset=["value"])
    if not values["value"].isin((0.0, 1.0)).all():
        raise MetricError(f"{names[0]} has values between right and wrong; give the signature of a metric of 0 and 1")
    return names[0], {str(s): v == 1.0 for s, v in zip(values["sample_id"], values["value"], strict=True)}


def _table_f1(steps: object, true: str | None) -> float | None:
    """RMS-F1 of the read table against the true one; `None` where one is missing or the true one has no cell."""
    read = dict(json.loads(steps)).get("table") if isinstance(steps, str) else None
    if read is None or not true:
        return None
    try:
        return rms(read, true).f1
    except MetricError:  # a table of one column has no data point to compare, which the frame shows as NaN
        return None


def _check_same_reasoner(pipeline: Run, gold: Run) -> None:
    identity, other = pipeline.record.identity, gold.record.identity
    mine = identity.processing.get("reasoner")
    if not isinstance(mine, Mapping):
        raise ModelError(f"{pipeline.path}: {pipeline.record.model} has no reasoner; give a run of family pipeline")
    theirs = other.processing.get("reasoner")
    options = ("few_shot", "answer_after")
    if isinstance(theirs, Mapping):
        same = mine == theirs and all(identity.processing[o] == other.processing[o] for o in options)
    else:
        same = mine["weights"] == other.weights and mine["processing"] == other.processing
        same = same and not any(identity.processing[o] for o in options)
    if not same:
        raise ModelError(
            f"{gold.record.model} differs from the reasoner of {pipeline.record.model} in weights, processing, worked "
            "examples or answer_after; run the pipeline's own card with run.options.table: given on the true tables"
        )
