"""Trains all arms, tests them on fresh data and writes the report.

`python experiments/wavelet_vs_patches/run.py --out DIR`. Every step is kept in the
folder, so a second call goes on where the first one stopped. `--workers` trainings go on at once, each on one thread;
one worker is this process itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from arms import FRONT_ENDS, FROZEN, SEEDS, TASKS, recipe_of

TEST_SEED, TEST_N = 20261, 400
"""Seed and number of test pictures; no training or validation stream has this seed."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training to be done."""

    task: str
    arm: str
    seed: int
    frozen: bool

    def folder(self, out: Path) -> Path:
        """Where it is kept."""
        return out / "trainings" / f"{self.task}-{self.arm}{'-frozen' if self.frozen else ''}-s{self.seed}"


def trainings() -> Iterator[Training]:
    """All of them, blind ones first, seed by seed, so that a stopped experiment has whole seeds."""
    for seed in SEEDS:
        for task in TASKS:
            yield Training(task, "blind", seed, False)
        for task in TASKS:
            for arm in FRONT_ENDS:
                yield Training(task, arm, seed, False)
    for seed in SEEDS:
        for arm in FROZEN:
            yield Training("scenes", arm, seed, True)


def done(training: Training, out: Path) -> bool:
    """Whether its card is there."""
    return any(training.folder(out).glob("*.yaml"))


def do(job: tuple[Training, Path]) -> str:
    """One training, gone on with where it was begun."""
    import torch

    from harness.training.train import train

    training, out = job
    torch.set_num_threads(1)
    blind = Training(training.task, "blind", training.seed, False).folder(out) / "checkpoint"
    recipe = recipe_of(training.task, training.arm, training.seed, blind=blind if training.frozen else None)
    finished = train(recipe, training.folder(out), resume=True)
    last = finished.curve[-1]
    return f"{recipe.name}: {last.cpu_s:.0f} CPU s, held out {100 * last.exact:.1f} % exact"


def trained(waiting: Sequence[tuple[Training, Path]], workers: int) -> Iterable[str]:
    """Do the trainings, each in a fresh process where there are several workers; a line on each as it ends."""
    if workers == 1:
        yield from map(do, waiting)
        return
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=1) as pool:
        yield from pool.imap(do, waiting)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, test, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--report", type=Path, help="folder of the report; OUT/report where left out")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--step", choices=["train", "test", "report", "all"], default="all")
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    if arguments.step in ("train", "all"):
        waiting = [(t, out) for t in trainings() if not done(t, out)]
        print(f"{len(waiting)} trainings to do", flush=True)
        for number, line in enumerate(trained(waiting, arguments.workers), 1):
            print(f"{number}/{len(waiting)} {line}", flush=True)
    if arguments.step in ("test", "all"):
        from testing import test_all

        test_all(list(trainings()), out, seed=TEST_SEED, n=TEST_N)
    if arguments.step in ("report", "all"):
        from reporting import write_report

        write_report(list(trainings()), out, arguments.report or out / "report")


if __name__ == "__main__":
    main()
