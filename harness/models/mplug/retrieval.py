"""Two-stage image-text retrieval: all candidates by similarity, the best of them by a matching score.

Source of the protocol: the released evaluation. The matching score is logit 1 of the pair; a candidate that similarity
did not put among the first `top_k` scores -100. The ModelScope port gives a pair's probability instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models.base import Example, Generation, ModelInput
from harness.models.gallery import Gallery, Vectors, pixel_key, read_gallery
from harness.models.mplug.inputs import WordPieces, pixels
from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.options import MplugOptions
from harness.records import Problem

if TYPE_CHECKING:
    from PIL.Image import Image

NOT_MATCHED = -100.0
_PAIRS = 32
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Encoded:
    """Images or texts on the CPU: one vector each, and the states that pairs are matched by."""

    vectors: Vectors
    """(items, embedding), each of length 1."""
    states: Tensor
    """(items, tokens, hidden)."""
    mask: Tensor
    """(items, tokens); all ones for images."""


@dataclass(frozen=True, slots=True)
class Match:
    """How well pairs belong together: both (pairs,)."""

    logit: NDArray[np.float64]
    """Logit 1, which the released evaluation ranks by."""
    probability: NDArray[np.float64]
    """Softmax over the two logits, which the ModelScope port gives."""


@dataclass(slots=True)
class _Candidates:
    """The gallery's distinct contents with the states that pairs are matched by, in the gallery's order."""

    gallery: Gallery = field(default_factory=Gallery)
    texts: list[Encoded] = field(default_factory=list)
    images: list[Encoded] = field(default_factory=list)


class Retriever:
    """Encodes images and texts one after the other, so that the others of a batch do not matter, and ranks them."""

    def __init__(self, network: MplugNetwork, words: WordPieces, options: MplugOptions, lock: threading.Lock) -> None:
        self.network = network
        self._words = words
        self._options = options
        self._lock = lock
        self._candidates = _Candidates()

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image]) -> Encoded:
        """Vectors and states of images."""
        network, side = self.network, self.network.sizes.settings.image_px
        states = [network.image_states(pixels([image], side).to(network.device, network.dtype)) for image in images]
        vectors = [network.image_features(one) for one in states]
        return _encoded(vectors, states, [one.new_ones(one.shape[:2]) for one in states])

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Encoded:
        """Vectors and states of texts, all of one padded length."""
        end, pad_to = self._options.text_end, self._options.text_tokens
        with self._lock:
            rows = self._words.encode(texts, end=end, pad_to=pad_to)
        pairs = [
            (ids[None].to(self.network.device), mask[None].to(self.network.device))
            for ids, mask in zip(rows.ids, rows.mask, strict=True)
        ]
        states = [self.network.text_encoder(*pair) for pair in pairs]  # each (1, tokens, hidden)
        return _encoded([self.network.text_features(one) for one in states], states, [mask for _, mask in pairs])

    @torch.inference_mode()
    def match(self, images: Encoded, texts: Encoded) -> Match:
        """How well image n and text n belong together; one of either goes with each of the other."""
        pairs, found = max(len(images.states), len(texts.states)), []
        for start in range(0, pairs, _PAIRS):
            rows = min(_PAIRS, pairs - start)
            part = [
                (side if len(side) == 1 else side[start : start + rows])
                .to(self.network.device)
                .expand(rows, *side.shape[1:])
                for side in (images.states, texts.states, texts.mask)
            ]
            found.append(self.network.match_logits(*part).double().cpu())
        logits = torch.cat(found)  # (pairs, 2)
        return Match(logits[:, 1].numpy(), logits.softmax(dim=-1)[:, 1].numpy())

    def read(self, examples: Iterable[Example]) -> None:
        """Take in the candidates: vectors and states of every distinct image and text, on the CPU."""
        candidates = _Candidates()

        def texts(some: Sequence[str]) -> Vectors:
            candidates.texts.append(self.encode_texts(some))
            return candidates.texts[-1].vectors

        def images(some: Sequence[Image]) -> Vectors:
            candidates.images.append(self.encode_images(some))
            return candidates.images[-1].vectors

        candidates.gallery = read_gallery(examples, texts, images, _CHUNK)
        self._candidates = candidates

    def answer(self, item: ModelInput) -> Generation | Problem:
        """The ranking of the candidates of the other kind, or why there is none."""
        gallery, contents = self._candidates.gallery, self._candidates
        problem = gallery.problem_of(item)
        if problem is not None:
            return problem
        by_image = bool(item.images)
        side, others = (gallery.texts, contents.texts) if by_image else (gallery.images, contents.images)
        query = self._query(item)

        def match(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            found = _picked(others, rows.tolist())
            return (self.match(query, found) if by_image else self.match(found, query)).logit

        return side.best_of(two_stage(side.similarities(query.vectors[0]), match, self._options.match_top_k))

    def _query(self, item: ModelInput) -> Encoded:
        """The query's vector and states, from the candidates where it is one of them."""
        gallery, contents = self._candidates.gallery, self._candidates
        if item.images:
            row = gallery.images.keys.get(pixel_key(item.images[0]))
            return self.encode_images(item.images) if row is None else _picked(contents.images, [row])
        row = gallery.texts.keys.get(item.request.prompt)
        return self.encode_texts([item.request.prompt]) if row is None else _picked(contents.texts, [row])


def _encoded(vectors: Sequence[Tensor], states: Sequence[Tensor], masks: Sequence[Tensor]) -> Encoded:
    return Encoded(torch.cat(list(vectors)).float().cpu().numpy(), *(torch.cat(list(t)).cpu() for t in (states, masks)))


def _picked(contents: Sequence[Encoded], rows: Sequence[int]) -> Encoded:
    """The contents with these numbers; all chunks but the last are of one size."""
    places = [divmod(row, _CHUNK) for row in rows]
    return Encoded(
        np.stack([contents[chunk].vectors[row] for chunk, row in places]),
        torch.stack([contents[chunk].states[row] for chunk, row in places]),
        torch.stack([contents[chunk].mask[row] for chunk, row in places]),
    )


def two_stage(
    similarity: NDArray[np.float64], match: Callable[[NDArray[np.intp]], NDArray[np.float64]], top_k: int
) -> NDArray[np.float64]:
    """Scores of candidates (candidates,): the matching score of the `top_k` most similar, -100 for the others.

    Args:
        similarity: of the query with each candidate, (candidates,); of equal ones the first are taken.
        match: rows of candidates → their matching scores.
    """
    nearest = np.argsort(-similarity, kind="stable")[:top_k]
    scores = np.full(len(similarity), NOT_MATCHED)
    scores[nearest] = match(nearest)
    return scores
