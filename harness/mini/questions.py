"""Multiple-choice questions about scenes in the form of MMBench, with its categories.

Exactly one option is right. Wrong options are drawn evenly, so that options alone say nothing; their order is random.
About three in four questions have four options; those about the number have three, and comparisons two (`Yes` and `No`,
equally likely).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.mini.canvas import Pixels
from harness.mini.scenes import COLOURS, PLACES, SHAPES, Layout, Thing, plan, render
from harness.mini.streams import Dice

LETTERS = "ABCD"
_INSTANCE = "finegrained_perception (instance-level)"
_CROSS = "finegrained_perception (cross-instance)"
CATEGORIES = {
    "attribute_recognition": _INSTANCE,
    "object_localization": _INSTANCE,
    "attribute_comparison": _CROSS,
    "spatial_relationship": _CROSS,
}
"""Category → l2-category, as MMBench names them."""


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """One question with its options."""

    kind: str
    """`colour_at_place`, `shape_at_place`, `colour_of_shape`, `count`, `place`, `same_size` or `above`."""
    question: str
    options: tuple[str, ...]
    answer: int
    """Index of the right option."""
    category: str
    hint: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A scene with a question about it."""

    image: Pixels
    """(64, 64, 3) RGB."""
    layout: Layout
    question: ChoiceQuestion


def draw(rng: np.random.Generator) -> Asked:
    """A random scene and question; about 0.1 ms."""
    dice = Dice(rng)
    layout, question = compose(dice)
    return Asked(render(layout), layout, question)


def compose(dice: Dice, kinds: Sequence[str] = ()) -> tuple[Layout, ChoiceQuestion]:
    """A random scene with a question of one of the kinds, each equally often.

    By default all kinds occur, those with four options twice as often as the others.
    """
    kind = dice.pick(kinds or _MIX)
    while True:
        layout = plan(dice)
        made = _MAKERS[kind](dice, layout)
        if made is not None:
            return layout, made


def about(dice: Dice, layout: Layout) -> ChoiceQuestion:
    """A random question about a scene that is there already, of a kind that can be asked of it."""
    while True:
        made = _MAKERS[dice.pick(_MIX)](dice, layout)
        if made is not None:
            return made


def _made(
    dice: Dice, kind: str, question: str, right: str, wrong: Sequence[str], category: str, hint: str = ""
) -> ChoiceQuestion:
    options = dice.shuffled((right, *wrong))
    return ChoiceQuestion(kind, question, tuple(options), options.index(right), category, hint)


def _others(dice: Dice, everything: Sequence[str], right: str) -> list[str]:
    return dice.sample([x for x in everything if x != right], 3)


def _colour_at_place(dice: Dice, layout: Layout) -> ChoiceQuestion:
    thing = dice.pick(layout.things)
    wrong = _others(dice, tuple(COLOURS), thing.colour)
    question = f"What color is the shape at the {thing.place}?"
    return _made(dice, "colour_at_place", question, thing.colour, wrong, "attribute_recognition")


def _shape_at_place(dice: Dice, layout: Layout) -> ChoiceQuestion:
    thing = dice.pick(layout.things)
    question = f"Which shape is at the {thing.place}?"
    return _made(
        dice, "shape_at_place", question, thing.shape, _others(dice, SHAPES, thing.shape), "attribute_recognition"
    )


def _colour_of_shape(dice: Dice, layout: Layout) -> ChoiceQuestion | None:
    thing = dice.pick(layout.things)
    if sum(t.shape == thing.shape for t in layout.things) > 1:
        return None
    wrong = _others(dice, tuple(COLOURS), thing.colour)
    question = f"What color is the {thing.shape}?"
    return _made(dice, "colour_of_shape", question, thing.colour, wrong, "attribute_recognition")


def _count(dice: Dice, layout: Layout) -> ChoiceQuestion:
    right = str(len(layout.things))
    wrong = [n for n in ("1", "2", "3") if n != right]
    hint = "Count every shape, whatever its color and size." if dice.chance(0.5) else ""
    return _made(dice, "count", "How many shapes are in the picture?", right, wrong, "object_localization", hint)


def _place(dice: Dice, layout: Layout) -> ChoiceQuestion:
    thing = dice.pick(layout.things)
    wrong = [p for p in PLACES if p != thing.place]
    hint = "The picture has four quarters:\ntop left, top right, bottom left and bottom right."
    question = f"Where is the {thing.colour} {thing.shape}?"
    return _made(dice, "place", question, thing.place, wrong, "object_localization", hint if dice.chance(0.5) else "")


def _same_size(dice: Dice, layout: Layout) -> ChoiceQuestion | None:
    if len(layout.things) < 2:
        return None
    a, b = dice.sample(layout.things, 2)
    wanted = dice.chance(0.5)
    if (a.size == b.size) != wanted:
        return None
    question = f"Are the {_name(a)} and the {_name(b)} the same size?"
    return _yes_no(question, wanted, dice, "same_size", "attribute_comparison")


def _above(dice: Dice, layout: Layout) -> ChoiceQuestion | None:
    if len(layout.things) < 2:
        return None
    a, b = dice.sample(layout.things, 2)
    if a.place.split()[0] == b.place.split()[0]:
        return None
    question = f"Is the {_name(a)} higher up in the picture than the {_name(b)}?"
    return _yes_no(question, a.place.startswith("top"), dice, "above", "spatial_relationship")


def _yes_no(question: str, truth: bool, dice: Dice, kind: str, category: str) -> ChoiceQuestion:
    right, wrong = ("Yes", "No") if truth else ("No", "Yes")
    return _made(dice, kind, question, right, [wrong], category)


def _name(thing: Thing) -> str:
    return f"{thing.colour} {thing.shape}"


_MAKERS: dict[str, Callable[[Dice, Layout], ChoiceQuestion | None]] = {
    "colour_at_place": _colour_at_place,
    "shape_at_place": _shape_at_place,
    "colour_of_shape": _colour_of_shape,
    "count": _count,
    "place": _place,
    "same_size": _same_size,
    "above": _above,
}
KINDS = tuple(_MAKERS)
_MIX = (*KINDS, "colour_at_place", "shape_at_place", "colour_of_shape", "place")
