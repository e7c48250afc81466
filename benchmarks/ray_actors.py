"""Two actors of one thread each beside one, on a nano model; and what the executor `ray` costs a request.

    python benchmarks/ray_actors.py [--turns 3] [--images 2500]

Captions of fresh scenes by a nano model that spends about 10 ms on an answer, in alternating order: answers a second in
the second half of them, when all actors are at work. This process needs its share of the same two cores, about 0.3 ms
an answer. The cost of a request is that of a model that does nothing, through one actor and in this process.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import Figure, add_option, write
from size import make_questions

from harness.engine.progress import Silent

SUITE = "name: speed\nversion: 1\ndescription: speed\ndata: folder\ntasks: [{task}]\n"
CHEAP = 20_000


class Clock(Silent):
    """Remembers when answers came."""

    def __init__(self) -> None:
        self.came: list[float] = []

    def answered(self, asked: int, known: int, failed: int) -> None:
        self.came += [time.perf_counter()] * asked

    def rate(self) -> float:
        """Answers a second in the second half."""
        late = self.came[len(self.came) // 2 :]
        return (len(late) - late.count(late[0])) / (late[-1] - late[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--images", type=int, default=2500)
    parser.add_argument("--model", default="nano-llava")
    add_option(parser)
    arguments = parser.parse_args()
    import ray

    from harness.engine.run import run_suite
    from harness.mini.official_layouts import write_coco

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_coco(folder / "mini" / "coco", np.random.default_rng(31_337), arguments.images)
        make_questions(folder / "cheap" / "scienceqa", CHEAP)
        for task in ("coco-captions", "scienceqa"):
            (folder / f"{task}.yaml").write_text(SUITE.format(task=task))

        def rate(task: str, model: str, data: str, actors: int | None, turn: int) -> float:
            clock = Clock()
            executor = "ray" if actors else "local"
            run_suite(
                folder / f"{task}.yaml", [model], data=folder / data, out=folder / f"{task}-{actors}-{turn}",
                batch_size=16, executor=executor, actors=actors, progress=clock,
            )  # fmt: skip
            return clock.rate()

        rows: dict[int | None, list[float]] = {None: [], 1: [], 2: []}
        for turn in range(arguments.turns):
            for actors, rates in rows.items():
                rates.append(rate("coco-captions", arguments.model, "mini", actors, turn))
        machine = platform.processor() or platform.machine()
        print(f"{machine}, Python {platform.python_version()}, Ray {ray.__version__}; {arguments.images} captions by")
        print(f"{arguments.model}, {arguments.turns} turns")
        one = statistics.median(rows[1])
        for actors, rates in rows.items():
            middle = statistics.median(rates)
            label = f"{actors} actors" if actors else "in this process"
            print(f"{label:16} {middle:8.1f} answers a second   {middle / one:5.2f} x one actor")
        cost_ms = {}
        for actors, label in ((None, "in this process"), (1, "through an actor")):
            cost_ms[actors] = 1e3 / rate("scienceqa", "always-a", "cheap", actors, 0)
            print(f"a request to a model that does nothing, {label}: {cost_ms[actors]:.2f} ms")
        write(
            arguments.json,
            [
                Figure("answers a second, two actors beside one", statistics.median(rows[2]) / one, at_least=1.8),
                Figure("a request through an actor, model that does nothing", cost_ms[1], "ms", at_most=1),
            ],
        )


if __name__ == "__main__":
    main()
