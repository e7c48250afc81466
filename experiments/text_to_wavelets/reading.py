"""What painted pictures show, by a captioner that never saw a painted one, and by their pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness import registry
from harness.cards.loading import load_card
from harness.mini.canvas import Pixels
from harness.mini.scenes import COLOURS, GROUNDS, PLACES, SHAPES, Layout, captions
from harness.models.base import Generation, Model, ModelInput
from harness.records import GenerationSettings, ModelSettings, Request
from harness.stats.intervals import wilson
from harness.training.procedural import options_line

_THING = re.compile(rf"\b(small|large) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b")
_BATCH = 64
_INK_LEAST, _INK_PIXELS = 40, 16
"""A quarter holds something where so many pixels differ from the ground by so much in a colour."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One picture, read."""

    asked: str
    """The caption that the captioner should give."""
    caption: str
    exact: bool
    things: int
    """Shapes asked for. The counts below are of these; the i-th one named is held against the i-th one asked for."""
    colours: int
    shapes: int
    sizes: int
    number: bool
    """Whether as many were named as asked for."""
    place: bool
    """Whether the captioner says where one of the shapes is."""
    quarters: bool
    """Whether, by the pixels, the right quarters are empty and the others not."""
    ground: bool
    """Whether, by the pixels of the frame, the ground is the one asked for."""


def captioner(name: str) -> Model:
    """The model of a card's name, a card's file, or the folder of a wavelet checkpoint."""
    folder = Path(name).resolve()
    if (folder / "config.json").is_file():
        called = folder.parent.name if folder.name == "checkpoint" else folder.name
        settings = ModelSettings(name=called, family="wavelet", checkpoint=str(folder))
    else:
        settings = load_card(name).settings()
    family: type[Model] = registry.load("models", settings.family)
    return family.load(settings)


def readings(model: Model, layouts: Sequence[Layout], pictures: Sequence[Pixels], seed: int) -> list[Reading]:
    """What each picture shows of the layout it should show."""
    rng = np.random.default_rng(seed)
    said = answers(model, [""] * len(layouts), pictures)
    picked = [layout.things[int(rng.integers(len(layout.things)))] for layout in layouts]
    options = [[PLACES[i] for i in rng.permutation(len(PLACES))] for _ in layouts]
    questions = [f"Where is the {t.colour} {t.shape}?{options_line(o)}" for t, o in zip(picked, options, strict=True)]
    places = answers(model, questions, pictures)
    return [
        _reading(layout, picture, caption, thing.place == place)
        for layout, picture, caption, thing, place in zip(layouts, pictures, said, picked, places, strict=True)
    ]


def answers(model: Model, prompts: Sequence[str], pictures: Sequence[Pixels]) -> list[str]:
    """The captioner's greedy answers; empty where there is none."""
    settings = GenerationSettings(max_new_tokens=48)
    found: list[str] = []
    for start in range(0, len(prompts), _BATCH):
        batch = [
            ModelInput(Request(str(k), "painted", str(k), prompts[k], generation=settings), (_image(pictures[k]),))
            for k in range(start, min(start + _BATCH, len(prompts)))
        ]
        given = model.generate(model.prepare(batch), settings)
        found += [g.text.strip() if isinstance(g, Generation) else "" for g in given]
    return found


def _image(picture: Pixels) -> Image.Image:
    return Image.fromarray(picture).convert("RGB")


def named(caption: str) -> list[tuple[str, str, str]]:
    """Size, colour and shape of each thing in a caption, in its order."""
    return [(m[1], m[2], m[3]) for m in _THING.finditer(caption.lower())]


def _reading(layout: Layout, picture: Pixels, caption: str, place: bool) -> Reading:
    wanted, found = [(t.size, t.colour, t.shape) for t in layout.things], named(caption)
    sizes, colours, shapes = (sum(a[part] == b[part] for a, b in zip(wanted, found, strict=False)) for part in range(3))
    asked = captions(layout)[0]
    full = {place for place in PLACES if _holds_something(picture, place)}
    return Reading(
        asked=asked, caption=caption, exact=caption.lower().split() == asked.split(), things=len(wanted),
        colours=colours, shapes=shapes, sizes=sizes, number=len(wanted) == len(found), place=place,
        quarters=full == {t.place for t in layout.things}, ground=_ground(picture) == layout.ground,
    )  # fmt: skip


def _frame(picture: Pixels) -> Any:
    """The middle colour of the outermost pixels, which no shape reaches."""
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return np.median(edge, axis=0)


def _ground(picture: Pixels) -> str:
    colour = _frame(picture)
    return min(GROUNDS, key=lambda name: float(np.abs(colour - GROUNDS[name]).sum()))


def _holds_something(picture: Pixels, place: str) -> bool:
    half_y, half_x = picture.shape[0] // 2, picture.shape[1] // 2
    row, column = divmod(PLACES.index(place), 2)
    part = picture[row * half_y : (row + 1) * half_y, column * half_x : (column + 1) * half_x]
    return bool((np.abs(part - _frame(picture)).max(axis=-1) > _INK_LEAST).sum() >= _INK_PIXELS)


def summary(found: Sequence[Reading]) -> dict[str, Any]:
    """Rates over pictures, and over shapes for colours, shapes and sizes."""
    things = sum(r.things for r in found)
    by_picture = {
        name: sum(getattr(r, name) for r in found) / len(found)
        for name in ("exact", "number", "place", "quarters", "ground")
    }
    by_thing = {name: sum(getattr(r, name) for r in found) / things for name in ("colours", "shapes", "sizes")}
    low, high = wilson(sum(r.exact for r in found), len(found))
    return {**by_picture, **by_thing, "exact_interval": [low, high], "n": len(found), "things": things}


def as_json(found: Sequence[Reading]) -> list[dict[str, Any]]:
    """The readings as JSON types."""
    return [asdict(r) for r in found]
