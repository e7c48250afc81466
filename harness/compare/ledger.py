"""Published scores beside measured ones: reproduced, off by how much, or not the same thing.

A published number is a claim with a protocol. It is called reproduced only where split and metric agree, the whole
split was run, and the difference is within the tolerance for one checkpoint and decoding (0.5 points, 1 for CIDEr).
Scores that were only recalled are shown and never judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.records import MetricValue, TaskResult
from harness.store.runs import Run

TOLERANCE_POINTS = 0.5
TOLERANCE_CIDER = 1.0
_METRICS: Mapping[str, tuple[str, ...]] = {
    "cider": ("cider@subset-idf", "cider@full-idf"),
    "bleu4": ("bleu-4@",),
    "meteor": ("meteor@",),
    "rougel": ("rouge-l@",),
    "spice": ("spice@",),
    "relaxedaccuracy": ("relaxed_accuracy@pix2struct",),
    "rmsf1": ("rms-f1@f1",),
    "rnss": ("rnss@",),
    "accuracy": ("mmbench@circular", "scienceqa@", "accuracy@", "relaxed_accuracy@pix2struct"),
}
"""A published metric's name, letters and digits only → our metrics that may be it, the likeliest first."""
_DATASETS: Mapping[str, str] = {
    "cococaptions": "coco",
    "chartqa": "chartqa",
    "mmbench": "mmbench",
    "mmbenchcn": "mmbench",
    "scienceqa": "scienceqa",
    "nlvr2": "nlvr2",
    "librispeech": "librispeech",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One published score of one card, and what was measured."""

    model: str
    benchmark: str
    split: str
    protocol: str
    metric: str
    published: float | None
    source: str
    confidence: str
    measured: float | None
    """In the unit of the published number: points, or CIDEr x 100."""
    low: float | None
    high: float | None
    task: str
    status: str
    """`reproduced`, `off by X`, `protocol differs: …`, `not gated: recalled only`, `not measured`."""


def ledger(run: Run) -> list[Entry]:
    """Every published score of the run's card, in the card's order."""
    describe = run.record.card.get("describe") or {}
    return [_entry(run, dict(score)) for score in describe.get("published", [])]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _entry(run: Run, score: dict[str, Any]) -> Entry:
    found = _measured(run, score)
    task, value = found if found is not None else (None, None)
    factor = 100.0
    measured = None if value is None or value.estimate is None else factor * value.estimate
    return Entry(
        model=run.record.model,
        benchmark=score["benchmark"],
        split=score["split"],
        protocol=score["protocol"],
        metric=score["metric"],
        published=score["value"],
        source=score["source"],
        confidence=score["confidence"],
        measured=measured,
        low=None if value is None or value.low is None else factor * value.low,
        high=None if value is None or value.high is None else factor * value.high,
        task="" if task is None else task.plan.name,
        status=_status(score, task, measured),
    )


def _measured(run: Run, score: dict[str, Any]) -> tuple[TaskResult, MetricValue] | None:
    dataset = _DATASETS.get(_plain(score["benchmark"]))
    names = _METRICS.get(_plain(score["metric"]), ())
    tasks = [task for task in run.record.tasks if task.plan.dataset == dataset and not task.plan.variant_of]
    subset = "image" if "image" in score["split"] else "all"
    for name in names:
        for task in tasks:
            for value in task.values:
                if f"{value.metric}@{value.variant}" == name and value.subset == subset and value.estimate is not None:
                    return task, value
    return None


def _status(score: dict[str, Any], task: TaskResult | None, measured: float | None) -> str:
    if task is None or measured is None:
        return "not measured"
    differs = _protocol(score, task)
    if differs:
        return f"protocol differs: {', '.join(differs)}"
    if score["confidence"] == "C":
        return "not gated: recalled only"
    if score["value"] is None:
        return "no published value"
    difference = measured - float(score["value"])
    tolerance = TOLERANCE_CIDER if _plain(score["metric"]) == "cider" else TOLERANCE_POINTS
    return "reproduced" if abs(difference) <= tolerance else f"off by {difference:+.1f}"


def _protocol(score: dict[str, Any], task: TaskResult) -> list[str]:
    """What is known to differ from the published protocol."""
    plan = task.plan
    differs: list[str] = []
    if plan.data == "bundled":
        differs.append("mini data")
    theirs, ours = (set(re.findall(r"[a-z]+", text.lower())) for text in (score["split"], plan.split))
    if not theirs & ours or ("karpathy" in theirs and "karpathy" not in ours):
        differs.append(f"split {score['split']} against {plan.split}")
    if plan.subset:
        differs.append("part of the split")
    if task.unscored:
        differs.append("samples without an answer")
    if "not this checkpoint" in score["protocol"]:
        differs.append("another checkpoint")
    beams = re.search(r"beam (\d+)", score["protocol"])
    if beams is not None and int(beams[1]) != plan.generation.num_beams:
        differs.append(f"beam {beams[1]} against {plan.generation.num_beams}")
    return differs
