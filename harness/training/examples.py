"""What a network is trained on: pictures with one or more turns of prompt and answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harness.mini.canvas import Pixels


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt with the answer to learn."""

    prompt: str
    """The text as the model will read it in a run, without the family's template around it."""
    answer: str
    accepted: tuple[str, ...] = ()
    """Further answers that count as right at validation."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Words for what is to be seen at a place, such as a printed label or a shape."""

    text: str
    column: float
    row: float
    """Middle of it, in pixels from the picture's upper left corner."""
    picture: int = 0
    """Which picture of the example."""


@dataclass(frozen=True, slots=True)
class Example:
    """Pictures and turns about them; no turn depends on another."""

    images: tuple[Pixels, ...]
    """RGB (height, width, 3) or grey (height, width), 0 to 255; empty for text alone."""
    turns: tuple[Turn, ...]
    kind: str
    """What to break a validation down by, such as `caption` or `colour_at_place`."""
    spots: tuple[Spot, ...] = ()
    """What is where in the pictures, as far as the source tells."""


class Source(Protocol):
    """Where examples come from. A source has no state: what it gives depends on the generator and the progress alone,
    so that a training can go on at any step."""

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """A training example; `progress` in [0, 1] is how far the training is, for a curriculum."""
        ...

    def held_out(self, rng: np.random.Generator) -> Example:
        """A validation example with one turn, of the whole difficulty."""
        ...

    def texts(self) -> Sequence[str]:
        """Texts that show every word of the source, for a vocabulary."""
        ...


def batches(source: Source, seed: int, size: int, steps: int, start: int = 0) -> Iterator[list[Example]]:
    """The training batches from step `start` on; each depends on seed and step alone."""
    for step in range(start, steps):
        rng = np.random.default_rng([seed, step])
        yield [source.draw(rng, step / steps) for _ in range(size)]
