"""Differences between models that answered the same questions.

Sources: Miller 2024 (arXiv 2411.00640) for paired and clustered errors; Efron 1987 for BCa; Phipson and Smyth 2010 for
permutation p-values; McNemar 1947 in its exact form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Literal

import numpy as np

from harness.stats.resampling import bootstrap_totals, cluster_sums, jackknife_totals, swapped_totals

Aggregate = Callable[[np.ndarray], np.ndarray]
"""Corpus values from summed statistics, (..., k) → (...)."""
_ENOUGH = 20
"""Extreme exchanges after which more would not change what a p-value says."""


@dataclass(frozen=True, slots=True)
class Differences:
    """All pairs of models on one metric. Arrays have one entry for each pair."""

    pairs: np.ndarray
    """(P, 2) indices of models; a difference is the first minus the second."""
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    """Two-sided, from the permutation test; not corrected for the number of pairs."""
    standard_error: np.ndarray
    """Standard deviation of the resampled differences."""
    values: np.ndarray
    """(M,) corpus value of each model."""
    resampled: np.ndarray
    """(M, B) resampled corpus values."""
    n_clusters: int
    method: str


def paired_differences(
    statistics: np.ndarray,
    clusters: Sequence[str],
    aggregate: Aggregate,
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    permutations: int = 2000,
    most_permutations: int = 0,
    confidence: float = 0.95,
    interval: Literal["percentile", "bca"] = "percentile",
) -> Differences:
    """Differences of corpus values between pairs of models, with intervals and p-values.

    Args:
        statistics: (M, units, k) sufficient statistics on the same units in the same order.
        clusters: cluster of each unit.
        aggregate: corpus values from summed statistics.
        pairs: indices of models; all pairs without it.
        seed: of both resamplings.
        resamples: bootstrap corpora for the intervals.
        permutations: exchanges for the p-values, which are at least 1 / (permutations + 1).
        most_permutations: where this is more, pairs with fewer than 20 exchanges as extreme as what was observed are
            exchanged on up to this number, so that a correction for many pairs does not meet the floor.
        confidence: coverage aimed at.
        interval: percentile, or bias-corrected and accelerated.

    Raises:
        ValueError: fewer than two models or two clusters, or shapes that do not fit.
    """
    sums = cluster_sums(statistics, clusters)
    models, n_clusters, _ = sums.shape
    if models < 2 or n_clusters < 2:
        raise ValueError(f"{models} models and {n_clusters} clusters; a comparison needs two of each")
    chosen = np.array(list(combinations(range(models), 2)) if pairs is None else pairs)
    values = aggregate(sums.sum(axis=1))
    resampled = aggregate(bootstrap_totals(sums, resamples=resamples, seed=seed))  # (M, B)
    spread = resampled[chosen[:, 0]] - resampled[chosen[:, 1]]  # (P, B)
    estimate = values[chosen[:, 0]] - values[chosen[:, 1]]
    if interval == "bca":
        left_out = aggregate(jackknife_totals(sums))  # (M, C)
        low, high = bca(spread, estimate, left_out[chosen[:, 0]] - left_out[chosen[:, 1]], confidence)
    else:
        ends = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.nanquantile(spread, ends, axis=1)
    most = max(permutations, most_permutations)
    extreme, drawn = np.zeros(len(chosen)), np.zeros(len(chosen))
    going = np.arange(len(chosen))
    for turn in range(math.ceil(most / permutations)):
        first, second = swapped_totals(
            sums, chosen[going], permutations=permutations, seed=(seed + 1, turn) if turn else seed + 1
        )
        null = aggregate(first) - aggregate(second)  # (P, B)
        # A tie up to rounding is as extreme as the observed difference.
        extreme[going] += (np.abs(null) >= np.abs(estimate[going])[:, None] - 1e-12).sum(axis=1)
        drawn[going] += permutations
        going = going[extreme[going] < _ENOUGH]
        if not len(going):
            break
    return Differences(
        pairs=chosen,
        estimate=estimate,
        low=low,
        high=high,
        p_value=(extreme + 1) / (drawn + 1),  # the observed labelling is one of the exchanges
        standard_error=np.nanstd(spread, axis=1, ddof=1),
        values=values,
        resampled=resampled,
        n_clusters=n_clusters,
        method=f"cluster_bootstrap|{interval}|B={resamples}|permutations={permutations}"
        f"{f'..{most}' if most > permutations else ''}|seed={seed}",
    )


def bca(
    resampled: np.ndarray, estimate: np.ndarray, left_out: np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated bootstrap intervals (Efron 1987), one for each row.

    Args:
        resampled: (P, B) bootstrap values.
        estimate: (P,) values of the sample itself.
        left_out: (P, C) values with one cluster left out.

    A row whose resampled values are all equal gets that value at both ends.
    """
    normal = NormalDist()
    below = ((resampled < estimate[:, None]).mean(axis=1) + (resampled <= estimate[:, None]).mean(axis=1)) / 2
    limit = 1 / (2 * resampled.shape[1])
    bias = np.array([normal.inv_cdf(min(max(share, limit), 1 - limit)) for share in below])
    gap = left_out.mean(axis=1, keepdims=True) - left_out
    squares = (gap**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        acceleration = np.where(squares > 0, (gap**3).sum(axis=1) / (6 * squares**1.5), 0.0)
    ends: list[np.ndarray] = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + normal.inv_cdf(tail)
        level = np.array([normal.cdf(v) for v in bias + z / (1 - acceleration * z)])
        ends.append(np.array([np.quantile(row, q) for row, q in zip(resampled, level, strict=True)]))
    return ends[0], ends[1]


@dataclass(frozen=True, slots=True)
class Discordance:
    """Two models that are right or wrong on the same independent questions."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> Discordance:
    """McNemar's exact test on two vectors of right (1) and wrong (0) answers.

    Raises:
        ValueError: lengths differ, or values other than 0 and 1.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or not np.isin(np.concatenate([first, second]), (0.0, 1.0)).all():
        raise ValueError("mcnemar needs two vectors of 0 and 1 of equal length")
    only_first = int(((first == 1) & (second == 0)).sum())
    only_second = int(((first == 0) & (second == 1)).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return Discordance(only_first, only_second, p_value)


def cluster_robust_error(values: np.ndarray, clusters: Sequence[str]) -> tuple[float, int]:
    """Standard error of a mean over dependent units, and its degrees of freedom (clusters − 1).

    The CR1 estimate: residuals summed within clusters, times C / (C − 1).
    Source: Miller 2024, section 2.2; Liang and Zeger 1986.

    Raises:
        ValueError: fewer than two clusters.
    """
    values = np.asarray(values, dtype=np.float64)
    residual = (values - values.mean())[None, :, None]
    sums = cluster_sums(residual, clusters)[0, :, 0]
    n_clusters = len(sums)
    if n_clusters < 2:
        raise ValueError("one cluster has no standard error")
    variance = n_clusters / (n_clusters - 1) * float((sums**2).sum()) / len(values) ** 2
    return math.sqrt(variance), n_clusters - 1


def equivalence(differences: np.ndarray, clusters: Sequence[str], margin: float) -> float:
    """p-value of two one-sided tests that the mean paired difference lies within ± `margin` ("as good as").

    Args:
        differences: per-unit paired differences.
        clusters: cluster of each unit.
        margin: largest difference that does not matter, in the metric's unit, above 0.

    Source: Schuirmann 1987, with the cluster-robust error and t with clusters − 1 degrees of freedom.

    Raises:
        ValueError: a margin that is not above 0, or fewer than two clusters.
    """
    from scipy.stats import t

    if margin <= 0:
        raise ValueError(f"margin is {margin}; give the largest difference that does not matter, above 0")
    error, freedom = cluster_robust_error(differences, clusters)
    mean = float(np.mean(differences))
    if error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    return float(max(t.sf((mean + margin) / error, freedom), t.cdf((mean - margin) / error, freedom)))
