"""Intervals: Wilson against statsmodels, the cluster bootstrap against a slow loop, coverage on simulated data."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from harness.metrics.base import MeanMetric
from harness.records import Score
from harness.stats.intervals import Interval, cluster_bootstrap, interval, unparsed_bounds, wilson


class Mean(MeanMetric):
    def score(self, cases, context):
        raise NotImplementedError


MEAN = Mean().aggregate


def pairs(values):
    values = np.asarray(values, dtype=float)
    return np.column_stack([values, np.ones_like(values)])  # (units, 2)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 10), (421, 627), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_agrees_with_statsmodels(successes, n, confidence):
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("successes", "n", "confidence"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_wilson_refuses_what_is_no_rate(successes, n, confidence):
    with pytest.raises(ValueError, match=r"give|confidence"):
        wilson(successes, n, confidence)


def test_bootstrap_equals_a_loop_over_resampled_clusters():
    rng = np.random.default_rng(5)
    statistics = pairs(rng.random(30))
    clusters = [f"c{number % 7}" for number in range(30)]
    found = cluster_bootstrap(statistics, clusters, MEAN, seed=3, resamples=200, confidence=0.9)
    names = sorted(set(clusters))
    sums = [statistics[[c == name for c in clusters]].sum(0) for name in names]
    draws = np.random.default_rng(3).integers(0, 7, size=(200, 7))
    values = [MEAN(np.sum([sums[place] for place in row], axis=0)) for row in draws]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))
    assert (found.method, found.n_clusters) == ("cluster_bootstrap|B=200|seed=3", 7)


def test_bootstrap_is_seeded_and_does_not_see_the_order_of_units():
    rng = np.random.default_rng(1)
    statistics, clusters = pairs(rng.integers(0, 2, 60)), [f"{number // 3}" for number in range(60)]
    first = cluster_bootstrap(statistics, clusters, MEAN, seed=0)
    order = rng.permutation(60)
    again = cluster_bootstrap(statistics[order], [clusters[place] for place in order], MEAN, seed=0)
    assert first == again
    assert first != cluster_bootstrap(statistics, clusters, MEAN, seed=1)


def test_blocks_change_nothing(monkeypatch):
    statistics, clusters = pairs(np.arange(12) / 12), list("abcdefabcdef")
    whole = cluster_bootstrap(statistics, clusters, MEAN, seed=0, resamples=101)
    monkeypatch.setattr("harness.stats.resampling._BLOCK", 50)
    assert cluster_bootstrap(statistics, clusters, MEAN, seed=0, resamples=101) == whole


def test_corpus_metrics_take_sums_not_means():
    statistics = np.array([[1.0, 1.0], [3.0, 9.0], [5.0, 6.0]])  # errors, tokens
    found = cluster_bootstrap(statistics, ["a", "b", "c"], lambda totals: totals[..., 0] / totals[..., 1], seed=0)
    assert 1 / 3 <= found.low < found.high <= 1.0


def test_undefined_resamples_are_left_out_and_counted():
    statistics = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    found = cluster_bootstrap(statistics, ["a", "b", "c"], MEAN, seed=0, resamples=500)
    assert "undefined=" in found.method
    assert 0.0 <= found.low <= found.high <= 1.0
    nothing = cluster_bootstrap(np.zeros((3, 2)), ["a", "b", "c"], MEAN, seed=0)
    assert (nothing.low, nothing.high) == (None, None)


def test_plain_rate_over_independent_units_is_wilson():
    found = interval(pairs([1, 0, 1, 1]), ["a", "b", "c", "d"], MEAN, is_rate=True)
    assert found == Interval(*wilson(3, 4), "wilson", 4)


@pytest.mark.parametrize(
    ("values", "clusters", "is_rate"),
    [([1, 0, 1, 1], list("aabb"), True), ([0.5, 0.2, 1, 0], list("abcd"), True), ([1, 0, 1, 1], list("abcd"), False)],
)
def test_anything_else_is_bootstrapped(values, clusters, is_rate):
    found = interval(pairs(values), clusters, MEAN, is_rate=is_rate, seed=9)
    assert found.method == "cluster_bootstrap|B=2000|seed=9"


@pytest.mark.parametrize(("value", "ends"), [(1.0, wilson(2, 2)), (0.0, wilson(0, 2))])
def test_a_rate_of_zero_or_one_is_not_certain_under_clustering(value, ends):
    found = interval(pairs([value] * 6), list("aaabbb"), MEAN, is_rate=True)
    assert (found.low, found.high) == ends
    assert found.method == "wilson|n=clusters|every unit equal"
    assert found.n_clusters == 2


def test_one_cluster_and_no_units_have_no_interval_and_say_why():
    single = interval(pairs([1, 0]), ["a", "a"], MEAN, is_rate=True)
    assert (single.low, single.high, single.n_clusters) == (None, None, 1)
    assert "one cluster" in single.method
    none = interval(np.empty((0, 2)), [], MEAN, is_rate=True)
    assert (none.low, none.method) == (None, "none: nothing was scored")


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="3 units but 2"):
        cluster_bootstrap(pairs([1, 0, 1]), ["a", "b"], MEAN, seed=0)
    with pytest.raises(ValueError, match="resamples"):
        cluster_bootstrap(pairs([1, 0, 1]), list("abc"), MEAN, seed=0, resamples=0)


def test_bootstrap_covers_a_clustered_rate_about_as_often_as_it_says():
    # 200 units in 50 clusters of 4 whose rates differ; 2,000 simulations have a standard error of 0.5 points at 95 %,
    # and the percentile interval is known to fall about a point short at 50 clusters (93.8 % here).
    rng = np.random.default_rng(0)
    clusters = [f"{number // 4:02d}" for number in range(200)]
    rates = rng.beta(3, 1.5, size=(2000, 50))
    values = rng.random((2000, 200)) < np.repeat(rates, 4, axis=1)
    truth = 3 / 4.5
    inside = naive = 0
    for number, sample in enumerate(values):
        found = cluster_bootstrap(pairs(sample), clusters, MEAN, seed=number, resamples=500)
        inside += found.low <= truth <= found.high
        low, high = wilson(int(sample.sum()), 200)
        naive += low <= truth <= high
    assert 0.93 <= inside / 2000 <= 0.97
    assert naive < inside  # what ignoring the clusters would claim


def test_wilson_covers_a_plain_rate_about_as_often_as_it_says():
    successes = np.random.default_rng(0).binomial(200, 0.7, size=2000)
    inside = sum(low <= 0.7 <= high for low, high in (wilson(int(count), 200) for count in successes))
    assert 0.93 <= inside / 2000 <= 0.97


def test_bounds_are_unparsed_wrong_and_unparsed_right():
    def score(value, rule):
        return Score("u", "u", "u", value, rule=rule)

    scores = [
        score(1.0, "letter"),
        score(0.0, "letter"),
        score(0.0, "unparsed"),
        score(None, ""),
        score(0.0, "unparsed"),
    ]
    assert unparsed_bounds(scores) == (0.25, 0.75)
    assert unparsed_bounds([score(None, "")]) is None


def test_import_and_wilson_need_no_heavy_library():
    import subprocess
    import sys

    code = (
        "import sys; from harness.stats.intervals import wilson; wilson(1, 2);"
        "assert not {'numpy', 'scipy', 'pandas'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
