"""What a run's answers tell about its speed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from harness.engine.efficiency import Measured
from harness.records import Response


def measured(latency_s: np.ndarray) -> Measured:
    found = Measured()
    for number, value in enumerate(latency_s):
        found.add(Response(f"{number:064x}", "t", str(number), "A", latency_s=float(value), batch_size=4))
    return found


@pytest.mark.parametrize("n", [1, 2, 7, 100, 1003])
def test_percentiles_have_the_bounds_of_scipys_binomial_quantiles(n: int) -> None:
    latency_s = np.random.default_rng(n).lognormal(size=n)
    ordered = np.sort(latency_s)
    for value in measured(latency_s).values(None, "process")[:3]:
        rate = int(value.variant[1:]) / 100
        low, high = binom.ppf([0.025, 0.975], n, rate)
        assert value.low == ordered[max(int(low) - 1, 0)]
        assert value.high == ordered[min(int(high), n - 1)]
        assert value.estimate == pytest.approx(np.percentile(latency_s, 100 * rate))


def test_throughput_is_that_of_the_mean_share_of_a_batch() -> None:
    latency_s = np.random.default_rng(0).uniform(1, 2, size=50)
    value = measured(latency_s).values(None, "process")[3]
    share_s = latency_s / 4
    reach = norm.ppf(0.975) * share_s.std(ddof=1) / np.sqrt(50)
    assert value.estimate == pytest.approx(1 / share_s.mean())
    assert value.low == pytest.approx(1 / (share_s.mean() + reach))
    assert value.high == pytest.approx(1 / (share_s.mean() - reach))


def test_answers_from_the_cache_are_counted_and_not_timed() -> None:
    found = Measured()
    found.add(Response("0" * 64, "t", "0", "A", latency_s=9.0, cached=True))
    latency, throughput, _ = found.values(10, "process")
    assert (found.total, found.cached, found.fresh) == (1, 1, 0)
    assert [latency.estimate, throughput.estimate] == [None, None]
    assert latency.reason == "no request was asked in this run"
