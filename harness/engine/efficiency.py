"""How fast and how large: latency percentiles, samples per second, peak memory, from the answers of this run alone."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

import numpy as np

from harness.records import MetricValue, Response

_PERCENTILES = (50, 95, 99)
_RESAMPLES = 2000
_RUSAGE_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def process_peak_bytes() -> int:
    """Highest resident memory of this process since it started."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RUSAGE_UNIT_BYTES


def efficiency(
    responses: Sequence[Response], peak_bytes: int | None, memory_of: str, seed: int = 0
) -> list[MetricValue]:
    """Latency, throughput and memory of the requests that the model was asked in this run.

    A request's latency is the wall time of its batch; throughput is the number of answers over the sum of batch times.
    Intervals are percentile bootstraps over requests (2,000 resamples). Answers from the cache or an earlier attempt
    are left out: they were not timed here.

    Args:
        peak_bytes: highest memory, and `memory_of` what it was measured on (`process` or `device`).
    """
    fresh = [r for r in responses if r.text is not None and not r.cached and r.latency_s is not None]
    total = len(responses)
    values: list[MetricValue] = []
    if fresh:
        latency = np.array([r.latency_s for r in fresh], dtype=np.float64)
        share = latency / np.array([r.batch_size for r in fresh], dtype=np.float64)
        picks = np.random.default_rng(seed).integers(0, len(fresh), (_RESAMPLES, min(len(fresh), 20_000)))
        method = f"bootstrap|B={_RESAMPLES}|seed={seed}"
        for percentile in _PERCENTILES:
            spread = np.percentile(latency[picks], percentile, axis=1)
            values.append(
                _value(
                    "latency",
                    f"p{percentile}",
                    "s",
                    float(np.percentile(latency, percentile)),
                    spread,
                    fresh,
                    total,
                    method,
                )
            )
        values.append(
            _value(
                "throughput", "", "1/s", float(1 / share.mean()), 1 / share[picks].mean(axis=1), fresh, total, method
            )
        )
    else:
        for name, variant, unit in (("latency", "p50", "s"), ("throughput", "", "1/s")):
            values.append(_single(name, variant, unit, None, total, "no request was asked in this run"))
    values.append(_single("peak_memory", memory_of, "bytes", peak_bytes, total, "one measurement: no interval"))
    return values


def _value(
    name: str,
    variant: str,
    unit: str,
    estimate: float,
    spread: np.ndarray,
    fresh: Sequence[Response],
    total: int,
    method: str,
) -> MetricValue:
    low, high = np.percentile(spread, [2.5, 97.5])
    return MetricValue(
        metric=name,
        variant=variant,
        signature="|".join(filter(None, [name, variant, "v1"])),
        subset="all",
        estimate=estimate,
        low=float(low),
        high=float(high),
        n_scored=len(fresh),
        n_total=total,
        n_clusters=len(fresh),
        method=method,
        higher_is_better=name == "throughput",
        unit=unit,
    )


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
