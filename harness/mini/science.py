"""School questions in the form of ScienceQA: three kinds with a small diagram, three of text alone.

Diagrams are 64 x 64 RGB: particles in two beakers (which solution is more concentrated), two bar magnets (do they
attract or repel), and scenes of shapes. The facts behind the text questions are few and fixed; the numbers are random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from harness.mini.canvas import Colour, Pixels, paint
from harness.mini.fonts import dejavu_sans, text_mask
from harness.mini.questions import compose
from harness.mini.scenes import COLOURS, SIZE_PX, captions, render
from harness.mini.streams import Dice

_WHITE: Colour = (255, 255, 255)
_INK: Colour = (30, 30, 30)
_NORTH: Colour = (205, 45, 45)
_SOUTH: Colour = (50, 100, 205)
_ANIMALS = {
    "mammal": ("horse", "whale", "rabbit", "bat", "wolf"),
    "bird": ("eagle", "penguin", "duck", "owl", "ostrich"),
    "fish": ("salmon", "shark", "trout", "tuna", "seahorse"),
    "reptile": ("lizard", "turtle", "snake", "crocodile", "gecko"),
    "amphibian": ("frog", "newt", "toad", "salamander", "axolotl"),
}
_GOODS = ("apples", "pencils", "stamps", "marbles", "shells", "books")
_NAMES = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn")
_WORDS = (
    "amber",
    "basin",
    "candle",
    "delta",
    "ember",
    "forest",
    "glacier",
    "harbor",
    "island",
    "jungle",
    "kettle",
    "lemon",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with the fields of ScienceQA."""

    kind: str
    """`mixture`, `magnets`, `shapes`, `arithmetic`, `animals` or `alphabet`."""
    question: str
    choices: tuple[str, ...]
    answer: int
    """Index of the right choice."""
    hint: str
    image: Pixels | None
    """(64, 64, 3) RGB, or no picture."""
    caption: str
    """What a captioner would say of the picture; empty without one."""
    grade: str
    subject: str
    topic: str
    category: str
    skill: str
    lecture: str
    solution: str


def draw(rng: np.random.Generator, *, with_image: bool) -> Problem:
    """A random problem with or without a picture; about 0.1 ms."""
    dice = Dice(rng)
    return dice.pick(_PICTURED if with_image else _TEXT)(dice)


def _mixture(dice: Dice) -> Problem:
    left, right = dice.between(2, 8), dice.between(2, 8)
    if dice.chance(0.25):
        right = left
    texts = ("neither; their concentrations are the same", "Solution A", "Solution B")
    right_text = texts[(left != right) * (1 + (right > left))]
    colour = dice.pick(("blue", "green", "purple"))
    image = np.full((SIZE_PX, SIZE_PX, 3), 255, np.uint8)
    for x0, count, name in ((2, left, "A"), (34, right, "B")):
        image[4:48, x0 : x0 + 28] = (222, 238, 250)
        image[4:48, (x0, x0 + 27)] = _INK
        image[47, x0 : x0 + 28] = _INK
        for cell in dice.sample(range(12), count):
            paint(image, _dot(), x0 + 3 + 8 * (cell % 3), 6 + 10 * (cell // 3), COLOURS[colour])
        _name(image, name, x0 + 14, 60)
    choices = tuple(dice.shuffled(texts))
    return Problem(
        kind="mixture",
        question=f"Which solution has a higher concentration of {colour} particles?",
        choices=choices,
        answer=choices.index(right_text),
        hint=f"The diagram is a model of two solutions. Each {colour} ball is one particle. Both have the same volume.",
        image=image,
        caption=f"Two beakers with {colour} dots.",
        grade="grade6",
        subject="natural science",
        topic="chemistry",
        category="Solutions",
        skill="Compare concentrations of solutions",
        lecture="The concentration of a solution is the number of its particles in a given volume.",
        solution=f"Solution A has {left} particles and Solution B has {right} in the same volume.",
    )


def _magnets(dice: Dice) -> Problem:
    attract = dice.chance(0.5)
    first = dice.chance(0.5)
    second = first if attract else not first
    image = np.full((SIZE_PX, SIZE_PX, 3), 255, np.uint8)
    top, left = dice.between(8, 40), dice.between(1, 3)
    for x0, north_first in ((left, first), (left + 27 + dice.between(3, 6), second)):
        for x, north in ((x0, north_first), (x0 + 14, not north_first)):
            image[top : top + 16, x : x + 13] = _NORTH if north else _SOUTH
            _name(image, "N" if north else "S", x + 6, top + 12, _WHITE)
    choices = tuple(dice.shuffled(("attract", "repel")))
    return Problem(
        kind="magnets",
        question="Will these magnets attract or repel each other?",
        choices=choices,
        answer=choices.index("attract" if attract else "repel"),
        hint="Two magnets are placed as shown. N is a north pole and S is a south pole.",
        image=image,
        caption="Two bars, each half red and half blue.",
        grade="grade4",
        subject="natural science",
        topic="physics",
        category="Velocity, acceleration, and forces",
        skill="Predict if magnets will attract or repel",
        lecture="Unlike poles that face each other attract; like poles that face each other repel.",
        solution=f"The poles that face each other are {'unlike' if attract else 'alike'}.",
    )


def _shapes(dice: Dice) -> Problem:
    layout, asked = compose(dice, ("shape_at_place", "colour_of_shape", "count", "place"))
    return Problem(
        kind="shapes",
        question=asked.question,
        choices=asked.options,
        answer=asked.answer,
        hint=asked.hint,
        image=render(layout),
        caption=captions(layout)[0],
        grade="grade1",
        subject="natural science",
        topic="science-and-engineering-practices",
        category="Observing",
        skill="Describe what is seen in a picture",
        lecture="",
        solution=f"The picture shows {captions(layout)[2]}.",
    )


def _arithmetic(dice: Dice) -> Problem:
    name, goods = dice.pick(_NAMES), dice.pick(_GOODS)
    a, b = dice.between(5, 20), dice.between(2, 9)
    if dice.chance(0.5):
        result, text, sign = a + b, f"{name} has {a} {goods} and finds {b} more.", "+"
    else:
        a += b
        result, text, sign = a - b, f"{name} has {a} {goods} and gives away {b}.", "-"
    wrong = dice.sample([result + d for d in (-3, -2, -1, 1, 2, 3) if result + d > 0], 3)
    choices = tuple(str(v) for v in dice.shuffled((result, *wrong)))
    return Problem(
        kind="arithmetic",
        question=f"How many {goods} does {name} have now?",
        choices=choices,
        answer=choices.index(str(result)),
        hint=text,
        image=None,
        caption="",
        grade="grade2",
        subject="natural science",
        topic="science-and-engineering-practices",
        category="Calculation",
        skill="Add and subtract whole numbers",
        lecture="",
        solution=f"{a} {sign} {b} = {result}.",
    )


def _animals(dice: Dice) -> Problem:
    group, *others = dice.sample(tuple(_ANIMALS), dice.between(2, 4))
    right = dice.pick(_ANIMALS[group])
    choices = tuple(dice.shuffled([right, *(dice.pick(_ANIMALS[o]) for o in others)]))
    return Problem(
        kind="animals",
        question=f"Which of these animals is {'an' if group[0] == 'a' else 'a'} {group}?",
        choices=choices,
        answer=choices.index(right),
        hint="",
        image=None,
        caption="",
        grade="grade3",
        subject="natural science",
        topic="biology",
        category="Classification",
        skill="Identify mammals, birds, fish, reptiles, and amphibians",
        lecture="Scientists sort animals into groups by traits that they share.",
        solution=f"The {right} is {'an' if group[0] == 'a' else 'a'} {group}.",
    )


def _alphabet(dice: Dice) -> Problem:
    choices = tuple(dice.sample(_WORDS, dice.between(2, 4)))
    first = min(choices)
    return Problem(
        kind="alphabet",
        question="Which word comes first in the dictionary?",
        choices=choices,
        answer=choices.index(first),
        hint="",
        image=None,
        caption="",
        grade="grade2",
        subject="language science",
        topic="reference-skills",
        category="Reference skills",
        skill="Put words in alphabetical order",
        lecture="A dictionary lists words by their first letter.",
        solution=f"Of the first letters, {first[0]} comes first in the alphabet.",
    )


@cache
def _dot() -> Pixels:
    axis = (np.arange(28) + 0.5) / 4 - 3.5
    inside = (axis[None, :] ** 2 + axis[:, None] ** 2 <= 3.2**2).reshape(7, 4, 7, 4)
    steps: Pixels = (np.rint(inside.mean(axis=(1, 3)) * 15) * 17).astype(np.uint8)
    return steps


def _name(image: Pixels, text: str, x: int, base: int, colour: Colour = _INK) -> None:
    mask = text_mask(dejavu_sans(), 11, text)
    paint(image, mask.ink, x - mask.width // 2, base + mask.top, colour)


_PICTURED: tuple[Callable[[Dice], Problem], ...] = (_mixture, _magnets, _shapes)
_TEXT: tuple[Callable[[Dice], Problem], ...] = (_arithmetic, _animals, _alphabet)
