"""CIDEr as pycocoevalcap computes it, with the corpus of its document frequencies named.

What the field calls CIDEr is CIDEr-D: clipped tf-idf cosines of 1- to 4-grams times a Gaussian of the length
difference, times 10; one reference against itself gives 10.0, and papers print the value times 100. The length is the
number of bigrams, as in the library. The value depends on the document frequencies, so there are two variants:

- `subset-idf`: counted over the references of all samples of the task, answered or not, so that two models that fail on
  different samples have the same weights. With every sample answered this is what pycocoevalcap prints.
- `full-idf`: counted over all reference captions of the split on disk; the signature carries their number of images and
  a checksum, so that values of different corpora never share a column.

Source: Vedantam et al. 2015; pycocoevalcap 1.2 `cider_scorer.py` (n = 4, sigma = 6).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import MetricUnavailable
from harness.metrics.base import MeanMetric, ScoringContext
from harness.metrics.bleu import MAX_N, ngrams
from harness.metrics.caption_tokens import CaptionMetric, CaptionTokens
from harness.metrics.ptb import tokenise
from harness.metrics.variants import known_variant
from harness.records import MetricInfo

SIGMA = 6.0
VARIANTS = ("subset-idf", "full-idf")

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DocumentFrequencies:
    """How rare each n-gram is among the references of images."""

    images: int
    idf: Mapping[Gram, float]
    """log(images / images with the n-gram in at least one reference)."""
    idf_of_others: float
    """The same as if one image had it, for n-grams that none has."""

    @classmethod
    def of(cls, documents: Iterable[Sequence[str]]) -> DocumentFrequencies:
        """Counted over `documents`, each the tokenised references of one image.

        Raises:
            MetricUnavailable: fewer than two images, for which every weight is log(1) - log(1) = 0.
        """
        counts: Counter[Gram] = Counter()
        images = 0
        for references in documents:
            images += 1
            counts.update({gram for reference in references for gram in ngrams(reference.split())})
        if images < 2:
            raise MetricUnavailable(
                f"CIDEr's idf is undefined on a reference corpus of {images} image(s); give at least 2"
            )
        every = math.log(images)
        return cls(images, {gram: every - math.log(count) for gram, count in counts.items()}, every)


@dataclass(frozen=True, slots=True)
class _Vector:
    weights: dict[Gram, float]
    norms: tuple[float, ...]
    length: int


def _vector(caption: str, frequencies: DocumentFrequencies) -> _Vector:
    words = caption.split()
    idf, of_others = frequencies.idf, frequencies.idf_of_others
    weights = {gram: count * idf.get(gram, of_others) for gram, count in ngrams(words).items()}
    squares = [0.0] * MAX_N
    for gram, weight in weights.items():
        squares[len(gram) - 1] += weight**2
    return _Vector(weights, tuple(math.sqrt(s) for s in squares), max(0, len(words) - 1))


def _similarity(prediction: _Vector, reference: _Vector) -> float:
    products = [0.0] * MAX_N
    for gram, weight in prediction.weights.items():
        other = reference.weights.get(gram)
        if other is not None:
            products[len(gram) - 1] += min(weight, other) * other
    cosines = 0.0
    for product, one, two in zip(products, prediction.norms, reference.norms, strict=True):
        if one and two:
            cosines += product / (one * two)
    return cosines / MAX_N * math.exp(-((prediction.length - reference.length) ** 2) / (2 * SIGMA**2))


def cider(prediction: str, references: Sequence[str], frequencies: DocumentFrequencies) -> float:
    """CIDEr of one tokenised prediction in the library's scale, [0, 10]; 0 for an empty one."""
    vector = _vector(prediction, frequencies)
    similar = [_similarity(vector, _vector(reference, frequencies)) for reference in references]
    return 10.0 * sum(similar) / len(similar)


def corpus_checksum(corpus: Mapping[str, Sequence[str]]) -> str:
    """Eight hexadecimal digits that name a reference corpus, whatever the order of its images and captions."""
    lines = json.dumps(sorted((image, sorted(captions)) for image, captions in corpus.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:8]


class Cider(MeanMetric, CaptionMetric):
    """Mean CIDEr over images; `info.signature` of `full-idf` is complete once `score` has seen the corpus."""

    def __init__(self, variant: str = "") -> None:
        variant = known_variant("cider", variant, VARIANTS)
        self.info = MetricInfo(
            name="cider",
            variant=variant,
            signature=f"cider|{variant}|tok=ptb-3.4.1|n={MAX_N}|sigma={SIGMA:g}|v1",
            unit="score",
            source="Vedantam et al. 2015; pycocoevalcap 1.2",
        )

    def statistics(
        self, scored: Sequence[CaptionTokens], everything: Sequence[CaptionTokens], context: ScoringContext
    ) -> list[tuple[float, ...]]:
        """(value, 1) per image.

        Raises:
            MetricUnavailable: fewer than two images, or no reference corpus for `full-idf`.
        """
        if self.info.variant == "full-idf":
            frequencies = self._corpus_frequencies(context)
        else:
            frequencies = DocumentFrequencies.of(t.references for t in everything if t.references)
        return [(cider(t.prediction or "", t.references, frequencies), 1.0) for t in scored]

    def _corpus_frequencies(self, context: ScoringContext) -> DocumentFrequencies:
        corpus = context.reference_corpus()
        if corpus is None:
            raise MetricUnavailable(
                "cider@full-idf counts over all captions of the split, and the data set gave none; put "
                "the complete caption file (COCO: annotations/captions_val2017.json) into the data folder"
            )
        tokens = tokenise(caption for captions in corpus.values() for caption in captions)
        frequencies = DocumentFrequencies.of([tokens[c] for c in captions] for captions in corpus.values())
        signature = (
            f"cider|full-idf|images={frequencies.images}|refs={corpus_checksum(corpus)}"
            f"|tok=ptb-3.4.1|n={MAX_N}|sigma={SIGMA:g}|v1"
        )
        self.info = replace(self.info, signature=signature)
        return frequencies
