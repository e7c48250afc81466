"""How fast and how large: latency percentiles, samples per second, peak memory, from the answers of this run alone."""

from __future__ import annotations

import resource
import sys
from array import array
from statistics import NormalDist

import numpy as np

from harness.records import MetricValue, Response

_PERCENTILES = (50, 95, 99)
_CONFIDENCE = 0.95
_RUSAGE_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def process_peak_bytes() -> int:
    """Highest resident memory of this process since it started."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RUSAGE_UNIT_BYTES


class Measured:
    """What a run's answers tell about its speed, gathered answer by answer.

    A request's latency is the wall time of its batch; throughput is the number of answers over the sum of batch times.
    Answers from the cache or an earlier attempt are counted and not timed: they were not asked here.
    """

    def __init__(self) -> None:
        self.total = self.fresh = self.cached = 0
        self._latency_s = array("d")
        self._share_s = array("d")

    def add(self, response: Response) -> None:
        """Take in a response."""
        self.total += 1
        self.cached += response.cached
        if response.cached or response.text is None:
            return
        self.fresh += 1
        if response.latency_s is not None:
            self._latency_s.append(response.latency_s)
            self._share_s.append(response.latency_s / response.batch_size)

    def values(self, peak_bytes: int | None, memory_of: str) -> list[MetricValue]:
        """Latency percentiles, throughput and memory.

        A percentile has the distribution-free interval of order statistics (Conover 1999, section 3.2), throughput that
        of the mean time of an answer by the normal distribution.

        Args:
            peak_bytes: highest memory, and `memory_of` what it was measured on (`process` or `device`).
        """
        values: list[MetricValue] = []
        if self._latency_s:
            latency_s = np.sort(np.frombuffer(self._latency_s))  # (answers,)
            for percentile in _PERCENTILES:
                estimate = float(np.percentile(latency_s, percentile))
                bounds = _order_statistics(latency_s, percentile / 100)
                values.append(self._value("latency", f"p{percentile}", "s", estimate, bounds, "order-statistics"))
            share_s = np.frombuffer(self._share_s)  # (answers,)
            mean_s = float(share_s.mean())
            values.append(self._value("throughput", "", "1/s", 1 / mean_s, _of_rate(share_s), "normal"))
        else:
            for name, variant, unit in (("latency", "p50", "s"), ("throughput", "", "1/s")):
                values.append(_single(name, variant, unit, None, self.total, "no request was asked in this run"))
        values.append(
            _single("peak_memory", memory_of, "bytes", peak_bytes, self.total, "one measurement: no interval")
        )
        return values

    def _value(
        self, name: str, variant: str, unit: str, estimate: float, bounds: tuple[float, float | None], method: str
    ) -> MetricValue:
        return MetricValue(
            metric=name,
            variant=variant,
            signature="|".join(filter(None, [name, variant, "v1"])),
            subset="all",
            estimate=estimate,
            low=bounds[0],
            high=bounds[1],
            n_scored=len(self._latency_s),
            n_total=self.total,
            n_clusters=len(self._latency_s),
            confidence=_CONFIDENCE,
            method=method,
            higher_is_better=name == "throughput",
            unit=unit,
        )


def _order_statistics(ordered: np.ndarray, quantile: float) -> tuple[float, float]:
    """Bounds of a quantile among the ordered values; ends at the extremes where the sample is too small for more."""
    tail, last = (1 - _CONFIDENCE) / 2, len(ordered) - 1
    low, high = _binomial_quantile(tail, len(ordered), quantile), _binomial_quantile(1 - tail, len(ordered), quantile)
    return float(ordered[max(low - 1, 0)]), float(ordered[min(high, last)])


def _binomial_quantile(level: float, n: int, rate: float) -> int:
    """The least count whose distribution function reaches `level`; without `scipy.stats`, which takes 0.6 s to load."""
    from scipy.special import bdtr, bdtrik

    count = int(np.ceil(bdtrik(level, n, rate)))
    return count - 1 if count and bdtr(count - 1, n, rate) >= level else count


def _of_rate(share_s: np.ndarray) -> tuple[float, float | None]:
    """Bounds of answers a second; no upper one where the times do not exclude 0."""
    mean = share_s.mean()
    error = share_s.std(ddof=1) / np.sqrt(len(share_s)) if len(share_s) > 1 else 0.0
    reach = float(NormalDist().inv_cdf((1 + _CONFIDENCE) / 2) * error)
    return float(1 / (mean + reach)), float(1 / (mean - reach)) if mean > reach else None


def _single(name: str, variant: str, unit: str, estimate: float | None, total: int, reason: str) -> MetricValue:
    return MetricValue(
        metric=name,
        variant=variant,
        signature="|".join(filter(None, [name, variant, "v1"])),
        subset="all",
        estimate=None if estimate is None else float(estimate),
        low=None,
        high=None,
        n_scored=0 if estimate is None else 1,
        n_total=total,
        higher_is_better=False,
        unit=unit,
        reason=reason,
    )
