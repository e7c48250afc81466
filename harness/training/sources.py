"""The sources that recipes name, and their mixture."""

from __future__ import annotations

import bisect
import importlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.errors import TrainingError, UnknownNameError
from harness.training.examples import Example, Source
from harness.training.procedural import Charts, Formulas, Scenes, Statements
from harness.training.recipe import Recipe, SourcePart

SOURCES: Mapping[str, Any] = {
    "scenes": Scenes,
    "statements": Statements,
    "charts": Charts,
    "formulas": Formulas,
    "captions": "harness.training.files:Captions",
    "llava-recap": "harness.training.files:Recaptions",
    "latex-formulas": "harness.training.files:LatexFormulas",
}
"""Name in a recipe → class, or where it is: readers of files are imported when a recipe names them."""


def source_class(name: str) -> Any:
    """The class of a source.

    Raises:
        UnknownNameError: with the nearest name.
    """
    if name not in SOURCES:
        raise UnknownNameError.of("training source", name, SOURCES)
    found = SOURCES[name]
    if isinstance(found, str):
        module, _, member = found.partition(":")
        found = getattr(importlib.import_module(module), member)
    return found


class Mixture:
    """Examples of several sources, by their shares and while they take part."""

    def __init__(self, parts: Sequence[tuple[Source, SourcePart]]) -> None:
        self._parts = tuple(parts)

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """An example of one source that takes part now, drawn by its share."""
        present = [(s, p) for s, p in self._parts if p.begin <= progress < p.end or (p.end == progress == 1)]
        return _picked(rng, present).draw(rng, progress)

    def held_out(self, rng: np.random.Generator) -> Example:
        """A validation example of one source that takes part at the end, drawn by its share."""
        return _picked(rng, [(s, p) for s, p in self._parts if p.end == 1]).held_out(rng)

    def texts(self) -> Sequence[str]:
        """The texts of all sources."""
        return [text for source, _ in self._parts for text in source.texts()]


def _picked(rng: np.random.Generator, parts: Sequence[tuple[Source, SourcePart]]) -> Source:
    bounds = list(itertools.accumulate(part.share for _, part in parts))
    return parts[bisect.bisect_right(bounds, rng.random() * bounds[-1])][0]


def mixture_of(recipe: Recipe, where: str) -> Mixture:
    """The sources of a recipe.

    Raises:
        UnknownNameError: a source that there is not, with the nearest name.
        TrainingError: a setting that a source does not have, or a time at which no source takes part.
    """
    parts: list[tuple[Source, SourcePart]] = []
    for number, part in enumerate(recipe.data):
        kind = source_class(part.source)
        try:
            parts.append((kind(**part.options), part))
        except TypeError as error:
            raise TrainingError(f"{where}: data.{number}.options: {error}") from error
    edges = sorted({0.0, *(p.begin for _, p in parts), *(p.end for _, p in parts)})[:-1]
    empty = next((e for e in edges if not any(p.begin <= e < p.end for _, p in parts)), None)
    if empty is not None or max(p.end for _, p in parts) < 1:
        raise TrainingError(
            f"{where}: data: no source takes part {f'from {empty} on' if empty is not None else 'at the end'}"
        )
    return Mixture(parts)
