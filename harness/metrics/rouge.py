"""ROUGE-L as pycocoevalcap computes it: the mean over images of an F-measure of longest common subsequences.

Source: Lin 2004; pycocoevalcap 1.2 `rouge.py` (beta = 1.2; best precision and best recall over the references, which
may be of different references).
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.metrics.base import MeanMetric, ScoringContext
from harness.metrics.caption_tokens import CaptionMetric, CaptionTokens
from harness.records import MetricInfo

BETA = 1.2


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """ROUGE-L of one tokenised prediction, in [0, 1]; 0 for an empty one."""
    from rapidfuzz.distance import LCSseq

    if not prediction:
        return 0.0  # the library takes "" for one empty token, which an empty reference would match
    words = prediction.split(" ")
    pairs = [(LCSseq.similarity(words, reference), len(reference)) for reference in (r.split(" ") for r in references)]
    precision = max(common for common, _ in pairs) / len(words)
    recall = max(common / length for common, length in pairs)
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


class RougeL(MeanMetric, CaptionMetric):
    """Mean ROUGE-L over images."""

    info = MetricInfo(
        name="rouge-l",
        variant="",
        signature=f"rouge-l|pycocoevalcap|tok=ptb-3.4.1|beta={BETA}|v1",
        source="Lin 2004; pycocoevalcap 1.2",
    )

    def statistics(
        self, scored: Sequence[CaptionTokens], everything: Sequence[CaptionTokens], context: ScoringContext
    ) -> list[tuple[float, ...]]:
        """(value, 1) per image."""
        return [(rouge_l(t.prediction or "", t.references), 1.0) for t in scored]
