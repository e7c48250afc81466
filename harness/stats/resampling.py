"""Totals of resampled corpora for many models at once: matrix work on per-cluster sums, never on text.

Axes: models (M), clusters (C), statistics (k), resamples (B). All models of one call are resampled with the same
draws, so that differences between them are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_BLOCK = 1 << 22
"""Drawn clusters held at once (32 MB of indices)."""


def cluster_sums(statistics: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Statistics summed within clusters: (M, units, k) → (M, C, k), clusters in sorted order of their names.

    Raises:
        ValueError: the numbers of units and cluster names differ.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    if statistics.ndim != 3 or statistics.shape[1] != len(clusters):
        raise ValueError(f"statistics of shape {statistics.shape} do not fit {len(clusters)} cluster names")
    names, members = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(members, kind="stable")
    starts = np.searchsorted(members[order], np.arange(len(names)))
    return np.add.reduceat(statistics[:, order], starts, axis=1)


def bootstrap_counts(n_clusters: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each cluster is drawn, in blocks of rows: (b, C), `resamples` rows in all."""
    block = max(1, _BLOCK // n_clusters)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, n_clusters, size=(size, n_clusters)) + np.arange(size)[:, None] * n_clusters
        counts = np.bincount(drawn.ravel(), minlength=size * n_clusters)
        yield counts.reshape(size, n_clusters).astype(np.float64)


def bootstrap_totals(sums: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Totals of corpora of C clusters drawn with replacement: (M, C, k) → (M, B, k)."""
    models, n_clusters, k = sums.shape
    flat = sums.transpose(1, 0, 2).reshape(n_clusters, models * k)
    rng = np.random.default_rng(seed)
    totals = np.concatenate([counts @ flat for counts in bootstrap_counts(n_clusters, resamples, rng)])
    return np.asarray(totals.reshape(resamples, models, k).transpose(1, 0, 2))


def jackknife_totals(sums: np.ndarray) -> np.ndarray:
    """Totals with one cluster left out, for each cluster: (M, C, k) → (M, C, k)."""
    return np.asarray(sums.sum(axis=1, keepdims=True) - sums)


def swapped_totals(
    sums: np.ndarray, pairs: np.ndarray, *, permutations: int, seed: int | Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Totals of two models whose answers are exchanged cluster by cluster at random: the null of "no difference".

    Args:
        sums: (M, C, k).
        pairs: (P, 2) indices of models.

    Returns:
        Totals of the first and of the second model of each pair, (P, B, k) each.
    """
    n_clusters, k = sums.shape[1:]
    first, second = sums[pairs[:, 0]], sums[pairs[:, 1]]  # (P, C, k)
    flat = (second - first).transpose(1, 0, 2).reshape(n_clusters, len(pairs) * k)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // n_clusters)
    moved: list[np.ndarray] = []
    for start in range(0, permutations, block):
        size = min(block, permutations - start)
        swapped = rng.integers(0, 2, size=(size, n_clusters), dtype=np.int8).astype(np.float64)
        moved.append(swapped @ flat)
    shift = np.concatenate(moved).reshape(permutations, len(pairs), k).transpose(1, 0, 2)  # (P, B, k)
    return first.sum(axis=1)[:, None] + shift, second.sum(axis=1)[:, None] - shift
