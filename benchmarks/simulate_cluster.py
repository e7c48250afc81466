"""How long a night takes on a cluster: simulated for 100 models x 30 benchmarks x 5,000 samples, checked on small runs.

    python benchmarks/simulate_cluster.py [--gpus 1 4 16 64 256] [--check]

Two ways to use G devices: every model on all of them in turn (`harness run --executor ray`), or a device for each model
(one `harness run` a model, the longest first), and both with 8 devices a model. Requests leave in groups of 16, as the
executor sends them, to the device that is free first. Seconds for a request are log-normal around the model's own; a
straggler is a device that is slower all night; a failure takes a device away in the middle of a group, which is asked
again, and the device comes back after a restart and has to load the model.

The times of the models below are assumptions, to be replaced by those in your records (`load_s`, and `busy_s` over
`requests_asked`). `--check` compares the simulation with real runs on a local Ray cluster whose model sleeps.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from size import make_questions

from harness.engine.groups import GROUP

BENCHMARKS, SAMPLES = 30, 5_000
RESTART_S = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """A model's night: how long it loads, how long a request takes on one device, how many there are."""

    name: str
    load_s: float
    request_s: float
    requests: int = BENCHMARKS * SAMPLES
    spread: float = 0.6
    """Standard deviation of the logarithm of a request's seconds."""


MODELS = (
    *(Load(f"small-{n}", 15, 0.02) for n in range(40)),
    *(Load(f"middle-{n}", 60, 0.15) for n in range(40)),
    *(Load(f"large-{n}", 120, 0.30) for n in range(20)),
)


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong in a night."""

    stragglers: float = 0.0
    """Share of devices that are slow."""
    slowness: float = 3.0
    hours_between_failures: float = float("inf")
    """Of one device."""


def group_seconds(load: Load, rng: np.random.Generator) -> np.ndarray:
    """Seconds of each group of a model's requests, on a device as it should be."""
    counts = np.full(-(-load.requests // GROUP), GROUP)
    counts[-1] = load.requests - GROUP * (len(counts) - 1)
    # The sum of log-normal times of a group, by its first two moments.
    mean, variance = load.request_s, load.request_s**2 * (np.exp(load.spread**2) - 1)
    seconds = rng.normal(counts * mean, np.sqrt(counts * variance))
    return np.maximum(seconds, 0.1 * counts * mean)


def makespan(load: Load, speeds: Sequence[float], faults: Faults, rng: np.random.Generator) -> float:
    """Seconds until the last answer of one model that has the devices to itself, by discrete events.

    Args:
        speeds: how many times slower than it should be each device is.
    """
    rate = 1 / (3600 * faults.hours_between_failures)
    free = [(load.load_s * slow, device) for device, slow in enumerate(speeds)]
    heapq.heapify(free)
    again: list[float] = []
    end = 0.0
    waiting = iter(group_seconds(load, rng).tolist())
    while True:
        seconds = again.pop() if again else next(waiting, None)
        if seconds is None:
            return end
        start, device = heapq.heappop(free)
        takes = seconds * speeds[device]
        if rate and (fails := rng.exponential(1 / rate)) < takes:
            again.append(seconds)
            heapq.heappush(free, (start + fails + RESTART_S + load.load_s * speeds[device], device))
            continue
        end = max(end, start + takes)
        heapq.heappush(free, (start + takes, device))


def night(models: Sequence[Load], gpus: int, together: int, faults: Faults, seed: int) -> float:
    """Hours of a whole night.

    Args:
        together: devices that work on one model; `gpus` of them is every model on all devices in turn.
    """
    rng = np.random.default_rng(seed)
    speeds = np.where(rng.random(gpus) < faults.stragglers, faults.slowness, 1.0)
    teams = [(0.0, number) for number in range(max(1, gpus // together))]
    heapq.heapify(teams)
    order = sorted(models, key=lambda load: -load.requests * load.request_s)
    end = 0.0
    for load in order:
        begin, team = heapq.heappop(teams)
        own = speeds[team * together : (team + 1) * together]
        done = begin + makespan(load, own.tolist(), faults, rng)
        end = max(end, done)
        heapq.heappush(teams, (done, team))
    return end / 3600


def plan(gpus: Sequence[int]) -> None:
    """The table of a night."""
    work_h = sum(load.requests * load.request_s for load in MODELS) / 3600
    loads_h = sum(load.load_s for load in MODELS) / 3600
    requests = sum(load.requests for load in MODELS)
    print(f"{len(MODELS)} models, {requests:,} requests: {work_h:,.0f} device hours, {loads_h:.1f} more for loading")
    print("hours of a night; in brackets with 5 % of devices 3 x slower and a failure every 200 device hours")
    print(f"{'GPUs':>5} {'work/GPUs':>10} {'all on one model':>20} {'8 a model':>20} {'1 a model':>20}")
    bad = Faults(stragglers=0.05, hours_between_failures=200)
    for number in gpus:
        cells = []
        for together in (number, 8, 1):
            if together > number or (together == number and number in (1, 8) and cells):
                cells.append(f"{'':>20}")
                continue
            good_h, bad_h = (night(MODELS, number, together, faults, seed=0) for faults in (Faults(), bad))
            cells.append(f"{f'{good_h:.1f} ({bad_h:.1f})':>20}")
        print(f"{number:5} {work_h / number:10.1f} {' '.join(cells)}", flush=True)


def check() -> None:
    """Real runs of a sleeping model on a local cluster beside the simulation of the same."""
    import ray

    from harness.engine.run import run_suite
    from harness.tasks.schema import Subset

    load = Load("sleeper", 0.0, 0.02, requests=1_440, spread=0.0)
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "night.yaml").write_text(
            "name: night\nversion: 1\ndescription: questions\ndata: folder\ntasks: [scienceqa]\n"
        )
        make_questions(folder / "data" / "scienceqa", load.requests)
        card = folder / "sleeper.yaml"
        options = {"answer": "A", "seconds": load.request_s, "load_seconds": 1.0}
        card.write_text(json.dumps({"name": "sleeper", "run": {"family": "fixed-answer", "options": options}}))

        def wall_s(actors: int, subset: Subset | None, out: str) -> float:
            start = time.perf_counter()
            done = run_suite(
                folder / "night.yaml", [card], data=folder / "data", out=folder / out, subset=subset, executor="ray",
                actors=actors, batch_size=GROUP,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            (result,) = done.runs[0].record.tasks
            assert result.n_answered == result.n_samples
            return seconds

        rng = np.random.default_rng(0)  # the load has no spread
        print("actors  one group s  all s  simulated s  ratio")
        for actors in (1, 2, 4, 8):
            first_s = wall_s(actors, Subset(first=GROUP), f"first-{actors}")
            all_s = wall_s(actors, None, f"all-{actors}")
            # Starting the actors, loading and sealing are as in the run of one group.
            simulated_s = first_s - GROUP * load.request_s + makespan(load, [1.0] * actors, Faults(), rng)
            print(f"{actors:6} {first_s:12.2f} {all_s:6.2f} {simulated_s:12.2f} {all_s / simulated_s:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="*", default=[1, 4, 16, 64, 256])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.gpus:
        plan(arguments.gpus)
    if arguments.check:
        check()


if __name__ == "__main__":
    main()
