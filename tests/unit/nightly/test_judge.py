"""The decision on one cell: agreement with scipy, how the rate is shared, and dependent questions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel

from harness.nightly.judge import Levels, paired_test, strongest
from harness.stats.change import window_tests


def mean(totals: np.ndarray) -> np.ndarray:
    return np.asarray(totals[..., 0] / totals[..., 1])


def rates(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def names(count: int) -> list[str]:
    return [f"c{number:05d}" for number in range(count)]


def test_the_rate_is_halved_and_shared_among_the_cells() -> None:
    levels = Levels(0.05, 48)
    assert levels.cell == pytest.approx(0.025 / 48)
    assert levels.corrected(levels.cell) == pytest.approx(0.05)
    assert levels.corrected(0.5) == 1.0
    assert levels.alarms(np.array([0.0005, 0.0006])).tolist() == [True, False]
    assert levels.permutations >= 20 / levels.cell


def test_independent_rates_have_mcnemars_exact_p_value() -> None:
    before = np.array([1.0] * 30 + [0.0] * 12 + [1.0] * 100)
    after = np.array([0.0] * 30 + [1.0] * 12 + [1.0] * 100)
    test = paired_test(rates(before), rates(after), names(142), mean, is_mean=True, permutations=100)
    assert test is not None
    assert test.p_value == pytest.approx(binomtest(12, 42).pvalue)
    assert (test.only_before, test.only_after, test.test) == (30, 12, "mcnemar_exact")
    wanted = ttest_rel(after, before).confidence_interval()
    assert (test.difference, test.low, test.high) == pytest.approx((-18 / 142, wanted.low, wanted.high))


def test_other_means_take_the_larger_of_permutation_and_t() -> None:
    rng = np.random.default_rng(0)
    before = rng.random(300)
    after = before - 0.05 + 0.2 * rng.standard_normal(300)
    test = paired_test(rates(before), rates(after), names(300), mean, is_mean=True, permutations=20_000)
    assert test is not None
    t = ttest_rel(after, before).pvalue
    assert test.p_value == pytest.approx(t, rel=0.5, abs=1e-4)
    assert test.p_value >= t * (1 - 1e-9)
    assert test.only_before is None


def test_questions_of_one_cluster_count_once() -> None:
    # ten questions on each image move together: 8 of 60 images lost, 2 won
    before = np.repeat([1.0] * 8 + [0.0] * 2 + [1.0] * 50, 10)
    after = np.repeat([0.0] * 8 + [1.0] * 2 + [1.0] * 50, 10)
    clusters = [f"c{number // 10:02d}" for number in range(600)]
    test = paired_test(rates(before), rates(after), clusters, mean, is_mean=True, permutations=20_000)
    assert test is not None
    assert test.n_clusters == 60
    assert test.p_value == pytest.approx(binomtest(2, 10).pvalue, abs=0.02)
    assert (test.only_before, test.only_after) == (80, 20)


def test_nothing_moved_has_p_1_and_one_cluster_has_no_test() -> None:
    values = np.random.default_rng(1).random(50)
    same = paired_test(rates(values), rates(values), names(50), mean, is_mean=True, permutations=100)
    assert same is not None
    assert (same.p_value, same.difference, same.low, same.high) == (1.0, 0.0, 0.0, 0.0)
    assert paired_test(rates(values), rates(values), ["c"] * 50, mean, is_mean=True, permutations=100) is None


def test_no_change_alarms_at_the_level_for_dependent_questions() -> None:
    # images of five questions that flip together; 400 nights at a level of 5 %: 5 % ± 3 standard errors
    rng = np.random.default_rng(2)
    clusters = [f"c{number // 5:03d}" for number in range(500)]
    found = []
    for _ in range(400):
        nights = np.repeat(rng.integers(0, 2, size=(2, 100)), 5, axis=1).astype(float)
        test = paired_test(rates(nights[0]), rates(nights[1]), clusters, mean, is_mean=True, permutations=400)
        assert test is not None
        found.append(test.p_value <= 0.05)
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_the_strongest_window_is_named_and_a_first_night_has_none() -> None:
    values = np.ones((12, 100))
    values[-4:, :30] = np.random.default_rng(3).integers(0, 2, size=(4, 30))
    found = strongest(window_tests(values, last_only=True))
    assert found is not None
    assert found.nights == 12
    assert found.window == 4
    assert found.difference < -0.1
    assert strongest(window_tests(values[:1], last_only=True)) is None
