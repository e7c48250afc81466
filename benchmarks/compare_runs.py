"""CPU seconds and peak memory of all pairs of 10 models on 5,000 samples, 10,000 resamples and permutations each."""

from __future__ import annotations

import resource
import time

import numpy as np

from harness.stats.paired import paired_differences

MODELS, SAMPLES, RESAMPLES = 10, 5_000, 10_000


def main() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((MODELS, SAMPLES)) < np.linspace(0.5, 0.6, MODELS)[:, None]).astype(float)
    statistics = np.stack([right, np.ones_like(right)], axis=-1)
    clusters = [str(number // 2) for number in range(SAMPLES)]
    start = time.process_time()
    paired_differences(
        statistics, clusters, lambda t: t[..., 0] / t[..., 1], resamples=RESAMPLES, permutations=RESAMPLES
    )
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{MODELS} models, {SAMPLES} samples in {SAMPLES // 2} clusters, {RESAMPLES} resamples and permutations:")
    print(f"{seconds:.1f} CPU s, {peak:.2f} GiB peak")


if __name__ == "__main__":
    main()
