"""Held-out examples answered by the checkpoint through its model family, as a run would ask them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from harness import registry
from harness.mini.streams import stream
from harness.models.base import Model, ModelInput
from harness.records import GenerationSettings, ModelSettings, Problem, Request
from harness.training.examples import Example, Source
from harness.training.recipe import Recipe
from harness.training.state import Point, State
from harness.training.trainee import Trainee

_BATCH = 64


def validated(trainee: Trainee, source: Source, recipe: Recipe, checkpoint: Path, state: State) -> Point:
    """A point of the curve. The checkpoint that was asked is left beside `checkpoint`, in `validated`."""
    fresh = checkpoint.with_name("validated")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(parents=True)
    trainee.network.eval()
    trainee.save(fresh)
    held_out = held_out_examples(source, recipe)
    answers = answered(trainee, fresh, recipe, held_out)
    right: Counter[str] = Counter()
    for example, answer in zip(held_out, answers, strict=True):
        right[example.kind] += is_right(example, answer)
    asked = Counter(e.kind for e in held_out)
    loss = held_out_loss(trainee, held_out)
    return Point(
        step=state.step, samples=state.samples, cpu_s=round(state.cpu_s, 1), wall_s=round(state.wall_s, 1),
        loss=float(np.mean(state.losses)), exact=sum(right.values()) / len(held_out), held_out_loss=loss,
        n=len(held_out), by_kind={kind: (right[kind], asked[kind]) for kind in sorted(asked)},
    )  # fmt: skip


def held_out_examples(source: Source, recipe: Recipe) -> list[Example]:
    """The validation examples of a recipe, the same at every step."""
    rng = stream(recipe.seed, "training", "validation")
    return [source.held_out(rng) for _ in range(recipe.validation.examples)]


def held_out_loss(trainee: Trainee, examples: Sequence[Example]) -> float:
    """Mean cross-entropy over the examples, in batches of 64."""
    losses = []
    with torch.inference_mode():
        for start in range(0, len(examples), _BATCH):
            batch = examples[start : start + _BATCH]
            losses.append((float(trainee.loss(batch)), len(batch)))
    return sum(loss * n for loss, n in losses) / sum(n for _, n in losses)


def answered(trainee: Trainee, folder: Path, recipe: Recipe, examples: Sequence[Example]) -> list[str | None]:
    """The answer to the first turn of each example; `None` where there is none."""
    family: type[Model] = registry.load("models", trainee.family)
    run = trainee.run_part()
    settings = ModelSettings(
        name=recipe.name, family=trainee.family, checkpoint=str(folder.resolve()), template=run.get("template", ""),
        options=run.get("options", {}),
    )  # fmt: skip
    model = family.load(settings)
    most = GenerationSettings(max_new_tokens=recipe.validation.max_new_tokens)
    answers: list[str | None] = []
    for start in range(0, len(examples), _BATCH):
        inputs = [_input(family, settings, e, start + k, most) for k, e in enumerate(examples[start : start + _BATCH])]
        for given in model.generate(model.prepare(inputs), most):
            answers.append(None if isinstance(given, Problem) else given.text)
    model.close()
    return answers


def _input(
    family: type[Model], settings: ModelSettings, example: Example, number: int, most: GenerationSettings
) -> ModelInput:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    images = tuple(Image.fromarray(i).convert("RGB") for i in example.images)
    template = ImmutableSandboxedEnvironment(keep_trailing_newline=True).from_string(family.default_template(settings))
    prompt = template.render(text=example.turns[0].prompt, images=len(images))
    return ModelInput(Request(str(number), "validation", str(number), prompt, generation=most), images)


def is_right(example: Example, answer: str | None) -> bool:
    """Whether an answer equals an accepted one, blanks at the ends and repeated ones aside, whatever the case."""
    if answer is None:
        return False
    turn = example.turns[0]
    return _plain(answer) in {_plain(accepted) for accepted in (turn.answer, *turn.accepted)}


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
