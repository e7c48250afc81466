"""Reads scenes back from their pixels and judges questions and statements from their words.

Nothing here calls the generator's own question, statement or drawing code: only the colour tables and the names of
places are shared with it.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.mini.scenes import COLOURS, GROUNDS, PLACES

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


@dataclass(frozen=True)
class Seen:
    """One shape as seen."""

    place: str
    size: str
    colour: str
    shape: str


def decode(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def ground(image: NDArray[np.uint8]) -> str:
    """The background, from the corner pixel (no shape reaches it)."""
    return next(name for name, value in GROUNDS.items() if tuple(image[0, 0]) == value)


def see(image: NDArray[np.uint8]) -> list[Seen]:
    """The shapes of a 64 x 64 scene in reading order, from moments of their coverage."""
    found = []
    back = np.array(GROUNDS[ground(image)], float)
    for index, place in enumerate(PLACES):
        row, column = divmod(index, 2)
        quarter = image[32 * row : 32 * row + 32, 32 * column : 32 * column + 32].astype(float)
        if (quarter == back).all():
            continue
        counts = {name: int((quarter == np.array(value)).all(axis=-1).sum()) for name, value in COLOURS.items()}
        colour = max(counts, key=lambda name: counts[name])
        line = np.array(COLOURS[colour], float) - back
        share = ((quarter - back) @ line / (line @ line)).clip(0, 1)
        found.append(_seen(place, colour, share))
    return found


def _seen(place: str, colour: str, share: NDArray[np.float64]) -> Seen:
    area = share.sum()
    y, x = np.mgrid[0:32, 0:32]
    cx, cy = (share * x).sum() / area, (share * y).sum() / area
    spread = (share * ((x - cx) ** 2 + (y - cy) ** 2)).sum() / area**2
    rows, columns = np.flatnonzero(share.max(axis=1) > 0.5), np.flatnonzero(share.max(axis=0) > 0.5)
    size = "large" if max(np.ptp(rows), np.ptp(columns)) > 17 else "small"
    # Polar moment over squared area: circle 1/(2 pi) = 0.159, square 1/6 = 0.167, the other two above 0.19. Of those
    # only the triangle has a third complex moment; a cross, with four equal arms, has none.
    third = abs((share * ((x - cx) + 1j * (y - cy)) ** 3).sum()) / area**2.5
    shape = "circle" if spread < 0.163 else "square" if spread < 0.18 else "triangle" if third > 0.02 else "cross"
    return Seen(place, size, colour, shape)


def answer(question: str, seen: list[Seen]) -> str:
    """The answer to a question about a scene, from its words."""
    if match := re.fullmatch(r"What color is the shape at the (.+)\?", question):
        return lone(s.colour for s in seen if s.place == match[1])
    if match := re.fullmatch(r"Which shape is at the (.+)\?", question):
        return lone(s.shape for s in seen if s.place == match[1])
    if match := re.fullmatch(r"What color is the (\w+)\?", question):
        return lone(s.colour for s in seen if s.shape == match[1])
    if question == "How many shapes are in the picture?":
        return str(len(seen))
    if match := re.fullmatch(r"Where is the (\w+) (\w+)\?", question):
        return lone(s.place for s in seen if (s.colour, s.shape) == match.groups())
    if match := re.fullmatch(r"Are the (\w+) (\w+) and the (\w+) (\w+) the same size\?", question):
        first = lone(s.size for s in seen if (s.colour, s.shape) == match.groups()[:2])
        return "Yes" if first == lone(s.size for s in seen if (s.colour, s.shape) == match.groups()[2:]) else "No"
    if match := re.fullmatch(r"Is the (\w+) (\w+) higher up in the picture than the (\w+) (\w+)\?", question):
        rows = [
            lone(s.place.split()[0] for s in seen if (s.colour, s.shape) == pair)
            for pair in (match.groups()[:2], match.groups()[2:])
        ]
        assert rows[0] != rows[1], question
        return "Yes" if rows == ["top", "bottom"] else "No"
    raise AssertionError(f"no rule reads {question!r}")


def lone(found: object) -> str:
    values = list(found)  # type: ignore[call-overload]
    assert len(values) == 1, values
    return str(values[0])


def judge(sentence: str, left: list[Seen], right: list[Seen]) -> bool:
    """Whether a statement holds of two scenes, from its words."""
    sides = {"left": left, "right": right}
    noun = r"an? ([\w ]+)\."
    for opening, rule in (
        ("At least one image contains", any),
        ("Both images contain", all),
        ("Exactly one of the images contains", lambda has: sum(has) == 1),
        ("Neither image contains", lambda has: not any(has)),
    ):
        if match := re.fullmatch(f"{opening} {noun}", sentence):
            return rule([contains(side, match[1]) for side in (left, right)])
    if match := re.fullmatch(f"The (left|right) image contains {noun}", sentence):
        return contains(sides[match[1]], match[2])
    if match := re.fullmatch(r"The (left|right) image contains exactly (\w+) shapes?\.", sentence):
        return len(sides[match[1]]) == NUMBERS[match[2]]
    if match := re.fullmatch(r"There are exactly (\w+) shapes in the two images together\.", sentence):
        return len(left) + len(right) == NUMBERS[match[1]]
    if match := re.fullmatch(r"The (left|right) image contains more shapes than the (left|right) image\.", sentence):
        return len(sides[match[1]]) > len(sides[match[2]])
    if sentence == "The two images contain the same number of shapes.":
        return len(left) == len(right)
    if match := re.fullmatch(r"Every shape in the (left|right) image is (\w+)\.", sentence):
        return {s.size for s in sides[match[1]]} == {match[2]}
    raise AssertionError(f"no rule reads {sentence!r}")


def contains(seen: list[Seen], noun: str) -> bool:
    first, _, rest = noun.partition(" ")
    if not rest:
        return any(s.shape == first for s in seen)
    assert rest == "shape", noun
    return any(first in (s.colour, s.size) for s in seen)
