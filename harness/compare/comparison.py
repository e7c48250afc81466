"""What differs between models, by how much, and what could not have been seen: the statistics over aligned runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from harness import registry
from harness.compare.align import Column, Mismatch, align
from harness.errors import CompareError
from harness.metrics.base import MeanMetric, Metric
from harness.records import MetricValue
from harness.stats.multiplicity import benjamini_hochberg, holm, letters, rank_intervals
from harness.stats.paired import equivalence, mcnemar, paired_differences
from harness.stats.power import smallest_detectable_difference
from harness.store.runs import Run

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = (
    "estimate",
    "low",
    "high",
    "n_scored",
    "n_total",
    "n_clusters",
    "unit",
    "higher_is_better",
    "method",
    "reason",
)
RESAMPLES = 2000
PERMUTATIONS = 10_000
_PER_TEST, _MOST = 100, 50_000
"""Exchanges for each test of a family, so that the least corrected p-value is 0.01, and their limit."""
"""Enough for a p-value below 5 % after correction over 400 pairs."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on one metric of one task."""

    task: str
    metric: str
    signature: str
    main: bool
    first: str
    """Model name."""
    second: str
    difference: float
    """First minus second, over the units that both have."""
    low: float
    high: float
    p_value: float
    """Permutation test, uncorrected."""
    p_holm: float
    """Corrected over all pairs and tasks of main metrics, or of the other metrics."""
    p_bh: float
    mcnemar_p: float | None
    """Exact, for rates over independent units."""
    only_first: int | None
    """Units that only the first has right; `None` for metrics that are no rates."""
    only_second: int | None
    detectable: float
    """Smallest true difference that this comparison finds in 80 % of repetitions at 5 %, uncorrected."""
    n_units: int
    n_clusters: int
    higher_is_better: bool
    unit: str
    method: str
    margin: float | None = None
    """Largest difference that does not matter, in the metric's own scale, where one was declared."""
    p_equivalent: float | None = None
    """Two one-sided tests that the difference lies within the margin, uncorrected; `None` for corpus metrics."""

    @property
    def equivalent(self) -> bool:
        """Whether the two are as good as each other within the declared margin, at 5 %."""
        return self.p_equivalent is not None and self.p_equivalent <= ALPHA

    @property
    def differs(self) -> bool:
        """Whether the corrected test finds a difference at 5 %."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True, slots=True)
class Standing:
    """One model on one metric of one task, among the others."""

    task: str
    metric: str
    signature: str
    main: bool
    run: str
    model: str
    value: MetricValue
    letters: str
    """Models that share a letter cannot be told apart."""
    rank_low: int
    rank_high: int
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a comparison says; tables and reports print it."""

    runs: tuple[Run, ...]
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    mismatches: tuple[Mismatch, ...]
    missing: tuple[str, ...]
    """What not every run has, a line for each task."""
    baseline: str | None = None

    def pair_frame(self) -> pd.DataFrame:
        """One row for each pair, task and metric."""
        import pandas as pd

        return pd.DataFrame([asdict(pair) | {"differs": pair.differs} for pair in self.pairs])

    def standing_frame(self) -> pd.DataFrame:
        """One row for each model, task and metric: value, interval, counts, letters, ranks."""
        import pandas as pd

        rows = []
        for standing in self.standings:
            row = asdict(standing)
            value = row.pop("value")
            rows.append(row | {key: value[key] for key in _SHOWN})
        return pd.DataFrame(rows)


def compare(
    runs: Sequence[Run],
    *,
    baseline: Run | None = None,
    allow: bool = False,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    margin: float | None = None,
) -> Comparison:
    """The runs compared on every task and metric that they have in common.

    Args:
        runs: sealed runs; with `baseline` among them or not.
        baseline: only pairs with this run are tested.
        allow: compare unlike runs, in marked columns.
        resamples: bootstrap corpora for intervals and ranks.
        permutations: exchanges of answers for the p-values; clear differences get more where many pairs are tested.
        seed: of both.
        margin: largest difference that does not matter, in the metrics' own scale (0.02 is two points of a rate): every
            pair is then also tested for being as good as the other.

    Raises:
        CompareError: runs that are unlike, or a metric that this version defines otherwise.
    """
    chosen = list(runs)
    if baseline is not None and baseline.record.run_id not in [r.record.run_id for r in chosen]:
        chosen.insert(0, baseline)
    aligned = align(chosen, allow=allow)
    names = _names(chosen)
    base = baseline.record.run_id if baseline is not None else None
    family = Counter[bool]()
    for column in aligned.columns:
        family[column.main] += len(_wanted(column, base))
    most = {main: min(_MOST, _PER_TEST * tests) for main, tests in family.items()}
    tests = [
        _Tests(column, names, base, resamples, permutations, most[column.main], seed, margin)
        for column in aligned.columns
    ]
    pairs = _corrected([pair for column in tests for pair in _column_pairs(column)])
    standings = [s for column in aligned.columns for s in _standings(column, names, pairs, resamples, seed)]
    return Comparison(
        runs=tuple(chosen),
        standings=tuple(standings),
        pairs=tuple(pairs),
        mismatches=aligned.mismatches,
        missing=tuple(missing.told(names) for missing in aligned.missing),
        baseline=names[base] if base is not None else None,
    )


def _names(runs: Sequence[Run]) -> dict[str, str]:
    """Run id → model name, with the run id where a model stands twice."""
    models = [run.record.model for run in runs]
    return {
        run.record.run_id: run.record.model
        if models.count(run.record.model) == 1
        else f"{run.record.model} ({run.record.run_id})"
        for run in runs
    }


def metric_of(column: Column) -> Metric:
    """The metric behind a column, to compute corpus values.

    Raises:
        CompareError: this version of the program defines the metric otherwise than the one that scored the runs.
    """
    metric: Metric = registry.load("metrics", column.metric)(column.variant)
    now, then = metric.info.signature.rpartition("|")[2], column.signature.rpartition("|")[2]
    if now != then:
        raise CompareError(
            f"task {column.task}: {column.name} was scored as {then} and is now {now}; "
            "score the runs again with `harness rescore`"
        )
    return metric


@dataclass(frozen=True, slots=True)
class _Tests:
    """How the pairs of a column are tested."""

    column: Column
    names: Mapping[str, str]
    baseline: str | None
    resamples: int
    permutations: int
    most_permutations: int
    seed: int
    margin: float | None


def _wanted(column: Column, baseline: str | None) -> list[tuple[int, int]]:
    """The pairs that are tested: all, or those with the baseline."""
    return [
        (i, j)
        for i, j in combinations(range(len(column.runs)), 2)
        if baseline is None or baseline in (column.runs[i], column.runs[j])
    ]


def _column_pairs(tests: _Tests) -> list[Pair]:
    """The tested pairs, each over the units that both have scored; pairs with the same units share their draws."""
    column = tests.column
    metric = metric_of(column)
    places = _wanted(column, tests.baseline)
    groups: dict[bytes, list[tuple[int, int]]] = {}
    for i, j in places:
        groups.setdefault((column.scored[i] & column.scored[j]).tobytes(), []).append((i, j))
    made = {place: pair for group in groups.values() for place, pair in _pairs(tests, metric, group)}
    return [made[place] for place in places if place in made]


def _pairs(tests: _Tests, metric: Metric, places: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, int], Pair]]:
    """Pairs of rows that have the same units in common, where there are enough for a test."""
    column, names, margin = tests.column, tests.names, tests.margin
    members = sorted({row for place in places for row in place})
    both = np.asarray(column.scored[list(places[0])].all(axis=0))
    clusters = [c for c, keep in zip(column.clusters, both, strict=True) if keep]
    if len(set(clusters)) < 2:
        return []
    statistics = column.statistics[members][:, both]
    found = paired_differences(
        statistics,
        clusters,
        metric.aggregate,
        pairs=[(members.index(i), members.index(j)) for i, j in places],
        seed=tests.seed,
        resamples=tests.resamples,
        permutations=tests.permutations,
        most_permutations=tests.most_permutations,
    )
    verdicts = _verdicts(metric, statistics)
    independent = len(set(clusters)) == len(clusters)
    pairs: list[tuple[tuple[int, int], Pair]] = []
    for number, (place, (a, b)) in enumerate(zip(places, found.pairs.tolist(), strict=True)):
        discordance = mcnemar(verdicts[a], verdicts[b]) if verdicts is not None else None
        pair = Pair(
            task=column.task,
            metric=column.name,
            signature=column.signature,
            main=column.main,
            first=names[column.runs[members[a]]],
            second=names[column.runs[members[b]]],
            difference=float(found.estimate[number]),
            low=float(found.low[number]),
            high=float(found.high[number]),
            p_value=float(found.p_value[number]),
            p_holm=1.0,
            p_bh=1.0,
            mcnemar_p=discordance.p_value if discordance is not None and independent else None,
            only_first=discordance.only_first if discordance is not None else None,
            only_second=discordance.only_second if discordance is not None else None,
            detectable=smallest_detectable_difference(float(found.standard_error[number])),
            n_units=int(both.sum()),
            n_clusters=found.n_clusters,
            higher_is_better=column.higher_is_better,
            unit=column.unit,
            method=found.method,
            margin=margin,
            p_equivalent=_equivalent(metric, statistics[a] - statistics[b], clusters, margin),
        )
        pairs.append((place, pair))
    return pairs


def _equivalent(metric: Metric, difference: np.ndarray, clusters: Sequence[str], margin: float | None) -> float | None:
    """p-value of "as good as" for a mean over units; corpus metrics have no per-unit difference to test."""
    if margin is None or not isinstance(metric, MeanMetric):
        return None
    return equivalence(difference[:, 0], clusters, margin)


def _verdicts(metric: Metric, statistics: np.ndarray) -> np.ndarray | None:
    """(runs, units) of right and wrong, where the metric is a plain rate."""
    if not isinstance(metric, MeanMetric) or not np.isin(statistics[..., 0], (0.0, 1.0)).all():
        return None
    return np.asarray(statistics[..., 0])


def _corrected(pairs: list[Pair]) -> list[Pair]:
    """The pairs with p-values corrected over two families: all main metrics, and all others."""
    from dataclasses import replace

    done = list(pairs)
    for main in (True, False):
        places = [n for n, pair in enumerate(pairs) if pair.main is main]
        if places:
            p = [pairs[n].p_value for n in places]
            for n, strict, rate in zip(places, holm(p), benjamini_hochberg(p), strict=True):
                done[n] = replace(done[n], p_holm=float(strict), p_bh=float(rate))
    return done


def _standings(
    column: Column, names: dict[str, str], pairs: Sequence[Pair], resamples: int, seed: int
) -> list[Standing]:
    models = [names[run] for run in column.runs]
    place = {model: number for number, model in enumerate(models)}
    differ = np.zeros((len(models), len(models)), dtype=bool)
    for pair in pairs:
        if (pair.task, pair.metric) == (column.task, column.name) and pair.differs:
            differ[place[pair.first], place[pair.second]] = differ[place[pair.second], place[pair.first]] = True
    estimates = [value.estimate if value.estimate is not None else np.nan for value in column.values]
    shown = letters(estimates, differ, higher_is_better=column.higher_is_better)
    common = np.asarray(column.scored.all(axis=0))
    clusters = [c for c, keep in zip(column.clusters, common, strict=True) if keep]
    if len(set(clusters)) > 1:
        resampled = paired_differences(
            column.statistics[:, common],
            clusters,
            metric_of(column).aggregate,
            seed=seed,
            resamples=resamples,
            permutations=1,
        ).resampled
        low, high = rank_intervals(resampled, higher_is_better=column.higher_is_better)
    else:
        low, high = np.ones(len(models), dtype=int), np.full(len(models), len(models))
    return [
        Standing(
            task=column.task,
            metric=column.name,
            signature=column.signature,
            main=column.main,
            run=run,
            model=names[run],
            value=value,
            letters=letter,
            rank_low=int(low[number]),
            rank_high=int(high[number]),
            marks=column.marks,
        )
        for number, (run, value, letter) in enumerate(zip(column.runs, column.values, shown, strict=True))
    ]
