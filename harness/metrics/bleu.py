"""BLEU-1 to BLEU-4 as pycocoevalcap computes them.

Statistics of one image: clipped n-gram matches (4), n-grams of the prediction (4), length of the prediction, length of
the closest reference, and 1. The same eleven numbers serve BLEU-1 to BLEU-4.
Source: Papineni et al. 2002, with the constants of pycocoevalcap 1.2 `bleu_scorer.py` (length option `closest`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from harness.metrics.base import ScoringContext
from harness.metrics.caption_tokens import CaptionMetric, CaptionTokens
from harness.records import MetricInfo

if TYPE_CHECKING:
    import numpy as np

MAX_N = 4
_TINY, _SMALL = 1e-15, 1e-9  # pycocoevalcap's: a numerator of 0 stays 0 to 15 places, a denominator is never 0
_MEMO = "captions.bleu"


def ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """How often each n-gram of 1 to 4 words occurs."""
    shifted = [words[start:] for start in range(MAX_N)]
    return Counter(chain.from_iterable(zip(*shifted[:n], strict=False) for n in range(1, MAX_N + 1)))


def bleu_statistics(prediction: str, references: Sequence[str]) -> tuple[float, ...]:
    """The eleven statistics of one prediction; of two equally close references, the shorter counts."""
    words = prediction.split()
    allowed = [ngrams(reference.split()) for reference in references]
    matches = [0] * MAX_N
    for gram, count in ngrams(words).items():
        matches[len(gram) - 1] += min(count, max(grams.get(gram, 0) for grams in allowed))
    totals = [max(0, len(words) - n + 1) for n in range(1, MAX_N + 1)]
    closest = min((abs(len(r.split()) - len(words)), len(r.split())) for r in references)[1]
    return (*map(float, matches), *map(float, totals), float(len(words)), float(closest), 1.0)


def bleu_from_statistics(totals: np.ndarray, n: int) -> np.ndarray:
    """BLEU-n of summed statistics: (..., 11) → (...); NaN where nothing was summed."""
    import numpy as np

    matches, counts = totals[..., :n], totals[..., MAX_N : MAX_N + n]
    length, closest, images = totals[..., 8], totals[..., 9], totals[..., 10]
    precision = np.prod((matches + _TINY) / (counts + _SMALL), axis=-1) ** (1.0 / n)
    ratio = (length + _TINY) / (closest + _SMALL)
    penalty = np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))
    return np.where(images > 0, precision * penalty, np.nan)


class Bleu(CaptionMetric):
    """Corpus BLEU-n; the value of one image is the same formula on its own counts."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.info = MetricInfo(
            name=f"bleu-{n}",
            variant="",
            signature=f"bleu-{n}|pycocoevalcap|tok=ptb-3.4.1|reflen=closest|v1",
            source="Papineni et al. 2002; pycocoevalcap 1.2",
        )

    def statistics(
        self, scored: Sequence[CaptionTokens], everything: Sequence[CaptionTokens], context: ScoringContext
    ) -> list[tuple[float, ...]]:
        """Eleven counts per image, shared by BLEU-1 to BLEU-4."""
        done: list[tuple[float, ...]] | None = context.memo.get(_MEMO)
        if done is None:
            done = [bleu_statistics(t.prediction or "", t.references) for t in scored]
            context.memo[_MEMO] = done
        return done

    def aggregate(self, totals: np.ndarray) -> np.ndarray:
        """Corpus BLEU-n of summed counts: (..., 11) → (...)."""
        return bleu_from_statistics(totals, self.n)
