"""The nearest-neighbour control: the answer of the other sample whose picture looks most alike.

A picture's features are its 16 x 16 grey and 8 x 8 colour thumbnails (448 numbers), standardised over the task's
pictures. A model that does no better has learned the benchmark's picture types, not to read pictures.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.models.base import Example, ModelInput
from harness.models.controls import NO_EXAMPLE, Control, cluster_of, valid_answer
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

GREY_SIDE, COLOUR_SIDE = 16, 8
FEATURES = GREY_SIDE**2 + 3 * COLOUR_SIDE**2


def picture_features(images: Sequence[Image]) -> NDArray[np.float64]:
    """Thumbnails as one vector (448,) in [0, 1]; the mean over several pictures of one sample."""
    vector: NDArray[np.float64] = np.stack([_one_picture(image) for image in images]).mean(axis=0)
    return vector


def _one_picture(image: Image) -> NDArray[np.float64]:
    from PIL.Image import Resampling

    grey = image.convert("L").resize((GREY_SIDE, GREY_SIDE), Resampling.BOX)
    colour = image.convert("RGB").resize((COLOUR_SIDE, COLOUR_SIDE), Resampling.BOX)
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in (grey, colour)]) / 255


class NearestNeighbour(Control):
    """The first reference of the sample of another cluster whose picture is nearest (Euclidean distance)."""

    family = "nearest-neighbour"
    rule = "first reference of the nearest picture of another cluster|grey 16x16, colour 8x8, standardised|v1"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """At least one image; reads the other samples and their pictures first."""
        return Capabilities(min_images=1, max_images=None, needs_examples=True, depends_on_sample=True)

    def learn(self, examples: Iterable[Example]) -> None:
        """Read the pictures of all samples that have one and a reference; those that cannot be read are logged."""
        kept: list[tuple[Example, NDArray[np.float64]]] = []
        unreadable = 0
        for example in sorted(examples, key=lambda e: e.sample_id):
            if not example.references:
                continue
            try:
                images = example.load_images()
            except HarnessError as error:
                unreadable += 1
                logger.debug("%s: %s is no neighbour: %s", self.settings.name, example.sample_id, error)
                continue
            if images:
                kept.append((example, picture_features(images)))
        if unreadable:
            logger.warning(
                "%s: %d samples have unreadable pictures and are no neighbours", self.settings.name, unreadable
            )
        self._answers = [example.references[0] for example, _ in kept]
        self._clusters = np.array([cluster_of(example) for example, _ in kept], dtype=object)
        features = np.array([vector for _, vector in kept]).reshape(len(kept), FEATURES)
        self._mean = features.mean(axis=0) if kept else np.zeros(FEATURES)
        spread = features.std(axis=0) if kept else np.ones(FEATURES)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._features = (features - self._mean) / self._spread
        self._squares = (self._features**2).sum(axis=1)

    def answer(self, item: ModelInput) -> str | Problem:
        """The neighbour's reference; where there are options, of the nearest whose letter is among them."""
        if not item.images:
            return Problem("unsupported_input", "the nearest-neighbour control needs an image; this sample has none")
        choices = item.request.choices
        usable = self._clusters != cluster_of(item.request)
        if choices:
            usable &= np.array([valid_answer(answer, choices) for answer in self._answers], dtype=bool)
        if not usable.any():
            return NO_EXAMPLE
        return self._answers[self._nearest((picture_features(item.images) - self._mean) / self._spread, usable)]

    def _nearest(self, vector: NDArray[np.float64], usable: NDArray[np.bool_]) -> int:
        """Row of the nearest usable picture, the first by sample id of equals.

        |x|² - 2 x·v finds the few that can be nearest in one product; their distances are then taken exactly, so that
        rounding does not decide between equal pictures.
        """
        near = np.where(usable, self._squares - 2 * (self._features @ vector), np.inf)
        slack = 1e-9 * (1 + float(vector @ vector) + float(self._squares.max()))
        rows = np.flatnonzero(near <= near.min() + slack)
        exact = ((self._features[rows] - vector) ** 2).sum(axis=1)
        return int(rows[exact.argmin()])
