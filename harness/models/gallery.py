"""The candidates of a retrieval task, and rankings of them that do not depend on batches.

Equal contents get one vector, and scores are computed over distinct contents only, so that two candidates with the same
caption or the same pixels tie exactly; ties are in order of id (by code point). Vectors of queries that are candidates
themselves are taken from the gallery.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.models.base import BEST, Example, Generation, ModelInput
from harness.records import Problem

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)
T = TypeVar("T")
Vectors = NDArray[np.float32]


def pixel_key(image: Image) -> str:
    """What two images share when they have the same size, mode and pixels."""
    digest = hashlib.sha256(f"{image.mode} {image.size}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def ranked(ids: Sequence[str], scores: NDArray[np.floating]) -> Generation:
    """The answer that names the candidates with the highest scores, best first, equal ones in order of id.

    Args:
        ids: ids of the candidates.
        scores: (candidates,), a higher score is better; no NaN.
    """
    last = np.sort(scores)[::-1][:BEST].min(initial=np.inf)
    rows = [int(row) for row in np.flatnonzero(scores >= last)]
    rows = sorted(rows, key=lambda row: (-scores[row], ids[row]))[:BEST]
    names = [ids[row] for row in rows]
    return Generation(json.dumps(names, ensure_ascii=False), choice_scores=tuple(float(scores[row]) for row in rows))


@dataclass(slots=True)
class Side:
    """The candidates of one kind: texts, or images."""

    ids: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """For each candidate the row of its content in `keys` and `vectors`."""
    keys: dict[str, int] = field(default_factory=dict)
    """Content → row."""
    vectors: Vectors = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    """(distinct contents, dimensions), each of length 1."""

    def add(self, name: str, key: str) -> bool:
        """Take in a candidate; whether its content is new."""
        new = key not in self.keys
        self.places.append(self.keys.setdefault(key, len(self.keys)))
        self.ids.append(name)
        return new

    @property
    def contents(self) -> list[str]:
        """The distinct contents in the order of their rows: for texts, the texts themselves."""
        return list(self.keys)

    def vector(self, key: str) -> Vectors | None:
        """The vector of a content that is in the gallery."""
        row = self.keys.get(key)
        return None if row is None else self.vectors[row]

    def similarities(self, query: Vectors) -> NDArray[np.float64]:
        """Cosine of a query (dimensions,) with each distinct content (contents,), in double precision."""
        return np.asarray(self.vectors.astype(np.float64) @ query.astype(np.float64))

    def best_of(self, scores: NDArray[np.float64]) -> Generation:
        """The answer by the scores of the contents (contents,)."""
        return ranked(self.ids, scores[self.places])


@dataclass(slots=True)
class Gallery:
    """All candidates of a task as vectors."""

    texts: Side = field(default_factory=Side)
    images: Side = field(default_factory=Side)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Cluster → why one of its candidates could not be read; queries of that cluster have no answer."""

    def problem_of(self, item: ModelInput) -> Problem | None:
        """Why a query cannot be answered: its own candidate is unreadable, or there is nothing to rank."""
        request = item.request
        reason = self.unreadable.get(request.cluster or request.sample_id)
        if reason is not None:
            return Problem("unreadable_candidate", f"a candidate of the same cluster cannot be read: {reason}")
        if len(item.images) > 1 or bool(item.images) == bool(request.prompt.strip()):
            return Problem("unsupported_input", "a query is one image without text, or a text without image")
        if not (self.texts if item.images else self.images).ids:
            return Problem("no_candidates", f"the task has no {'texts' if item.images else 'images'} to rank")
        return None


def read_gallery(
    examples: Iterable[Example],
    text_vectors: Callable[[Sequence[str]], Vectors],
    image_vectors: Callable[[Sequence[Image]], Vectors],
    chunk: int,
) -> Gallery:
    """The candidates among `examples` as vectors: an image without prompt, or a prompt without image.

    Args:
        text_vectors: `chunk` texts or fewer → (texts, dimensions), each of length 1.
        image_vectors: the same for images.
        chunk: how many contents are embedded together; images are decoded a chunk at a time.
    """
    gallery, unreadable = Gallery(), {}
    texts, images = _Filler(gallery.texts, text_vectors, chunk), _Filler(gallery.images, image_vectors, chunk)
    for example in sorted(examples, key=lambda e: e.sample_id):
        prompt = example.prompt.strip()
        if prompt and not example.n_images:
            texts.add(example.sample_id, example.prompt, example.prompt)
        elif example.n_images == 1 and not prompt:
            try:
                (image,) = example.load_images()
            except HarnessError as error:
                unreadable[example.cluster or example.sample_id] = str(error)
                continue
            images.add(example.sample_id, pixel_key(image), image)
    texts.finish()
    images.finish()
    gallery.unreadable = unreadable
    if unreadable:
        logger.warning("%d candidates cannot be read; the queries of their clusters have no answer", len(unreadable))
    return gallery


class _Filler(Generic[T]):
    """Embeds distinct contents a chunk at a time."""

    def __init__(self, side: Side, embed: Callable[[Sequence[T]], Vectors], chunk: int) -> None:
        self._side, self._embed, self._chunk = side, embed, chunk
        self._waiting: list[T] = []
        self._done: list[Vectors] = []

    def add(self, name: str, key: str, content: T) -> None:
        if self._side.add(name, key):
            self._waiting.append(content)
        if len(self._waiting) == self._chunk:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._done.append(self._embed(self._waiting))
            self._waiting = []

    def finish(self) -> None:
        self._flush()
        if self._done:
            self._side.vectors = np.concatenate(self._done)
