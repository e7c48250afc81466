"""Comparisons: agreement with scipy, statsmodels and sacrebleu, hand-made cases, and error rates on simulated data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from harness.stats.multiplicity import benjamini_hochberg, holm, letters, rank_intervals
from harness.stats.paired import bca, cluster_robust_error, equivalence, mcnemar, paired_differences
from harness.stats.power import questions_needed, smallest_detectable_difference
from harness.stats.resampling import cluster_sums, swapped_totals


def mean(totals: np.ndarray) -> np.ndarray:
    return np.asarray(totals[..., 0] / totals[..., 1])


def as_statistics(values: np.ndarray) -> np.ndarray:
    """(M, units) values → (M, units, 2)."""
    return np.stack([values, np.ones_like(values)], axis=-1)


def own_clusters(units: int) -> list[str]:
    return [str(number) for number in range(units)]


def test_cluster_sums_add_the_units_of_each_cluster() -> None:
    statistics = as_statistics(np.array([[1.0, 2.0, 4.0, 8.0]]))
    assert cluster_sums(statistics, ["b", "a", "b", "a"]).tolist() == [[[10.0, 2.0], [5.0, 2.0]]]


def test_an_exchange_keeps_the_sum_of_both_models() -> None:
    sums = np.random.default_rng(0).random((3, 7, 2))
    pairs = np.array([[0, 1], [0, 2]])
    first, second = swapped_totals(sums, pairs, permutations=50, seed=1)
    together = (sums[pairs[:, 0]] + sums[pairs[:, 1]]).sum(axis=1)
    np.testing.assert_allclose(first + second, np.broadcast_to(together[:, None], first.shape))


def test_paired_interval_and_p_value_agree_with_scipy_on_independent_units() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(400), rng.random(400) * 0.95
    found = paired_differences(
        as_statistics(np.stack([a, b])), own_clusters(400), mean, resamples=10_000, permutations=10_000
    )
    oracle = scipy_stats.bootstrap(
        (a - b,), np.mean, n_resamples=10_000, method="percentile", random_state=1, vectorized=True
    )
    assert found.estimate[0] == pytest.approx((a - b).mean())
    # two Monte Carlo intervals of 10,000 resamples differ by about 2 % of their width
    width = oracle.confidence_interval.high - oracle.confidence_interval.low
    assert found.low[0] == pytest.approx(oracle.confidence_interval.low, abs=0.04 * width)
    assert found.high[0] == pytest.approx(oracle.confidence_interval.high, abs=0.04 * width)
    test = scipy_stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", n_resamples=10_000, rng=2
    )
    assert found.p_value[0] == pytest.approx(test.pvalue, abs=0.02)


def test_bca_agrees_with_scipy_on_a_skewed_mean() -> None:
    values = np.random.default_rng(5).lognormal(sigma=1.2, size=120)
    rng = np.random.default_rng(6)
    drawn = values[rng.integers(0, 120, (20_000, 120))].mean(axis=1)
    left_out = (values.sum() - values) / 119
    low, high = bca(drawn[None], np.array([values.mean()]), left_out[None])
    oracle = scipy_stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", random_state=7)
    assert low[0] == pytest.approx(oracle.confidence_interval.low, rel=0.02)
    assert high[0] == pytest.approx(oracle.confidence_interval.high, rel=0.02)


def test_one_answer_more_does_not_make_a_difference_and_a_hundred_do() -> None:
    right = np.zeros((3, 300))
    right[:, :150] = 1
    right[1, 150] = 1
    right[2, 150:250] = 1
    found = paired_differences(as_statistics(right), own_clusters(300), mean)
    by_pair = {tuple(pair): p for pair, p in zip(found.pairs.tolist(), found.p_value, strict=True)}
    assert by_pair[0, 1] == 1.0
    assert by_pair[0, 2] == pytest.approx(1 / 2001)


def test_a_pair_alone_gives_what_it_gives_among_others() -> None:
    values = np.random.default_rng(8).random((4, 90))
    all_pairs = paired_differences(as_statistics(values), own_clusters(90), mean)
    one = paired_differences(as_statistics(values[[0, 1]]), own_clusters(90), mean)
    assert all_pairs.p_value[0] == one.p_value[0]
    assert all_pairs.low[0] == pytest.approx(one.low[0])


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (3, 3), (9, 1), (40, 20)])
def test_mcnemar_is_the_exact_test_of_statsmodels(only_first: int, only_second: int) -> None:
    first = np.array([1] * only_first + [0] * only_second + [1] * 20 + [0] * 5)
    second = np.array([0] * only_first + [1] * only_second + [1] * 20 + [0] * 5)
    found = mcnemar(first, second)
    oracle = statsmodels_mcnemar([[20, only_first], [only_second, 5]], exact=True)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p_value == pytest.approx(oracle.pvalue)


def test_mcnemar_refuses_what_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        mcnemar(np.array([0.5, 1.0]), np.array([1.0, 1.0]))


def test_corrections_are_those_of_statsmodels() -> None:
    p = np.random.default_rng(1).random(45) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


def test_without_clusters_the_robust_error_is_the_usual_one() -> None:
    values = np.random.default_rng(2).random(50)
    error, freedom = cluster_robust_error(values, own_clusters(50))
    assert error == pytest.approx(scipy_stats.sem(values))
    assert freedom == 49


def test_copies_of_a_unit_in_one_cluster_add_no_information() -> None:
    values = np.random.default_rng(2).random(50)
    once, _ = cluster_robust_error(values, own_clusters(50))
    many, freedom = cluster_robust_error(np.repeat(values, 4), [str(i) for i in range(50) for _ in range(4)])
    assert many == pytest.approx(once)
    assert freedom == 49


def test_equivalence_is_two_one_sided_t_tests() -> None:
    differences = np.random.default_rng(4).normal(0.01, 0.2, 300)
    lower = scipy_stats.ttest_1samp(differences, -0.05, alternative="greater").pvalue
    upper = scipy_stats.ttest_1samp(differences, 0.05, alternative="less").pvalue
    assert equivalence(differences, own_clusters(300), 0.05) == pytest.approx(max(lower, upper))


def test_identical_models_are_equivalent_and_unlike_ones_are_not() -> None:
    assert equivalence(np.zeros(10), own_clusters(10), 0.01) == 0.0
    assert equivalence(np.ones(10), own_clusters(10), 0.5) == 1.0


def test_letters_join_what_cannot_be_told_apart() -> None:
    differ = np.zeros((4, 4), dtype=bool)
    differ[0, 2] = differ[2, 0] = differ[0, 3] = differ[3, 0] = differ[1, 3] = differ[3, 1] = True
    assert letters([0.9, 0.8, 0.7, 0.6], differ) == ["a", "ab", "bc", "c"]
    assert letters([0.6, 0.7, 0.8, 0.9], differ, higher_is_better=False) == ["a", "ab", "bc", "c"]
    assert letters([1.0, 2.0], np.zeros((2, 2), dtype=bool)) == ["a", "a"]


@pytest.mark.parametrize("seed", range(20))
def test_two_models_share_a_letter_exactly_if_they_do_not_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((7, 7)) < 0.5, 1)
    differ = upper | upper.T
    shown = letters(rng.random(7), differ)
    for i in range(7):
        for j in range(7):
            if i != j:
                assert (not set(shown[i]) & set(shown[j])) == differ[i, j]


def test_ranks_of_models_that_never_cross_are_certain() -> None:
    resampled = np.array([[0.9, 0.8, 0.85], [0.5, 0.6, 0.4], [0.1, 0.2, 0.3]])
    low, high = rank_intervals(resampled)
    assert low.tolist() == high.tolist() == [1, 2, 3]
    assert rank_intervals(resampled, higher_is_better=False)[0].tolist() == [3, 2, 1]


def test_the_smallest_detectable_difference_is_found_with_the_stated_power() -> None:
    rng = np.random.default_rng(9)
    error = 0.02
    difference = smallest_detectable_difference(error)
    found = np.abs(rng.normal(difference, error, 20_000) / error) > 1.959964
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_questions_needed_is_the_table_of_the_documents() -> None:
    assert [questions_needed(0.03, flips) for flips in (0.05, 0.1, 0.2)] == [429, 865, 1737]
    with pytest.raises(ValueError, match="0 < difference"):
        questions_needed(0.2, 0.1)


@pytest.mark.parametrize(("units", "cluster_size"), [(100, 1), (400, 4)])
def test_paired_intervals_of_rates_cover_the_true_difference(units: int, cluster_size: int) -> None:
    rng = np.random.default_rng(units)
    clusters = [str(i // cluster_size) for i in range(units)]
    covered = []
    for trial in range(400):
        ease = np.repeat(rng.random(units // cluster_size), cluster_size)
        right = (rng.random((2, units)) < np.stack([0.3 + 0.6 * ease, 0.2 + 0.6 * ease])).astype(float)
        found = paired_differences(as_statistics(right), clusters, mean, seed=trial, resamples=400, permutations=1)
        covered.append(found.low[0] <= 0.1 <= found.high[0])
    # 400 trials: a true coverage of 0.95 lies within 0.95 ± 0.033 in 99.7 % of runs
    assert 0.917 <= np.mean(covered) <= 0.983


def test_a_clear_difference_is_not_held_up_by_the_floor_of_the_exchanges() -> None:
    right = np.zeros((3, 60))
    right[0] = 1
    right[1, :30] = 1
    right[2, :29] = 1
    few = paired_differences(as_statistics(right), own_clusters(60), mean, permutations=1000)
    more = paired_differences(as_statistics(right), own_clusters(60), mean, permutations=1000, most_permutations=20_000)
    assert few.p_value[0] == 1 / 1001
    assert more.p_value[0] == 1 / 20_001
    assert more.p_value[2] == few.p_value[2], "one flip: enough extreme exchanges at once"
    assert more.method.endswith("permutations=1000..20000|seed=0")


def test_drawing_on_keeps_the_level() -> None:
    rng = np.random.default_rng(5)
    p_values = [
        paired_differences(
            as_statistics((rng.random((2, 80)) < 0.5).astype(float)),
            own_clusters(80),
            mean,
            seed=trial,
            resamples=2,
            permutations=100,
            most_permutations=2000,
        ).p_value[0]
        for trial in range(1500)
    ]
    for level in (0.01, 0.05, 0.1):
        # three standard errors of a binomial share; ties make the test conservative
        assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 1500)


def test_chosen_pairs_are_those_of_all_pairs() -> None:
    values = np.random.default_rng(3).random((4, 50))
    every = paired_differences(as_statistics(values), own_clusters(50), mean)
    some = paired_differences(as_statistics(values), own_clusters(50), mean, pairs=[(0, 2), (1, 3)])
    places = [every.pairs.tolist().index(pair) for pair in some.pairs.tolist()]
    for name in ("estimate", "low", "high", "p_value"):
        np.testing.assert_allclose(getattr(some, name), getattr(every, name)[places], rtol=1e-12)


def test_holm_over_45_pairs_of_equal_models_rarely_finds_a_difference() -> None:
    rng = np.random.default_rng(11)
    found = []
    for trial in range(120):
        right = (rng.random((10, 200)) < 0.6).astype(float)
        result = paired_differences(
            as_statistics(right), own_clusters(200), mean, seed=trial, resamples=2, permutations=2000
        )
        found.append(bool((holm(result.p_value) <= 0.05).any()))
    # at most 5 % are expected; 120 trials at 5 % give more than 13 in one run of 500
    assert sum(found) <= 13
