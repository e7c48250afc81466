"""Cases → scores → values with intervals, for the whole task and each value of its breakdown fields.

Cases come as a stream. Metrics that score every sample by itself take them in chunks and keep numbers only, so a set of
a million answers needs a few dozen bytes for each; metrics of the whole set (CIDEr, groups of passes) hold their cases.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import numpy as np

from harness.errors import MetricUnavailable
from harness.metrics.base import MeanMetric, Metric, ScoringContext
from harness.records import Case, MetricValue, Score
from harness.stats.intervals import interval

logger = logging.getLogger(__name__)
UNPARSED = "unparsed"
CONFIDENCE = 0.95
CHUNK = 4096
"""Cases that metrics of single samples are given at once."""
ALL = "all"


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
) -> Scored:
    """All metrics over all cases, values and scores held together."""
    scores: dict[str, list[Score]] = {}

    def keep(signature: str, units: Sequence[Score]) -> None:
        scores.setdefault(signature, []).extend(units)

    values = score_stream(cases, metrics, breakdown, context, keep)
    return Scored(values, tuple((signature, tuple(units)) for signature, units in scores.items()))


def score_stream(
    cases: Iterable[Case],
    metrics: Sequence[Metric],
    breakdown: Sequence[str],
    context: ScoringContext,
    write: Callable[[str, Sequence[Score]], None],
    note: Callable[[str], None] = logger.debug,
) -> tuple[MetricValue, ...]:
    """The values of all metrics over a stream of cases; a metric that cannot run here has a value with its reason.

    Args:
        write: is given the signature and the scores of a metric, chunk by chunk for metrics of single samples.
        note: is told what is being scored.
    """
    tallies = [_Tally(metric, tuple(breakdown)) for metric in metrics]
    singly = [tally for tally in tallies if tally.metric.by_sample]
    together = [tally for tally in tallies if not tally.metric.by_sample]
    held: list[Case] = []
    if singly:
        note("scoring " + ", ".join(tally.title for tally in singly))
    for chunk in _chunks(cases):
        if together:
            held += chunk
        own = replace(context, memo={})
        for tally in singly:
            tally.take(chunk, own, write)
    for tally in together:
        note(f"scoring {tally.title}")
        tally.take(held, context, write)
    return tuple(value for tally in tallies for value in tally.values(context.seed))


def _chunks(cases: Iterable[Case]) -> Iterable[list[Case]]:
    stream = iter(cases)
    return iter(lambda: list(islice(stream, CHUNK)), [])


@dataclass(slots=True)
class _Members:
    """The units of one subset: where the scored ones stand among all scored units, and what the others lack."""

    n_total: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    binary: bool = True
    places: array[int] = field(default_factory=lambda: array("I"))

    def add(self, units: Sequence[Score], places: Sequence[int]) -> None:
        """Take in units; `places` has those of the scored ones among them."""
        self.n_total += len(units)
        self.places.extend(places)
        scored = units
        if len(places) < len(units):
            scored = [unit for unit in units if unit.value is not None]
            self.reasons.update(unit.unscored.kind for unit in units if unit.value is None and unit.unscored)
        self.binary = self.binary and all(unit.value in (0.0, 1.0) for unit in scored)
        self.rules.update(unit.rule for unit in scored if unit.rule)


class _Tally:
    """One metric at work: what it has seen of the whole task and of each value of the breakdown fields."""

    def __init__(self, metric: Metric, breakdown: tuple[str, ...]) -> None:
        self.metric, self._breakdown = metric, breakdown
        self._statistics = array("d")
        self._clusters: list[str] = []
        self._all = _Members()
        self._subsets: tuple[dict[str, _Members], ...] = tuple({} for _ in breakdown)
        self._unavailable = ""

    @property
    def title(self) -> str:
        return f"{self.metric.info.name} {self.metric.info.variant}".rstrip()

    def take(
        self, cases: Sequence[Case], context: ScoringContext, write: Callable[[str, Sequence[Score]], None]
    ) -> None:
        """Score further cases."""
        if self._unavailable:
            self._all.n_total += len(cases)
            return
        try:
            units = self.metric.score(cases, context)
        except MetricUnavailable as error:
            self._unavailable = str(error)
            self._all.n_total += len(cases)
            return
        write(self.metric.info.signature, units)
        metadata = {case.sample.sample_id: case.sample.metadata for case in cases} if self._breakdown else {}
        self._count(units, metadata)

    def _count(self, units: Sequence[Score], metadata: Mapping[str, Mapping[str, str]]) -> None:
        scored = [unit for unit in units if unit.value is not None]
        first = len(self._clusters)
        self._statistics.extend(chain.from_iterable(unit.statistics for unit in scored))
        self._clusters += [unit.cluster for unit in scored]
        self._all.add(units, range(first, len(self._clusters)))
        for name, subsets in zip(self._breakdown, self._subsets, strict=True):
            place = first
            chosen: dict[str, tuple[list[Score], list[int]]] = {}
            for unit in units:
                if subset := metadata.get(unit.sample_id, {}).get(name):
                    some, places = chosen.setdefault(subset, ([], []))
                    some.append(unit)
                    if unit.value is not None:
                        places.append(place)
                place += unit.value is not None
            for subset, (some, places) in chosen.items():
                subsets.setdefault(subset, _Members()).add(some, places)

    def values(self, seed: int) -> list[MetricValue]:
        """The value of all units, then of each subset by name."""
        if self._unavailable:
            return [_absent(self.metric, ALL, self._all.n_total, self._unavailable)]
        found = [self._value(ALL, self._all, seed)]
        for subsets in self._subsets:
            found += [self._value(name, subsets[name], seed) for name in sorted(subsets)]
        return found

    def _value(self, subset: str, members: _Members, seed: int) -> MetricValue:
        metric, n_scored = self.metric, len(members.places)
        if not n_scored:
            why = ", ".join(f"{kind} x{count}" for kind, count in members.reasons.most_common()) or "no units"
            return _absent(metric, subset, members.n_total, f"nothing scored: {why}")
        statistics = np.frombuffer(self._statistics).reshape(len(self._clusters), -1)  # (units, statistics)
        clusters: Sequence[str] = self._clusters
        if n_scored < len(clusters):
            statistics = statistics[np.frombuffer(members.places, dtype=np.uintc)]
            clusters = [clusters[place] for place in members.places]
        estimate = float(metric.aggregate(statistics.sum(axis=0)))
        is_rate = isinstance(metric, MeanMetric) and members.binary
        bounds = interval(statistics, clusters, metric.aggregate, is_rate=is_rate, seed=seed, confidence=CONFIDENCE)
        info, rules = metric.info, members.rules
        return MetricValue(
            metric=info.name,
            variant=info.variant,
            signature=info.signature,
            subset=subset,
            estimate=estimate,
            low=bounds.low,
            high=bounds.high,
            n_scored=n_scored,
            n_total=members.n_total,
            n_clusters=bounds.n_clusters,
            confidence=CONFIDENCE,
            method=bounds.method,
            higher_is_better=info.higher_is_better,
            unit=info.unit,
            unparsed=rules.get(UNPARSED, 0),
            rules=dict(sorted(rules.items())),
        )


def _absent(metric: Metric, subset: str, n_total: int, reason: str) -> MetricValue:
    info = metric.info
    return MetricValue(
        metric=info.name,
        variant=info.variant,
        signature=info.signature,
        subset=subset,
        estimate=None,
        low=None,
        high=None,
        n_scored=0,
        n_total=n_total,
        higher_is_better=info.higher_is_better,
        unit=info.unit,
        reason=reason,
    )
