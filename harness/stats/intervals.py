"""Confidence intervals of a corpus value, from the per-unit statistics of a metric.

Units of one cluster (questions on one image, passes of one question) are not independent, so clusters are resampled,
never units. A plain rate over independent units has Wilson's interval, which needs no resampling.
Sources: Wilson 1927; Field and Welsh 2007 (cluster bootstrap); Efron 1979 (percentile interval).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from harness.records import Score

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval and how it was made."""

    low: float | None
    """`None` where no interval can be made; `method` then says why."""
    high: float | None
    method: str
    """`wilson`, `cluster_bootstrap|B=2000|seed=0`, …"""
    n_clusters: int


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate, inside [0, 1].

    Args:
        successes: number of successes, 0 to `n`.
        n: number of trials, above 0.
        confidence: coverage aimed at, in (0, 1).

    Raises:
        ValueError: for arguments outside these ranges.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"wilson: {successes} successes of {n} trials; give 0 <= successes <= n and n > 0")
    z = _normal_quantile(confidence)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def _normal_quantile(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; give a number between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def cluster_bootstrap(
    statistics: np.ndarray,
    clusters: Sequence[str],
    aggregate: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of `aggregate` over resampled clusters; the same for any order of the units.

    Args:
        statistics: (units, k) sufficient statistics.
        clusters: the cluster of each unit.
        aggregate: corpus values from summed statistics, (B, k) → (B,).
        seed: of the generator that draws the clusters.
        resamples: number of resampled corpora, B.
        confidence: coverage aimed at, in (0, 1).

    Resampled corpora that have no value (NaN) are left out and counted in `method`. With fewer than two clusters
    nothing can be resampled: both ends are `None`.

    Raises:
        ValueError: numbers of units and clusters differ, or a count or the confidence is out of range.
    """
    import numpy as np

    from harness.stats.resampling import bootstrap_counts, cluster_sums

    if len(clusters) != len(statistics):
        raise ValueError(f"cluster_bootstrap: {len(statistics)} units but {len(clusters)} cluster names")
    if resamples < 1 or not 0.0 < confidence < 1.0:
        raise ValueError(
            f"cluster_bootstrap: resamples is {resamples} and confidence is {confidence}; need >= 1, in (0, 1)"
        )
    sums = cluster_sums(np.asarray(statistics, dtype=float)[None], clusters)[0]
    n_clusters = len(sums)
    if n_clusters < 2:
        return Interval(
            None,
            None,
            "none: one cluster cannot be resampled" if n_clusters else "none: nothing was scored",
            n_clusters,
        )
    draws = bootstrap_counts(n_clusters, resamples, np.random.default_rng(seed))
    values = [aggregate(counts @ sums) for counts in draws]
    corpus = np.concatenate(values)  # (resamples,)
    defined = corpus[~np.isnan(corpus)]
    method = f"cluster_bootstrap|B={resamples}|seed={seed}"
    if len(defined) == 0:
        return Interval(None, None, f"none: no resampled corpus has a value ({method})", n_clusters)
    if len(defined) < len(corpus):
        method += f"|undefined={len(corpus) - len(defined)}"
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), method, n_clusters)


def interval(
    statistics: np.ndarray,
    clusters: Sequence[str],
    aggregate: Callable[[np.ndarray], np.ndarray],
    *,
    is_rate: bool,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """The interval that fits a metric and its clusters.

    Args:
        statistics: (units, k) sufficient statistics of the scored units; `(value, 1)` for a mean.
        clusters: the cluster of each unit.
        aggregate: corpus values from summed statistics.
        is_rate: whether the metric is a mean of values in [0, 1].
        seed: of the bootstrap.
        resamples: number of resampled corpora.
        confidence: coverage aimed at.

    Wilson where every unit is right or wrong and a cluster of its own; the cluster bootstrap otherwise. Where all units
    of a rate are 0 or all are 1, every resampled corpus is the same and the bootstrap would claim certainty: then
    Wilson with the number of clusters as n, and `method` says so. One cluster alone has no interval.
    """
    import numpy as np

    statistics = np.asarray(statistics, dtype=float)
    if len(statistics) == 0:
        return Interval(None, None, "none: nothing was scored", 0)
    n_clusters = len(set(clusters))
    if n_clusters < 2:
        return Interval(None, None, "none: one cluster cannot be resampled", n_clusters)
    if is_rate and statistics.shape[1] == 2 and bool((statistics[:, 1] == 1.0).all()):
        values = statistics[:, 0]
        if n_clusters == len(values) and bool(np.isin(values, (0.0, 1.0)).all()):
            return Interval(*wilson(float(values.sum()), len(values), confidence), "wilson", n_clusters)
        if bool((values == 0.0).all() or (values == 1.0).all()):
            ends = wilson(n_clusters * float(values[0]), n_clusters, confidence)
            return Interval(*ends, "wilson|n=clusters|every unit equal", n_clusters)
    return cluster_bootstrap(statistics, clusters, aggregate, seed=seed, resamples=resamples, confidence=confidence)


def unparsed_bounds(scores: Sequence[Score]) -> tuple[float, float] | None:
    """The mean with all unparsed units wrong, and with all of them right; `None` where nothing was scored.

    For metrics whose corpus value is the mean over units. The first number is the reported one.
    """
    scored = [score for score in scores if score.value is not None]
    if not scored:
        return None
    low = sum(score.value or 0.0 for score in scored)
    high = low + sum(1.0 - (score.value or 0.0) for score in scored if score.rule == "unparsed")
    return low / len(scored), high / len(scored)
