"""A training without answers to validate: the steps of `train.py`, kept on disk, and nothing else.

For networks that no model family asks: `painter` (texts to pictures) and `wavelet-clip` (pictures to embeddings). What
such a network is worth is measured afterwards by whoever trained it.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from harness.errors import TrainingError
from harness.fingerprint import fingerprint
from harness.training.examples import Source, batches
from harness.training.progress import Progress, Silent
from harness.training.recipe import Recipe
from harness.training.state import State, load_state, save_state
from harness.training.train import chained, made_optimiser, update
from harness.training.trainee import Trainee

T = TypeVar("T", bound=Trainee)
_MEASURED_STREAM = 2048
"""Second part of the seed of the measured examples, as in `train.made_trainee`."""


def fresh(kind: type[T], recipe: Recipe, source: Source, where: str, *, measured: int = 1024) -> T:
    """A trainee whose first weights follow from the recipe.

    Args:
        measured: training examples that statistics are taken from.
        where: what an error message calls the recipe.

    Raises:
        TrainingError: an option of the recipe that the trainee does not have.
    """
    rng = np.random.default_rng([recipe.seed, _MEASURED_STREAM])
    examples = [source.draw(rng, 1.0) for _ in range(measured)]
    torch.manual_seed(recipe.seed)
    made = kind.made(kind.checked(recipe.network, where), source.texts(), examples)
    assert isinstance(made, kind)
    return made


def fit(
    trainee: Trainee, recipe: Recipe, source: Source, out: Path, *, progress: Progress | None = None,
    save_every_s: float = 30.0,
) -> State:  # fmt: skip
    """Train to the last step, and write `checkpoint/` in `out`; a training that was begun there goes on.

    A training that was stopped ends with the weights of one that was not.

    Raises:
        TrainingError: the folder holds the state of another recipe, or the loss is no number.
    """
    out.mkdir(parents=True, exist_ok=True)
    key = fingerprint(recipe.model_dump(mode="json"))
    optimiser = made_optimiser(trainee, recipe)
    state = load_state(out, key, trainee, optimiser) if (out / "state.pt").is_file() else State()
    shown, settings = progress or Silent(), recipe.optimiser
    shown.begin(recipe.name, settings.steps, state.step)
    clock, saved = _Clock(state), time.monotonic()
    for batch in batches(source, recipe.seed, settings.batch * settings.accumulate, settings.steps, state.step):
        loss = update(trainee, optimiser, recipe, state.step, batch)
        if not math.isfinite(loss):
            raise TrainingError(f"{out}: the loss of step {state.step + 1} is {loss}; lower optimiser.learning_rate")
        state.advance(loss, chained(state.data, batch), len(batch), clock)
        shown.step(state.step, loss)
        if state.step == settings.steps or time.monotonic() - saved >= save_every_s:
            save_state(out, key, state, trainee, optimiser)
            saved = time.monotonic()
    trainee.network.eval()
    checkpoint = out / "checkpoint"
    checkpoint.mkdir(exist_ok=True)
    trainee.save(checkpoint)
    return state


class _Clock:
    """Seconds since the training began, over all its processes."""

    def __init__(self, state: State) -> None:
        self._cpu_s, self._wall_s = state.cpu_s - time.process_time(), state.wall_s - time.monotonic()

    @property
    def cpu_s(self) -> float:
        return self._cpu_s + time.process_time()

    @property
    def wall_s(self) -> float:
        return self._wall_s + time.monotonic()
