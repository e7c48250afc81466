"""The training loop from recipe to checkpoint and card; read this file first.

Everything that a step does follows from the recipe and the number of the step: its examples, its learning rate, its
random numbers. So a training that was killed goes on from its last state and ends with the weights of one that was not.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.errors import TrainingError, UnknownNameError
from harness.training.card import write_card
from harness.training.examples import Example, Source, batches
from harness.training.progress import Progress, Silent
from harness.training.recipe import Recipe
from harness.training.sources import mixture_of
from harness.training.state import Curve, State, load_state, save_state
from harness.training.trainee import Trainee
from harness.training.validation import validated

TRAINEES: Mapping[str, str] = {
    "wavelet": "harness.training.trainees.wavelet:WaveletTrainee",
    "wavelet-language": "harness.training.trainees.language:LanguageTrainee",
    "llava": "harness.training.trainees.llava:LlavaTrainee",
    "blip2": "harness.training.trainees.blip2:Blip2Trainee",
    "mplug": "harness.training.trainees.mplug:MplugTrainee",
}
"""Name in a recipe → class."""
_SAVING_SHARE = 0.05
"""Most of the time that may go into writing states, whatever `save_every_s` says."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training made."""

    card: Path
    checkpoint: Path
    curve: Curve
    stopped_early: bool


def train(
    recipe: Recipe, out: Path, *, resume: bool = False, where: str = "recipe", progress: Progress | None = None,
    save_every_s: float = 30.0, device: str = "cpu",
) -> Trained:  # fmt: skip
    """A checkpoint with its card in `out`.

    Args:
        out: a new or empty folder; with `resume`, one in which this recipe was begun.
        where: what an error message calls the recipe.
        save_every_s: seconds between two states on disk; what was done since is done again after a kill. Large states
            are written less often, so that at most a twentieth of the time goes into them.
        device: where the network is trained, such as `cuda`.

    Raises:
        TrainingError: the folder is in use for something else, the loss is no number, or the recipe is wrong.
    """
    shown = progress or Silent()
    key = recipe.identity()
    source = mixture_of(recipe, where)
    trainee = made_trainee(recipe, source, where)
    trainee.network.to(device)
    optimiser = made_optimiser(trainee, recipe)
    state = _opened(out, key, resume, trainee, optimiser)
    checkpoint = out / "checkpoint"
    settings = recipe.optimiser
    shown.begin(recipe.name, settings.steps, state.step)
    last_saved, saving_s, clock = time.monotonic(), 0.0, _Clock(state)
    stopped = False
    cost = multiply_adds(trainee, next(batches(source, recipe.seed, settings.batch, 1)))
    for batch in batches(source, recipe.seed, settings.batch * settings.accumulate, settings.steps, state.step):
        loss = update(trainee, optimiser, recipe, state.step, batch)
        if not math.isfinite(loss):
            raise TrainingError(f"{out}: the loss of step {state.step + 1} is {loss}; lower optimiser.learning_rate")
        state.advance(loss, chained(state.data, batch), len(batch), clock)
        shown.step(state.step, loss)
        due = state.step % recipe.validation.every == 0 or state.step == settings.steps
        if due:
            point = validated(trainee, source, recipe, checkpoint, state)
            better = state.add(point)
            if better:
                _publish(checkpoint)
            shown.validated(point)
            stopped = state.no_better_since(recipe.validation.patience)
        begun = time.monotonic()
        if due or stopped or begun - last_saved >= max(save_every_s, saving_s / _SAVING_SHARE):
            save_state(out, key, state, trainee, optimiser)
            last_saved = time.monotonic()
            saving_s = last_saved - begun
        if stopped:
            break
    card = write_card(out, recipe, trainee, state, checkpoint, cost)
    shown.end(card)
    return Trained(card, checkpoint, tuple(state.curve), stopped)


def made_trainee(recipe: Recipe, source: Source, where: str) -> Trainee:
    """The trainee of the recipe, its first weights drawn from the recipe's seed."""
    import importlib

    if recipe.trainee not in TRAINEES:
        raise UnknownNameError.of("trainee", recipe.trainee, TRAINEES)
    module, _, name = TRAINEES[recipe.trainee].partition(":")
    kind: type[Trainee] = getattr(importlib.import_module(module), name)
    rng = np.random.default_rng([recipe.seed, kind.measured])
    measured = [source.draw(rng, 1.0) for _ in range(kind.measured)]
    torch.manual_seed(recipe.seed)
    return kind.made(kind.checked(recipe.network, where), source.texts(), measured)


def made_optimiser(trainee: Trainee, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with decay on matrices alone."""
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, weight in trainee.network.named_parameters():
        if weight.requires_grad:
            (others if trainee.no_decay(name, weight) else decayed).append(weight)
    settings = recipe.optimiser
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def rate(step: int, recipe: Recipe) -> float:
    """The learning rate of a step: linear warm-up, then a cosine down to `last`."""
    settings = recipe.optimiser
    warm = min(1.0, (step + 1) / max(1, settings.warm_up))
    cosine = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return settings.learning_rate * warm * (settings.last + (1 - settings.last) * cosine)


def update(
    trainee: Trainee, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, batch: Sequence[Example]
) -> float:
    """One update from one or more batches; returns the mean loss."""
    torch.manual_seed(hash((recipe.seed, step)) & 0x7FFFFFFF)
    for group in optimiser.param_groups:
        group["lr"] = rate(step, recipe)
    optimiser.zero_grad(set_to_none=True)
    trainee.network.train()
    parts, size = recipe.optimiser.accumulate, recipe.optimiser.batch
    total = 0.0
    for number in range(parts):
        with precision(trainee, recipe.dtype):
            loss = trainee.loss(batch[number * size : (number + 1) * size]) / parts
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(trained, recipe.optimiser.clip)
    optimiser.step()
    return total


def precision(trainee: Trainee, dtype: str) -> AbstractContextManager[Any]:
    """bfloat16 products where they are asked for or, by `auto`, where the processor has them in hardware."""
    device = next(trainee.network.parameters()).device.type
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else _cpu_has_bfloat16()
    if dtype == "bfloat16" or (dtype == "auto" and fast):
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def chained(before: str, batch: Sequence[Example]) -> str:
    """SHA-256 over the hash so far and everything of a batch: two trainings saw the same data when it is equal."""
    digest = hashlib.sha256(before.encode())
    for example in batch:
        for image in example.images:
            digest.update(f"{image.shape}".encode())
            digest.update(np.ascontiguousarray(image).tobytes())
        for turn in example.turns:
            digest.update(f"{turn.prompt}\x1f{turn.answer}\x1e".encode())
    return digest.hexdigest()


def multiply_adds(trainee: Trainee, batch: Sequence[Example]) -> int:
    """Multiply-adds of forward and backward for one example, counted by torch on one batch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        trainee.loss(batch).backward()  # type: ignore[no-untyped-call]
    trainee.network.zero_grad(set_to_none=True)
    return int(counter.get_total_flops() // 2 // len(batch))


def _opened(out: Path, key: str, resume: bool, trainee: Trainee, optimiser: torch.optim.Optimizer) -> State:
    """The state to go on from: that of the folder, or a fresh one in a new folder."""
    if (out / "state.pt").is_file():
        if not resume:
            raise TrainingError(f"{out}: a training was begun here; give --resume to go on with it, or a new folder")
        return load_state(out, key, trainee, optimiser)
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out}: is not empty and holds no training; give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    return State()


def _publish(checkpoint: Path) -> None:
    """Put the freshly validated checkpoint in the place of the last one, whole or not at all."""
    fresh = checkpoint.with_name("validated")
    old = checkpoint.with_name("replaced")
    if checkpoint.exists():
        checkpoint.rename(old)
    fresh.rename(checkpoint)
    if old.exists():
        import shutil

        shutil.rmtree(old)


class _Clock:
    """Seconds since the training began, over all its processes."""

    def __init__(self, state: State) -> None:
        self._cpu_s, self._wall_s = state.cpu_s, state.wall_s
        self._cpu_begun, self._wall_begun = time.process_time(), time.monotonic()

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time."""
        return self._cpu_s + time.process_time() - self._cpu_begun

    @property
    def wall_s(self) -> float:
        """Seconds on the clock."""
        return self._wall_s + time.monotonic() - self._wall_begun
