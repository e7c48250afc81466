"""The decision: whether one model on one task has moved, with a declared rate of false alarms per night.

Half of the rate goes to the paired test against the accepted baseline, half to the test against the nights since. Each
half is divided by the number of model × task cells (Bonferroni), the second also by the number of windows it looks at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats.change import WindowTests, contributions, discordance_p
from harness.stats.paired import paired_differences
from harness.stats.resampling import cluster_sums

CONFIDENCE = 0.95
_DRAWS_BEYOND_LEVEL = 20
"""Permutations expected beyond the critical value; fewer would make the decision a matter of the seed."""
MAX_PERMUTATIONS = 200_000


@dataclass(frozen=True, slots=True)
class Levels:
    """How the declared rate is shared out."""

    rate: float
    """Probability of one alarm or more in a night without any change, over all cells."""
    cells: int
    """Models × tasks."""

    @property
    def cell(self) -> float:
        """The p-value at or below which one test of one cell alarms."""
        return self.rate / 2 / self.cells

    def corrected(self, p_value: float) -> float:
        """The p-value on the scale of the declared rate: an alarm is a corrected value at or below `rate`."""
        return min(1.0, p_value * 2 * self.cells)

    def alarms(self, p_value: np.ndarray) -> np.ndarray:
        """Which p-values are alarms, elementwise."""
        return np.asarray(np.asarray(p_value) <= self.cell)

    @property
    def permutations(self) -> int:
        """Draws of a permutation test that reaches the level."""
        return min(MAX_PERMUTATIONS, max(10_000, math.ceil(_DRAWS_BEYOND_LEVEL / self.cell)))


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Tonight against the baseline on the units that both have scored."""

    before: float
    after: float
    difference: float
    """After minus before."""
    low: float
    """End of the 95 % interval, cluster-robust t."""
    high: float
    p_value: float
    test: str
    only_before: int | None
    """Units that were right and are wrong now; `None` where the metric is no rate."""
    only_after: int | None
    n_units: int
    n_clusters: int


def paired_test(
    before: np.ndarray,
    after: np.ndarray,
    clusters: Sequence[str],
    aggregate: Callable[[np.ndarray], np.ndarray],
    *,
    is_mean: bool,
    permutations: int,
) -> PairedTest | None:
    """Tonight against the baseline; `None` with fewer than two clusters.

    Args:
        before: (units, k) statistics of the baseline.
        after: (units, k) statistics of tonight, the same units.
        clusters: cluster of each unit.
        aggregate: corpus values from summed statistics.
        is_mean: whether the metric is the mean of the first statistic.
        permutations: draws of the permutation test.

    Right or wrong on independent units: McNemar's exact test. Otherwise the larger of two p-values, of the permutation
    test and of the cluster-robust t test: the first is exact under exchange but as coarse as its draws, the second has
    a smooth tail but trusts the number of clusters.
    """
    from scipy.stats import t

    names = sorted(set(clusters))
    if len(names) < 2:
        return None
    sums = cluster_sums(np.stack([before, after]), clusters)  # (2, C, k)
    values = np.array([float(aggregate(one.sum(axis=0))) for one in sums])
    everyone = np.ones(len(names), dtype=bool)
    gaps = contributions(sums[1], everyone, aggregate) - contributions(sums[0], everyone, aggregate)
    gaps = np.where(np.isnan(gaps), 0.0, gaps)
    freedom = len(gaps) - 1
    error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    difference = float(values[1] - values[0])
    half = float(t.isf((1 - CONFIDENCE) / 2, freedom)) * error
    verdicts = np.stack([before[:, 0], after[:, 0]])
    binary = is_mean and bool(np.isin(verdicts, (0.0, 1.0)).all())
    lost = int(((verdicts[0] == 1) & (verdicts[1] == 0)).sum()) if binary else None
    won = int(((verdicts[0] == 0) & (verdicts[1] == 1)).sum()) if binary else None
    if lost is not None and won is not None and len(names) == len(clusters):
        p_value, test = float(discordance_p(np.array(lost), np.array(won))), "mcnemar_exact"
    elif bool((before == after).all()):
        p_value, test = 1.0, "none: every unit scores as before"
    else:
        drawn = paired_differences(
            np.stack([after, before]), clusters, aggregate, resamples=2, permutations=permutations
        )
        smooth = 2 * float(t.sf(abs(gaps.mean()) / error, freedom)) if error > 0 else 0.0
        p_value, test = max(float(drawn.p_value[0]), smooth), f"permutations={permutations}|cluster_t={freedom}"
    return PairedTest(
        before=float(values[0]),
        after=float(values[1]),
        difference=difference,
        low=difference - half,
        high=difference + half,
        p_value=p_value,
        test=test,
        only_before=lost,
        only_after=won,
        n_units=len(before),
        n_clusters=len(names),
    )


@dataclass(frozen=True, slots=True)
class HistoryTest:
    """Tonight's strongest window against the nights before it."""

    nights: int
    window: int
    difference: float
    p_value: float
    """Corrected for the windows tried, not for the cells."""


def strongest(tests: WindowTests) -> HistoryTest | None:
    """The last night's strongest window; `None` where there is no night before."""
    if len(tests.ends) == 0 or bool(np.isnan(tests.p_value[-1]).all()):
        return None
    place = int(np.nanargmin(tests.p_value[-1]))
    return HistoryTest(
        nights=int(tests.ends[-1]),
        window=tests.windows[place],
        difference=float(tests.difference[-1, place]),
        p_value=float(tests.corrected()[-1]),
    )
