"""A small layout engine for formulas: rows, scripts, fractions, roots and large operators with side-set limits.

A box is what has been set so far: marks at whole pixels relative to a pen on the base line, with its advance and its
height above and depth below the line. Sizes are in pixels; y grows downwards. Glyph masks are cached, so a formula
costs some tens of microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from harness.mini.canvas import Pixels
from harness.mini.fonts import Mask, math_italic, math_regular, stepped, text_mask

EM_PX = 20
_SCRIPT, _PART, _LARGE = 0.74, 0.86, 1.3
_SMALLEST_PX = 11
_FINE = 4


@dataclass(frozen=True, slots=True)
class Box:
    """Marks with the room they take."""

    marks: tuple[tuple[float, float, Pixels], ...]
    """(x, y, ink) of each mark's first pixel, relative to the pen."""
    advance: float
    up: float
    """Height above the base line."""
    down: float
    """Depth below it."""


def glyph(text: str, em_px: float, *, italic: bool = False, lift: float = 0.0, pad: float = 0.0) -> Box:
    """Letters on the base line, raised by `lift` and with `pad` at either side, both in em."""
    mask = text_mask(_italic() if italic else _regular(), round(em_px), text)
    return _placed(mask, pad * em_px, -lift * em_px, mask.advance + 2 * pad * em_px)


@lru_cache(maxsize=1)
def _italic() -> Path:
    return math_italic()


@lru_cache(maxsize=1)
def _regular() -> Path:
    return math_regular()


def _placed(mask: Mask, x: float, y: float, advance: float) -> Box:
    top = y + mask.top
    return Box(((x + mask.left, top, mask.ink),), advance, -top, top + mask.ink.shape[0])


def row(boxes: list[Box]) -> Box:
    """Boxes one after the other on one base line."""
    marks: list[tuple[float, float, Pixels]] = []
    x = 0.0
    for box in boxes:
        marks += [(x + mark_x, mark_y, ink) for mark_x, mark_y, ink in box.marks]
        x += box.advance
    return Box(tuple(marks), x, max(b.up for b in boxes), max(b.down for b in boxes))


def moved(box: Box, x: float, y: float) -> Box:
    """The box with all its marks moved; the pen ends where it did, moved by `x`."""
    marks = tuple((mark_x + x, mark_y + y, ink) for mark_x, mark_y, ink in box.marks)
    return Box(marks, box.advance + x, box.up - y, box.down + y)


def over(*boxes: Box) -> Box:
    """Boxes drawn from one pen; the widest moves it."""
    marks = tuple(mark for box in boxes for mark in box.marks)
    return Box(marks, max(b.advance for b in boxes), max(b.up for b in boxes), max(b.down for b in boxes))


def script_size(em_px: float) -> float:
    """Em of indices and powers set beside something of `em_px`."""
    return max(_SMALLEST_PX, em_px * _SCRIPT)


def part_size(em_px: float) -> float:
    """Em of the two parts of a fraction of `em_px`."""
    return max(_SMALLEST_PX, em_px * _PART)


def scripts(base: Box, em_px: float, below: Box | None, above: Box | None) -> Box:
    """A base with an index, a power, or both above each other."""
    sides = []
    if above is not None:
        rise = max(0.38 * em_px, base.up - 0.28 * em_px, above.down + 0.2 * em_px)
        sides.append(moved(above, 0.0, -rise))
    if below is not None:
        sides.append(moved(below, 0.0, max(0.2 * em_px, base.down + 0.02 * em_px, below.up - 0.42 * em_px)))
    room = Box((), 0.06 * em_px, 0.0, 0.0)
    return row([base, room, over(*sides), room])


def fraction(upper: Box, lower: Box, em_px: float) -> Box:
    """One box above another with a bar between them at the height of a minus sign."""
    axis, gap, thick = -0.28 * em_px, 0.14 * em_px, 1
    width = round(max(upper.advance, lower.advance) + 0.24 * em_px)
    bar = np.full((thick, width), 255, np.uint8)
    pad = 0.08 * em_px
    middle = pad + width / 2
    return over(
        Box(((pad, axis, bar),), width + 2 * pad, -axis, axis + thick),
        moved(upper, middle - upper.advance / 2, axis - gap - upper.down),
        moved(lower, middle - lower.advance / 2, axis + thick + gap + lower.up),
    )


def root(inner: Box, em_px: float) -> Box:
    """A box under a radical sign that grows with it."""
    up, down = inner.up + 0.2 * em_px, inner.down + 0.06 * em_px
    ink = _radical(round(inner.advance + 0.08 * em_px), round(up + down), round(0.55 * em_px))
    sign = Box(((0.0, -up, ink),), ink.shape[1] + 0.08 * em_px, up, down)
    return over(sign, moved(inner, 0.55 * em_px, 0.0))


@lru_cache(maxsize=4096)
def _radical(width: int, height: int, hook: int) -> Pixels:
    """The radical sign over `width` columns, `height` rows tall, `hook` columns before the bar."""
    image = Image.new("L", ((hook + width) * _FINE, height * _FINE))
    pen = ImageDraw.Draw(image)
    bottom, top, line = height * _FINE - _FINE, _FINE // 2, _FINE + 1
    start = height * _FINE - round(0.55 * min(height, 2 * hook) * _FINE)
    points = [(0, start), (0.28 * hook * _FINE, start - _FINE), (0.5 * hook * _FINE, bottom)]
    pen.line(points, fill=255, width=line)
    pen.line([points[-1], (0.92 * hook * _FINE, top)], fill=255, width=line)
    pen.rectangle((0.92 * hook * _FINE, 0, (hook + width) * _FINE, _FINE - 1), fill=255)
    return stepped(np.asarray(image.reduce(_FINE)))


def large_operator(sign: str, em_px: float) -> Box:
    """A sum or integral sign, centred on the axis, with a little room after it."""
    mask = text_mask(_regular(), round(em_px * _LARGE), sign)
    top = -0.28 * em_px - mask.ink.shape[0] / 2
    return Box(((mask.left, top, mask.ink),), mask.advance, -top, top + mask.ink.shape[0])


def ink_of(box: Box, width: int, height: int, left: int) -> Pixels | None:
    """Dark marks on white, (height, width), the first ink at column `left` and centred vertically; `None` if too large.

    A margin of one pixel is kept on the right, above and below.
    """
    lefts = [round(x) for x, _, _ in box.marks]
    tops = [round(y) for _, y, _ in box.marks]
    first, top = min(lefts), min(tops)
    last = max(x + ink.shape[1] for x, (_, _, ink) in zip(lefts, box.marks, strict=True)) - first
    tall = max(y + ink.shape[0] for y, (_, _, ink) in zip(tops, box.marks, strict=True)) - top
    if left + last > width - 1 or tall > height - 2:
        return None
    shift = (height - tall) // 2 - top
    page = np.full((height, width), 255, np.uint8)
    for x, y, (_, _, ink) in zip(lefts, tops, box.marks, strict=True):
        region = page[y + shift : y + shift + ink.shape[0], x - first + left : x - first + left + ink.shape[1]]
        np.minimum(region, 255 - ink, out=region)
    return page
