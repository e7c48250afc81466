"""Tests every finished training on one fresh set of pictures, through the harness and its own suites.

A training of the first seed takes the whole suite of its task, made-worse pictures included; the others take the
suite's first task. Every network that sees is asked a second time with the pictures of other samples: what it scores
then, it owes to no picture. A sealed run of the same plan is taken as it is, so a second call asks nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from arms import TASKS

from harness.cards.loading import LoadedCard, load_card
from harness.engine.plan import open_tasks, plan_model
from harness.engine.run import run_suite
from harness.errors import HarnessError, StoreError
from harness.mini.write import write_mini
from harness.store.files import read_json
from harness.store.runs import RECORD, Run, read_run, run_name
from harness.tasks.loading import LoadedSuite, load_suite

if TYPE_CHECKING:
    from run import Training

HERE = Path(__file__).resolve().parent
_BATCH = 50


def test_all(trainings: Sequence[Training], out: Path, *, seed: int, n: int) -> None:
    """Seal a run, and one with exchanged pictures, for each finished training in `out / "results"`.

    Args:
        trainings: unfinished ones are passed over.
        out: folder of the experiment; the test set is written to `out / "data"` where it is not there.
        seed: of the test set.
        n: its pictures for each task.

    Raises:
        StoreError: the folder holds another test set.
        HarnessError: a network could not be asked.
    """
    import torch

    torch.set_num_threads(1)
    _write_data(out / "data", seed, n)
    for training in trainings:
        for suite, card in questions(training, out):
            if sealed(suite, card, out) is not None:
                continue
            outcome = run_suite(
                suite, [card], data=out / "data", out=out / "results", device="cpu", batch_size=_BATCH
            )  # fmt: skip
            for name, reason in outcome.failures:
                raise HarnessError(f"{name}: {reason}")
            print(f"tested {card.name}", flush=True)


def _write_data(folder: Path, seed: int, n: int) -> None:
    """The test set, whole or not at all."""
    if folder.exists():
        manifest = read_json(folder / "manifest.json")
        if (manifest["seed"], manifest["n"]) != (seed, n):
            raise StoreError(
                f"{folder}: holds {manifest['n']} pictures of seed {manifest['seed']}, not {n} of {seed}; "
                "move it away, or give another folder with --out"
            )
        return
    unfinished = folder.with_name(".data.writing")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    write_mini(unfinished, seed=seed, n=n)
    unfinished.rename(folder)


def card_of(training: Training, out: Path) -> Path | None:
    """The card of a finished training."""
    return next(iter(sorted(training.folder(out).glob("*.yaml"))), None)


def questions(training: Training, out: Path) -> list[tuple[LoadedSuite, LoadedCard]]:
    """What a finished training is asked: its suite, and the first task with exchanged pictures where it sees any."""
    path = card_of(training, out)
    if path is None:
        return []
    asked = [(suite_of(training.task, whole=training.seed == 0), load_card(path))]
    if training.arm != "blind":
        asked.append((suite_of(training.task, whole=False), load_card(f"shuffled-image:{path}")))
    return asked


@cache
def suite_of(task: str, *, whole: bool) -> LoadedSuite:
    """The suite of a task, or its first task alone under a name of its own."""
    loaded = load_suite(HERE / TASKS[task].suite)
    if whole:
        return loaded
    suite = loaded.suite.model_copy(update={"name": f"{loaded.name}-main", "tasks": loaded.suite.tasks[:1]})
    return LoadedSuite(suite, loaded.tasks[:1], loaded.path)


def sealed(suite: LoadedSuite, card: LoadedCard, out: Path) -> Run | None:
    """The latest sealed run of this network, by the weights as they are now, on this suite and test set."""
    if not (out / "data").is_dir():
        return None
    settings = card.settings(device="cpu", data=out / "data")
    key = plan_model(card, suite, open_tasks(suite, out / "data", None), settings).key
    stem = run_name(suite.name, card.name, key, 0)[:-3]
    done = sorted(p.parent for p in (out / "results").glob(f"{stem}[0-9][0-9][0-9]/{RECORD}"))
    return read_run(done[-1]) if done else None
