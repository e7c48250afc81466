"""Many comparisons at once: corrected p-values, groups that cannot be told apart, intervals of ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values: the family-wise error stays below α where they are compared with α. Holm 1979."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjusted p-values that bound the false discovery rate. Benjamini and Hochberg 1995."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")[::-1]
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return adjusted


def letters(values: Sequence[float] | np.ndarray, differ: np.ndarray, *, higher_is_better: bool = True) -> list[str]:
    """Compact letter display: models that share a letter cannot be told apart.

    Args:
        values: (M,) corpus values; the best model's group is `a`.
        differ: (M, M) symmetric, true where two models differ significantly.

    Source: the insert-and-absorb algorithm of Piepho 2004.
    """
    values = np.asarray(values, dtype=np.float64)
    models = len(values)
    groups: list[set[int]] = [set(range(models))]
    for i in range(models):
        for j in range(i + 1, models):
            if not differ[i, j]:
                continue
            split: list[set[int]] = []
            for group in groups:
                split += [group - {i}, group - {j}] if i in group and j in group else [group]
            groups = [
                g for n, g in enumerate(split) if not any(g < h or (g == h and m < n) for m, h in enumerate(split))
            ]
    order = {
        model: place for place, model in enumerate(np.argsort(-values if higher_is_better else values, kind="stable"))
    }
    groups.sort(key=lambda group: sorted(order[model] for model in group))
    names = [_name(number) for number in range(len(groups))]
    return [
        "".join(name for name, group in zip(names, groups, strict=True) if model in group) for model in range(models)
    ]


def _name(number: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[number] if number < len(alphabet) else f"({number + 1})"


def rank_intervals(
    resampled: np.ndarray, *, higher_is_better: bool = True, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile intervals of each model's rank over resampled corpora: (M, B) → two vectors of ranks from 1.

    Ties share the better rank.
    """
    signed = -resampled if higher_is_better else resampled
    ranks = (signed[:, None, :] > signed[None, :, :]).sum(axis=1) + 1  # (M, B)
    ends = np.quantile(ranks, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1, method="inverted_cdf")
    return ends[0].astype(int), ends[1].astype(int)
