"""Random small charts with their tables: vertical bars, horizontal bars, a line, and a pie with a legend.

A picture is 128 x 128 RGB. Rows of the table are in drawing order: left to right, top to bottom, clockwise from
twelve o'clock; the legend has the same order. Values are whole numbers up to 10 or 20, printed in half of the charts
and only to be read off the axis in the other half; pies show multiples of ten that sum to 100.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from harness.mini.canvas import Colour, Pixels, paint
from harness.mini.fonts import Mask, dejavu_sans, stepped, text_mask
from harness.mini.streams import Dice

SIZE_PX = 128
Kind = Literal["bar", "hbar", "line", "pie"]
Place = tuple[float, float]
Places = tuple[list[Place], list[Place]]
KINDS: tuple[Kind, ...] = ("bar", "hbar", "line", "pie")
LABELS = (
    *("tea", "milk", "rice", "corn", "fish", "beef", "oats", "eggs", "salt", "plum"),
    *("pear", "lime", "kiwi", "nuts", "soup", "cake", "ham", "jam", "figs", "peas"),
)
TITLES = ("sales", "cost", "visits", "score", "weight", "votes", "stock", "orders", "users", "trips")
COLOURS: dict[str, Colour] = {
    "red": (205, 45, 45),
    "green": (45, 145, 60),
    "blue": (50, 100, 205),
    "yellow": (235, 200, 30),
    "purple": (140, 80, 180),
    "orange": (240, 140, 30),
    "cyan": (40, 185, 200),
}
GROUNDS: tuple[Colour, ...] = ((255, 255, 255), (245, 245, 245), (250, 246, 232), (236, 243, 250))
_NAMES = tuple(COLOURS)
_INK: Colour = (30, 30, 30)
_FAINT: Colour = (205, 205, 205)
_LIGHT: Colour = (255, 255, 255)
_ON = {name: _LIGHT if name in ("red", "green", "blue", "purple") else _INK for name in COLOURS}
"""Colour of text on each colour."""
_TITLE_PX, _WORD_PX, _VALUE_PX, _TICK_PX = 11, 10, 9, 8
PIE_RADIUS_PX = 37
_FINE = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What a chart shows, before it is drawn."""

    kind: Kind
    title: str
    labels: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[str, ...]
    """Name of the colour of each row; all alike in charts of one colour."""
    maximum: int
    """End of the value axis, 10 or 20; 100 for a pie."""
    printed: bool
    """Whether the values are written into the chart."""
    grid: bool
    ground: Colour
    shift: tuple[int, int]
    """How far the plot is moved right and down, in pixels."""
    bar_share: float
    """Width of a bar as a share of its place."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn chart."""

    image: Pixels
    """(128, 128, 3) RGB."""
    plan: Plan
    label_places: tuple[Place, ...]
    """Middle of each label's ink, column and row in pixels."""
    value_places: tuple[Place, ...]
    """Where each value is to be seen: the end of its bar, its marker, the inside of its slice."""


def draw(rng: np.random.Generator, counts: tuple[int, ...] = (2, 3, 4), kinds: tuple[Kind, ...] = KINDS) -> Chart:
    """A random chart of one of `kinds` whose number of rows is one of `counts`, each within 2..4; about 0.2 ms."""
    made = plan(Dice(rng), counts, kinds)
    image, (labels, values) = _drawn(made)
    return Chart(image, made, tuple(labels), tuple(values))


def plan(dice: Dice, counts: tuple[int, ...] = (2, 3, 4), kinds: tuple[Kind, ...] = KINDS) -> Plan:
    """A random plan of one of `kinds` whose number of rows is one of `counts`."""
    kind = dice.pick(kinds)
    n = dice.pick(counts)
    if kind == "pie":
        maximum, values = 100, _slices(dice, n)
    else:
        maximum = dice.pick((10, 20))
        values = tuple(dice.between(1, maximum) for _ in range(n))
    one_colour = kind == "line" or (kind != "pie" and dice.chance(0.5))
    colours = (dice.pick(_NAMES),) * n if one_colour else tuple(dice.sample(_NAMES, n))
    return Plan(
        kind=kind,
        title=dice.pick(TITLES),
        labels=tuple(dice.sample(LABELS, n)),
        values=values,
        colours=colours,
        maximum=maximum,
        printed=dice.chance(0.5),
        grid=dice.chance(0.6),
        ground=dice.pick(GROUNDS),
        shift=(dice.below(3), dice.below(3)),
        bar_share=0.5 + 0.25 * dice.uniform(),
    )


def _slices(dice: Dice, n: int) -> tuple[int, ...]:
    """`n` multiples of ten that sum to 100, all ways of cutting equally likely."""
    cuts = [0, *sorted(dice.sample(range(1, 10), n - 1)), 10]
    return tuple(10 * (b - a) for a, b in pairwise(cuts))


def table(made: Plan) -> list[tuple[str, str]]:
    """Rows of the chart's table: the header `Entity` and title, then each label with its value."""
    return [("Entity", made.title), *((a, str(b)) for a, b in zip(made.labels, made.values, strict=True))]


def render(made: Plan) -> Pixels:
    """The picture of a plan, (128, 128, 3) RGB."""
    return _drawn(made)[0]


def _drawn(made: Plan) -> tuple[Pixels, Places]:
    """The picture and the places of its labels and values."""
    image = np.empty((SIZE_PX, SIZE_PX, 3), np.uint8)
    image[:] = made.ground
    _write(image, made.title, _TITLE_PX, 64 + made.shift[0], 11, align=0.5)
    draw_kind = {"bar": _upright, "line": _upright, "hbar": _lying, "pie": _pie}[made.kind]
    return image, draw_kind(image, made)


def _upright(image: Pixels, made: Plan) -> Places:
    """Bars or a line over categories from left to right."""
    dx, dy = made.shift
    left, right, top, bottom = 16 + dx, 126, 26 + dy, 112 + dy
    unit = 86 / made.maximum
    for tick in range(0, made.maximum + 1, made.maximum // (5 if made.maximum == 10 else 4)):
        y = bottom - round(tick * unit)
        if made.grid:
            image[y, left:right] = _FAINT
        image[y, left - 2 : left] = _INK
        _write(image, str(tick), _TICK_PX, left - 4, y + 3, align=1.0)
    pitch = (right - left) / len(made.values)
    middles = [left + pitch * (i + 0.5) for i in range(len(made.values))]
    heights = [bottom - round(v * unit) for v in made.values]
    if made.kind == "bar":
        half = pitch * made.bar_share / 2
        for x, y, colour in zip(middles, heights, made.colours, strict=True):
            image[y:bottom, round(x - half) : round(x + half)] = COLOURS[colour]
    else:
        _line(image, middles, heights, COLOURS[made.colours[0]])
    image[top : bottom + 1, left] = _INK
    image[bottom, left:right] = _INK
    places = []
    for x, y, label, value in zip(middles, heights, made.labels, made.values, strict=True):
        places.append(_write(image, label, _WORD_PX, x, bottom + 11, align=0.5))
        if made.printed:
            _write(image, str(value), _VALUE_PX, x, y - (2 if made.kind == "bar" else 4), align=0.5, ground=made.ground)
    return places, [(x, float(y)) for x, y in zip(middles, heights, strict=True)]


def _line(image: Pixels, xs: list[float], ys: list[int], colour: Colour) -> None:
    """A line with round markers, drawn at a multiple of its size and averaged down."""
    left, right, top, bottom = int(xs[0]) - 4, int(xs[-1]) + 5, min(ys) - 4, max(ys) + 5
    mask = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
    pen = ImageDraw.Draw(mask)
    points = [((x - left) * _FINE, (y - top + 0.5) * _FINE) for x, y in zip(xs, ys, strict=True)]
    pen.line(points, fill=255, width=2 * _FINE - 2)
    for x, y in points:
        r = 2.8 * _FINE
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
    paint(image, stepped(np.asarray(mask.reduce(_FINE))), left, top, colour)


def _lying(image: Pixels, made: Plan) -> Places:
    """Bars from left to right over categories from top to bottom."""
    dx, dy = made.shift
    left, top, bottom = 32 + dx, 17 + dy, 113 + dy
    unit = 78 / made.maximum
    for tick in range(0, made.maximum + 1, made.maximum // (5 if made.maximum == 10 else 4)):
        x = left + round(tick * unit)
        if made.grid:
            image[top:bottom, x] = _FAINT
        image[bottom : bottom + 2, x] = _INK
        _write(image, str(tick), _TICK_PX, x + 0.5, bottom + 10, align=0.5)
    pitch = (bottom - top) / len(made.values)
    places, ends = [], []
    for i, (label, value, colour) in enumerate(zip(made.labels, made.values, made.colours, strict=True)):
        y, half = top + pitch * (i + 0.5), pitch * made.bar_share / 2
        end = left + round(value * unit)
        image[round(y - half) : round(y + half), left + 1 : end + 1] = COLOURS[colour]
        places.append(_write(image, label, _WORD_PX, left - 3, y + 3.5, align=1.0))
        ends.append((float(end), y))
        if made.printed:
            _write(image, str(value), _VALUE_PX, end + 3, y + 3, align=0.0, ground=made.ground)
    image[top : bottom + 1, left] = _INK
    image[bottom, left:127] = _INK
    return places, ends


def _pie(image: Pixels, made: Plan) -> Places:
    """Slices clockwise from twelve o'clock and a legend in the same order."""
    dx, dy = made.shift
    shares = _sectors()
    tenths = [c for c, value in zip(made.colours, made.values, strict=True) for _ in range(value // 10)]
    paints = np.array([*(COLOURS[c] for c in tenths), made.ground], np.float32)
    left, top = 3 + dx, 30 + dy
    side = shares.shape[0]
    image[top : top + side, left : left + side] = np.rint(shares @ paints).astype(np.uint8)
    middle_x, middle_y, start = left + side / 2, top + side / 2, 0
    places, slices = [], []
    for i, (label, value, colour) in enumerate(zip(made.labels, made.values, made.colours, strict=True)):
        y = 46 + dy + 16 * i
        image[y : y + 7, 86 + dx : 93 + dx] = COLOURS[colour]
        places.append(_write(image, label, _WORD_PX, 96 + dx, y + 7, align=0.0))
        angle = 2 * np.pi * (start + value / 2) / 100
        inside = float(middle_x + 25 * np.sin(angle)), float(middle_y - 25 * np.cos(angle))
        slices.append(inside)
        if made.printed:
            _write(image, str(value), _VALUE_PX, inside[0], inside[1] + 3.5, align=0.5, ink=_ON[colour])
        start += value
    return places, slices


@cache
def _sectors() -> NDArray[np.float32]:
    """(side, side, 11): how much of each pixel lies in each tenth of the disc, and last how much outside."""
    side, fine = 2 * PIE_RADIUS_PX + 2, 4
    axis = (np.arange(side * fine) + 0.5) / fine - side / 2
    x, y = axis[None, :], axis[:, None]
    tenth = np.floor((np.arctan2(x, -y) / (2 * np.pi) % 1.0) * 10).astype(np.int64) % 10
    tenth[x * x + y * y > PIE_RADIUS_PX**2] = 10
    layers = np.stack([tenth == k for k in range(11)], axis=-1).reshape(side, fine, side, fine, 11)
    shares: NDArray[np.float32] = layers.mean(axis=(1, 3), dtype=np.float32)
    return shares


@lru_cache(maxsize=1024)
def _mask(text: str, size_px: int) -> Mask:
    return text_mask(dejavu_sans(), size_px, text)


def _write(
    image: Pixels,
    text: str,
    size_px: int,
    x: float,
    base: float,
    *,
    align: float,
    ink: Colour = _INK,
    ground: Colour | None = None,
) -> Place:
    """Text with its base line at row `base`; its ink starts at `x` (align 0), is centred on it (0.5) or ends at it (1).

    With a `ground`, lines behind the text are wiped out first. Returns the middle of the ink.
    """
    mask = _mask(text, size_px)
    left, top = round(x - align * mask.width), round(base) + mask.top
    if ground is not None:
        image[top : top + mask.ink.shape[0], left - 1 : left + mask.width + 1] = ground
    paint(image, mask.ink, left, top, ink)
    return left + mask.width / 2, top + mask.ink.shape[0] / 2
