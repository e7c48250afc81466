"""Change in a series of nights: agreement with scipy, worked examples, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from harness.stats.change import contributions, discordance_p, onset, window_tests
from harness.stats.paired import mcnemar


def mean(totals: np.ndarray) -> np.ndarray:
    return np.asarray(totals[..., 0] / totals[..., 1])


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_discordance_p_agrees_with_scipys_binomial_test(first: int, second: int) -> None:
    wanted = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert float(discordance_p(np.array(first), np.array(second))) == pytest.approx(wanted, abs=1e-12)


def test_discordance_p_is_accurate_far_in_the_tail_and_agrees_with_mcnemar() -> None:
    # 130 lost and 70 won of 2,000: the 3-point drop that the gate must judge near p = 5e-4
    first = np.array([1] * 130 + [0] * 70 + [1] * 1800)
    second = np.array([0] * 130 + [1] * 70 + [1] * 1800)
    p = float(discordance_p(np.array(130), np.array(70)))
    assert p == pytest.approx(mcnemar(first, second).p_value, rel=1e-9)
    assert 1e-5 < p < 5e-5


def test_contributions_of_a_mean_are_the_values_themselves() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.5])
    sums = np.stack([values, np.ones(4)], axis=1)
    assert contributions(sums, np.ones(4, dtype=bool), mean) == pytest.approx(values, abs=1e-12)


def test_contributions_leave_out_what_is_not_scored() -> None:
    sums = np.array([[1.0, 1.0], [7.0, 1.0], [0.0, 1.0]])
    found = contributions(sums, np.array([True, False, True]), mean)
    assert np.isnan(found[1])
    assert found[[0, 2]] == pytest.approx([1.0, 0.0])


def test_contributions_of_a_ratio_average_to_its_corpus_value() -> None:
    rng = np.random.default_rng(0)
    sums = rng.gamma(5.0, size=(500, 2))
    found = contributions(sums, np.ones(500, dtype=bool), mean)
    total = sums.sum(axis=0)
    assert found.mean() == pytest.approx(total[0] / total[1], rel=1e-3)
    # the linear influence of a ratio estimator: R + (x - R y) / mean(y)
    ratio = total[0] / total[1]
    assert found == pytest.approx(ratio + (sums[:, 0] - ratio * sums[:, 1]) / sums[:, 1].mean(), rel=0.02, abs=0.02)


def test_a_window_by_hand() -> None:
    # 10 questions right on two nights; on the third, four are lost: mean −0.4, z = 4 / sqrt(4) = 2
    values = np.ones((3, 10))
    values[2, :4] = 0.0
    tests = window_tests(values, last_only=True)
    assert tests.ends.tolist() == [3]
    assert tests.difference[0, :2] == pytest.approx([-0.4, -0.2])
    assert tests.p_value[0, 0] == pytest.approx(2 * norm.sf(2.0))
    assert np.isnan(tests.p_value[0, 2:]).all()  # windows of 4 and 8 nights leave none before
    assert tests.corrected()[0] == pytest.approx(2 * 2 * norm.sf(2.0))  # two windows could be tried


def test_last_night_alone_is_the_end_of_all_nights() -> None:
    values = np.random.default_rng(1).integers(0, 2, size=(20, 50)).astype(float)
    every, last = window_tests(values), window_tests(values, last_only=True)
    assert last.p_value[0] == pytest.approx(every.p_value[-1], nan_ok=True)
    assert every.ends.tolist() == list(range(2, 21))


def test_nights_that_repeat_each_other_are_no_evidence() -> None:
    # one answer of a thousand changes and stays so for 30 nights after 30 nights: still one answer
    values = np.full((60, 1000), 1 / 3)
    values[30:, 0] = 0.0
    assert window_tests(values, last_only=True).corrected()[0] > 0.3


def test_rounding_is_no_change() -> None:
    values = np.full((10, 1000), 0.1) + 1e-15 * np.arange(10)[:, None]
    tests = window_tests(values, last_only=True)
    assert (np.nan_to_num(tests.difference) == 0).all()
    assert tests.corrected()[0] == 1.0


def test_unscored_units_and_a_night_without_any_are_left_out() -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 2, size=(12, 200)).astype(float)
    with_gaps = values.copy()
    with_gaps[3] = np.nan
    without = np.delete(values, 3, axis=0)
    gap, plain = (
        window_tests(with_gaps, windows=(1,), last_only=True),
        window_tests(without, windows=(1,), last_only=True),
    )
    assert gap.difference[0, 0] == pytest.approx(plain.difference[0, 0])


def test_noise_shared_by_all_questions_bounds_the_error() -> None:
    # every question moves by the same amount each night: between questions there is no noise at all
    rng = np.random.default_rng(3)
    values = 0.5 + 0.02 * rng.standard_normal((200, 1)) + np.zeros((200, 300))
    p = window_tests(values).corrected()[10:]
    assert (p < 1e-4).mean() <= 0.03


def test_random_walks_of_single_answers_alarm_at_no_more_than_the_level() -> None:
    # every night flips 5 % of the answers of the night before: nights depend on each other, questions do not
    rng = np.random.default_rng(4)
    found = []
    for _ in range(300):
        start = rng.integers(0, 2, size=(1, 300))
        flips = rng.random((30, 300)) < 0.05
        values = (start + np.cumsum(flips, axis=0)) % 2
        found.append(window_tests(values.astype(float), last_only=True).corrected()[0] <= 0.05)
    assert np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_onset_is_the_first_night_of_a_step_with_gaps_and_repeats() -> None:
    values = np.ones((9, 40))
    values[5:, :10] = 0.0
    assert onset(values) == 5
    values[3] = np.nan
    values[7, ::2] = np.nan
    assert onset(values) == 5
    assert onset(np.ones((4, 5))) == 3  # nothing moved: the last night


@given(st.integers(1, 29), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_onset_finds_a_clear_step_in_noise(place: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((30, 400)) * 0.1
    values[place:] += 0.5
    assert onset(values) == place


def test_windows_refuse_what_is_no_series() -> None:
    with pytest.raises(ValueError, match=r"give \(nights, clusters\)"):
        window_tests(np.ones(5))
    with pytest.raises(ValueError, match="at least two"):
        onset(np.ones((1, 5)))
    assert len(window_tests(np.ones((1, 5)), last_only=True).ends) == 0
