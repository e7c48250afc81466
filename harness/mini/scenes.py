"""Scenes of one to three plain shapes on a plain ground, with five true captions each.

A scene is 64 x 64 RGB. Each shape stands in a quarter of its own, moved and turned a little; shapes are always listed
in reading order (top left, top right, bottom left, bottom right), which makes captions learnable by small models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from harness.mini.canvas import Colour, Pixels, paint
from harness.mini.fonts import cut
from harness.mini.streams import Dice

SIZE_PX = 64
COLOURS: dict[str, Colour] = {
    "red": (214, 39, 40),
    "green": (34, 139, 34),
    "blue": (30, 80, 220),
    "yellow": (245, 215, 0),
    "purple": (148, 60, 190),
    "orange": (255, 140, 0),
    "cyan": (0, 190, 210),
}
SHAPES = ("circle", "square", "triangle", "cross")
RADII: dict[str, tuple[int, ...]] = {"small": (6, 7), "large": (11, 12)}
"""Radius in pixels of the circle; other shapes have about its area."""
PLACES = ("top left", "top right", "bottom left", "bottom right")
GROUNDS: dict[str, Colour] = {
    "white": (255, 255, 255),
    "gray": (170, 170, 170),
    "black": (15, 15, 15),
    "pink": (250, 215, 220),
}
_TURNS_DEG = (-10, -5, 0, 5, 10)
_FINE = 8


@dataclass(frozen=True, slots=True)
class Thing:
    """One shape of a scene."""

    colour: str
    shape: str
    size: str
    """`small` or `large`."""
    place: str
    radius_px: int
    turn_deg: int
    shift: tuple[float, float]
    """How far it is moved, as fractions in [0, 1) of the room that its quarter leaves."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a scene shows, before it is drawn."""

    things: tuple[Thing, ...]
    """In reading order; no two have both colour and shape in common."""
    ground: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn scene."""

    image: Pixels
    """(64, 64, 3) RGB."""
    captions: tuple[str, ...]
    """Five different true captions; the first is the one to train on."""
    layout: Layout


def draw(rng: np.random.Generator) -> Scene:
    """A random scene; about 0.1 ms."""
    layout = plan(Dice(rng))
    return Scene(render(layout), captions(layout), layout)


def plan(dice: Dice, counts: tuple[int, ...] = (1, 2, 3)) -> Layout:
    """A random layout whose number of shapes is one of `counts`."""
    kinds: list[tuple[str, str]] = []
    places = sorted(dice.sample(range(len(PLACES)), dice.pick(counts)))
    things = []
    for place in places:
        kind = (dice.pick(_COLOUR_NAMES), dice.pick(SHAPES))
        while kind in kinds:
            kind = (dice.pick(_COLOUR_NAMES), dice.pick(SHAPES))
        kinds.append(kind)
        size = "small" if dice.chance(0.5) else "large"
        shift = (dice.uniform(), dice.uniform())
        things.append(Thing(*kind, size, PLACES[place], dice.pick(RADII[size]), dice.pick(_TURNS_DEG), shift))
    return Layout(tuple(things), dice.pick(_GROUND_NAMES))


_COLOUR_NAMES = tuple(COLOURS)
_GROUND_NAMES = tuple(GROUNDS)


def render(layout: Layout) -> Pixels:
    """The picture of a layout, (64, 64, 3) RGB."""
    image = np.empty((SIZE_PX, SIZE_PX, 3), np.uint8)
    image[:] = GROUNDS[layout.ground]
    for thing in layout.things:
        ink = _ink(thing.shape, thing.radius_px, thing.turn_deg)
        x, y = _corner(thing, ink)
        paint(image, ink, x, y, COLOURS[thing.colour])
    return image


def middle(thing: Thing) -> tuple[float, float]:
    """Column and row of the middle of a shape, in pixels."""
    ink = _ink(thing.shape, thing.radius_px, thing.turn_deg)
    x, y = _corner(thing, ink)
    return x + ink.shape[1] / 2, y + ink.shape[0] / 2


def _corner(thing: Thing, ink: Pixels) -> tuple[int, int]:
    """Column and row of the upper left corner of a shape's ink."""
    half = SIZE_PX // 2
    row, column = divmod(PLACES.index(thing.place), 2)
    x = half * column + 1 + int(thing.shift[0] * (half - 1 - ink.shape[1]))
    y = half * row + 1 + int(thing.shift[1] * (half - 1 - ink.shape[0]))
    return x, y


@cache
def _ink(shape: str, radius_px: int, turn_deg: int) -> Pixels:
    """The mask of a shape, drawn at eight times its size and averaged down."""
    side = 32 * _FINE
    image = Image.new("L", (side, side))
    pen = ImageDraw.Draw(image)
    middle, r = side / 2, radius_px * _FINE
    if shape == "circle":
        pen.ellipse((middle - r, middle - r, middle + r, middle + r), fill=255)
    else:
        turn = math.radians(turn_deg)
        cos, sin = math.cos(turn), math.sin(turn)
        corners = [(middle + r * (x * cos - y * sin), middle + r * (x * sin + y * cos)) for x, y in _OUTLINES[shape]]
        pen.polygon(corners, fill=255)
    return cut(np.asarray(image.reduce(_FINE)), 0, 0, 0.0).ink


_ARM, _REACH = 0.36, 1.08
_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0.0, -1.12), (1.08, 0.8), (-1.08, 0.8)),
    "cross": (
        *((-_ARM, -_REACH), (_ARM, -_REACH), (_ARM, -_ARM), (_REACH, -_ARM), (_REACH, _ARM), (_ARM, _ARM)),
        *((_ARM, _REACH), (-_ARM, _REACH), (-_ARM, _ARM), (-_REACH, _ARM), (-_REACH, -_ARM), (-_ARM, -_ARM)),
    ),
}
"""Corners in units of the radius, y downwards."""


def captions(layout: Layout) -> tuple[str, ...]:
    """Five different true captions of a layout, the one to train on first.

    One names size, colour and shape; the others add places, the ground or the number, or leave out the size.
    """
    things, ground = layout.things, layout.ground
    full = listing([f"a {t.size} {t.colour} {t.shape}" for t in things])
    short = listing([with_article(f"{t.colour} {t.shape}") for t in things])
    placed = listing([f"{with_article(f'{t.colour} {t.shape}')} at the {t.place}" for t in things])
    number = ("one shape", "two shapes", "three shapes")[len(things) - 1]
    verb = "is" if len(things) == 1 else "are"
    return (
        full,
        f"{short} on a {ground} background",
        placed,
        f"there {verb} {number} in the picture: {short}",
        f"a {ground} picture with {full}",
    )


def listing(parts: list[str]) -> str:
    """Parts joined as in English: `a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def with_article(noun: str) -> str:
    """The noun with `a` or `an`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
