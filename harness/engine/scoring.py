"""Cases → scores → values with intervals, for the whole task and each value of its breakdown fields."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import MetricUnavailable
from harness.metrics.base import MeanMetric, Metric, ScoringContext
from harness.records import Case, MetricValue, Score
from harness.stats.intervals import interval

logger = logging.getLogger(__name__)
UNPARSED = "unparsed"
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Scored:
    """What the metrics of one task made of its cases."""

    values: tuple[MetricValue, ...]
    scores: tuple[tuple[str, tuple[Score, ...]], ...]
    """(signature, scores) of each metric that was computed."""


def score_cases(
    cases: Sequence[Case],
    metrics: Sequence[Metric],
    breakdown: Sequence[str],
    context: ScoringContext,
    note: Callable[[str], None] = logger.debug,
) -> Scored:
    """All metrics over all cases; a metric that cannot run here becomes a value with its reason."""
    values: list[MetricValue] = []
    scores: list[tuple[str, tuple[Score, ...]]] = []
    for metric in metrics:
        note(f"scoring {metric.info.name} {metric.info.variant}".rstrip())
        try:
            units = metric.score(cases, context)
        except MetricUnavailable as error:
            values.append(_absent(metric, "all", 0, len(cases), str(error)))
            continue
        scores.append((metric.info.signature, tuple(units)))
        values += [_value(metric, "all", units, context.seed)]
        for subset, members in _subsets(cases, units, breakdown):
            values.append(_value(metric, subset, members, context.seed))
    return Scored(tuple(values), tuple(scores))


def _subsets(cases: Sequence[Case], units: Sequence[Score], breakdown: Sequence[str]) -> list[tuple[str, list[Score]]]:
    found: list[tuple[str, list[Score]]] = []
    if not breakdown:
        return found
    metadata = {case.sample.sample_id: case.sample.metadata for case in cases}
    for name in breakdown:
        members: dict[str, list[Score]] = {}
        for unit in units:
            place = metadata.get(unit.sample_id, {}).get(name)
            if place:
                members.setdefault(place, []).append(unit)
        found += sorted(members.items())
    return found


def _absent(metric: Metric, subset: str, n_scored: int, n_total: int, reason: str) -> MetricValue:
    info = metric.info
    return MetricValue(
        metric=info.name,
        variant=info.variant,
        signature=info.signature,
        subset=subset,
        estimate=None,
        low=None,
        high=None,
        n_scored=n_scored,
        n_total=n_total,
        higher_is_better=info.higher_is_better,
        unit=info.unit,
        reason=reason,
    )


def _value(metric: Metric, subset: str, units: Sequence[Score], seed: int) -> MetricValue:
    scored = [unit for unit in units if unit.value is not None]
    if not scored:
        reasons = Counter(unit.unscored.kind for unit in units if unit.unscored)
        why = ", ".join(f"{kind} x{count}" for kind, count in reasons.most_common()) or "no units"
        return _absent(metric, subset, 0, len(units), f"nothing scored: {why}")
    statistics = np.array([unit.statistics for unit in scored], dtype=np.float64)  # (units, statistics)
    clusters = [unit.cluster for unit in scored]
    estimate = float(metric.aggregate(statistics.sum(axis=0)))
    is_rate = isinstance(metric, MeanMetric) and all(unit.value in (0.0, 1.0) for unit in scored)
    bounds = interval(statistics, clusters, metric.aggregate, is_rate=is_rate, seed=seed, confidence=CONFIDENCE)
    info = metric.info
    rules = Counter(unit.rule for unit in scored if unit.rule)
    return MetricValue(
        metric=info.name,
        variant=info.variant,
        signature=info.signature,
        subset=subset,
        estimate=estimate,
        low=bounds.low,
        high=bounds.high,
        n_scored=len(scored),
        n_total=len(units),
        n_clusters=bounds.n_clusters,
        confidence=CONFIDENCE,
        method=bounds.method,
        higher_is_better=info.higher_is_better,
        unit=info.unit,
        unparsed=rules.get(UNPARSED, 0),
        rules=dict(sorted(rules.items())),
    )
