"""Whether a series of nights has changed: paired tests of tonight against one night, and of the last nights against
all before.

Every test is paired by cluster (image, question group): its error comes from how differently the clusters moved, so it
holds for nights that repeat each other, for random walks of single answers, and with gaps. Axes: nights (T), clusters
(C), windows (W).
Sources: McNemar 1947 (exact form); Efron 1969 for the self-normalised statistic of symmetric differences; Page 1955 and
Hawkins 1977 for the position of a single step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WINDOWS = (1, 2, 4, 8)
"""Lengths, in nights, of the windows that are held against all nights before them."""
NOISE_NIGHTS = 8
"""From this many nights on, the series' own spread from night to night bounds the error from below."""
_ROUNDING = 1e-9
"""Differences below this share of the values are rounding, not change."""


def discordance_p(only_first: np.ndarray, only_second: np.ndarray) -> np.ndarray:
    """Two-sided p-values of McNemar's exact test, elementwise, from the counts of discordant answers."""
    from scipy.stats import binom

    first, second = np.asarray(only_first), np.asarray(only_second)
    return np.asarray(np.minimum(1.0, 2 * binom.cdf(np.minimum(first, second), first + second, 0.5)))


def contributions(sums: np.ndarray, present: np.ndarray, aggregate: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What each cluster contributes to the corpus value: jackknife pseudo-values, whose mean is the value itself.

    For a mean over clusters of one unit these are the units' own values; for BLEU and other corpus metrics they are the
    linear part of the cluster's influence.

    Args:
        sums: (C, k) statistics summed within clusters.
        present: (C,) whether anything of the cluster is scored.
        aggregate: corpus values from summed statistics.

    Returns:
        (C,) with NaN where the cluster is not present or nothing is left without it.

    Source: Tukey 1958; Miller 1974.
    """
    n = int(present.sum())
    held = np.where(present[:, None], sums, 0.0)
    total = held.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = n * aggregate(total) - (n - 1) * aggregate(total - held)
    return np.where(present, values, np.nan)


@dataclass(frozen=True, slots=True)
class WindowTests:
    """Each window of last nights against all nights before it, for the nights `ends`."""

    ends: np.ndarray
    """(E,) how many nights had been seen: the window's last night is number `end`, from 1."""
    windows: tuple[int, ...]
    difference: np.ndarray
    """(E, W) mean of the window minus mean of the nights before; NaN where no night lies before the window."""
    p_value: np.ndarray
    """(E, W) two-sided, not corrected; NaN likewise."""

    def corrected(self) -> np.ndarray:
        """(E,) smallest p-value of each night times the number of windows that it could look at, at most 1."""
        tried = (~np.isnan(self.p_value)).sum(axis=1)
        least = np.min(np.where(np.isnan(self.p_value), 1.0, self.p_value), axis=1)
        return np.asarray(np.minimum(1.0, least * np.maximum(tried, 1)))


def window_tests(values: np.ndarray, *, windows: Sequence[int] = WINDOWS, last_only: bool = False) -> WindowTests:
    """Steps and slides at the end of a series, found by windows of several lengths.

    Args:
        values: (T, C) contribution of each cluster on each night; NaN where it is not scored. Nights that did not
            happen are simply not there.
        windows: lengths in nights; those that leave no night before them are not tried.
        last_only: test only the last night, not what every earlier night would have found.

    A test's z is the sum of the clusters' differences over the root of their summed squares: exact-like for right or
    wrong answers that flip independently, and conservative for few clusters (it cannot exceed √C). From `NOISE_NIGHTS`
    nights on, the error is at least what the series' own night-to-night spread (median absolute deviation of successive
    differences, untouched by a few steps) makes likely, so that noise shared by all questions raises no alarm.

    Raises:
        ValueError: `values` is not (T, C).
    """
    from scipy.stats import norm

    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"values have shape {values.shape}; give (nights, clusters)")
    nights = len(values)
    ends = np.arange(nights if last_only else 2, nights + 1)
    ends = ends[ends >= 2]
    totals, counts = _running(values)
    noise = _night_noise(values)
    tiny = _tiny(values)
    difference = np.full((len(ends), len(windows)), np.nan)
    z = np.full_like(difference, np.nan)
    for column, window in enumerate(windows):
        rows = np.flatnonzero(ends > window)
        if len(rows) == 0:
            continue
        end, start = ends[rows], ends[rows] - window
        d = _gaps(totals, counts, start, end, tiny)  # (rows, C)
        used = np.maximum((~np.isnan(d)).sum(axis=1), 1)
        total, squares = np.nansum(d, axis=1), np.nansum(d * d, axis=1)
        error = np.maximum(np.sqrt(squares) / used, noise[end] * np.sqrt(1 / window + 1 / start))
        difference[rows, column] = total / used
        with np.errstate(invalid="ignore", divide="ignore"):
            z[rows, column] = np.where(error > 0, total / used / error, 0.0)
    return WindowTests(ends, tuple(windows), difference, 2 * norm.sf(np.abs(z)))


def onset(values: np.ndarray) -> int:
    """The night, from 0, with which a single step in the series most likely began: the least-squares change point.

    Args:
        values: (T, C) as for `window_tests`; T at least 2.

    A tie goes to the later night. A slide has no single step; the answer then lies within it.

    Raises:
        ValueError: fewer than two nights.
    """
    values = np.asarray(values, dtype=np.float64)
    nights = len(values)
    if nights < 2:
        raise ValueError("one night has no change; give at least two")
    totals, counts = _running(values)
    tiny = _tiny(values)
    best, found = -1.0, nights - 1
    for start in range(nights - 1, 0, -1):
        gap = _gaps(totals, counts, np.array([start]), np.array([nights]), tiny)[0]
        used = max(int((~np.isnan(gap)).sum()), 1)
        size = abs(float(np.nansum(gap))) / used * np.sqrt(start * (nights - start) / nights)
        if size > best * (1 + _ROUNDING) + tiny:
            best, found = size, start
    return found


def _running(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Running sums and counts over the nights, (T + 1, C), the first row zero."""
    present = ~np.isnan(values)
    zero = np.zeros((1, values.shape[1]))
    totals = np.concatenate([zero, np.cumsum(np.where(present, values, 0.0), axis=0)])
    return totals, np.concatenate([zero, np.cumsum(present, axis=0)])


def _gaps(totals: np.ndarray, counts: np.ndarray, start: np.ndarray, end: np.ndarray, tiny: float) -> np.ndarray:
    """Mean over nights `start`..`end` minus mean over the nights before, for each cluster; NaN where one is empty."""
    with np.errstate(invalid="ignore", divide="ignore"):
        recent = (totals[end] - totals[start]) / (counts[end] - counts[start])
        gap = recent - totals[start] / counts[start]
    return np.asarray(np.where(np.abs(gap) <= tiny, 0.0, gap))


def _tiny(values: np.ndarray) -> float:
    known = np.abs(values[~np.isnan(values)])
    return _ROUNDING * float(known.max()) if len(known) else 0.0


def _night_noise(values: np.ndarray) -> np.ndarray:
    """Standard deviation of one night's level by the series' own spread, for each number of nights seen, 0 to T."""
    nights = len(values)
    noise = np.zeros(nights + 1)
    present = ~np.isnan(values)
    held = np.maximum(present.sum(axis=1), 1)
    levels = np.where(present, values, 0.0).sum(axis=1) / held
    steps = np.abs(np.diff(levels))
    for end in range(NOISE_NIGHTS, nights + 1):
        noise[end] = 1.4826 * float(np.median(steps[: end - 1])) / np.sqrt(2)
    return noise
