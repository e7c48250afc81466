"""Coverage of the 95 % intervals on simulated data whose true value is known, from 50 to 2,000 units.

The aim is 93 to 97 %; what a finite number of trials adds to that (three standard errors) is allowed on top.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.stats.intervals import interval

Make = Callable[[np.random.Generator, int], np.ndarray]
Aggregate = Callable[[np.ndarray], np.ndarray]
TRIALS = {50: 1500, 200: 1000, 2000: 300}


def mean(totals: np.ndarray) -> np.ndarray:
    return np.asarray(totals[..., 0] / totals[..., 1])


def bleu_4(totals: np.ndarray) -> np.ndarray:
    precisions = np.log(np.maximum(totals[..., :4], 1e-9) / np.maximum(totals[..., 4:8], 1e-9)).mean(-1)
    brevity = np.minimum(1.0, np.exp(1 - totals[..., 9] / np.maximum(totals[..., 8], 1.0)))
    return np.asarray(np.exp(precisions) * brevity)


def bleu_units(rng: np.random.Generator, units: int) -> np.ndarray:
    """Matches and totals of 1- to 4-grams, candidate and reference length, of captions of unlike quality."""
    length, quality = rng.integers(6, 15, units), rng.beta(4, 3, units)
    made = np.zeros((units, 10))
    for order in range(4):
        total = length - order
        made[:, order] = rng.binomial(total, 0.9 * quality ** (order + 1))
        made[:, 4 + order] = total
    made[:, 8], made[:, 9] = length, length + rng.integers(-2, 3, units)
    return made


def cider_units(rng: np.random.Generator, units: int) -> np.ndarray:
    """Skewed scores with many near 0."""
    return np.stack([rng.gamma(1.2, 0.6, units), np.ones(units)], axis=-1)


def edit_units(rng: np.random.Generator, units: int) -> np.ndarray:
    """Matched tokens and lengths: a ratio of sums."""
    length = rng.integers(3, 60, units)
    return np.stack([rng.binomial(length, rng.beta(5, 2, units)), length], axis=-1).astype(float)


CORPUS: dict[str, tuple[Make, Aggregate]] = {
    "bleu": (bleu_units, bleu_4),
    "cider": (cider_units, mean),
    "edit similarity": (edit_units, mean),
}


def within_aim(hits: list[bool]) -> bool:
    error = 3 * np.sqrt(0.95 * 0.05 / len(hits))
    return bool(0.93 - error <= np.mean(hits) <= 0.97 + error)


@pytest.mark.parametrize("units", TRIALS)
@pytest.mark.parametrize("kind", CORPUS)
def test_intervals_of_corpus_metrics_cover_the_true_value(kind: str, units: int) -> None:
    make, aggregate = CORPUS[kind]
    truth = float(aggregate(make(np.random.default_rng(99), 2_000_000).sum(axis=0)))
    rng = np.random.default_rng(units)
    clusters = [str(number) for number in range(units)]
    hits = []
    for trial in range(TRIALS[units]):
        found = interval(make(rng, units), clusters, aggregate, is_rate=False, seed=trial, resamples=400)
        assert found.low is not None
        assert found.high is not None
        hits.append(found.low <= truth <= found.high)
    assert within_aim(hits), np.mean(hits)


@pytest.mark.parametrize("units", TRIALS)
def test_intervals_of_rates_cover_the_true_rate(units: int) -> None:
    rng = np.random.default_rng(units)
    clusters = [str(number) for number in range(units)]
    hits = []
    for _ in range(2000):
        rate = rng.uniform(0.1, 0.9)
        right = (rng.random(units) < rate).astype(float)
        found = interval(np.stack([right, np.ones(units)], axis=-1), clusters, mean, is_rate=True)
        hits.append(bool(found.low is not None and found.high is not None and found.low <= rate <= found.high))
    assert within_aim(hits), np.mean(hits)


@pytest.mark.parametrize(("units", "size"), [(200, 4), (400, 4), (2000, 8)])
def test_intervals_of_clustered_rates_cover_the_true_rate(units: int, size: int) -> None:
    rng = np.random.default_rng(units)
    clusters = [str(number // size) for number in range(units)]
    hits = []
    for trial in range(TRIALS.get(units, 600)):
        ease = np.repeat(rng.beta(4, 2, units // size), size)
        right = (rng.random(units) < ease).astype(float)
        statistics = np.stack([right, np.ones(units)], axis=-1)
        found = interval(statistics, clusters, mean, is_rate=True, seed=trial, resamples=400)
        hits.append(bool(found.low is not None and found.high is not None and found.low <= 4 / 6 <= found.high))
    assert within_aim(hits), np.mean(hits)
