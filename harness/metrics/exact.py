"""Exact match of a short text, such as a caption of a synthetic scene, with any of its references.

Case, blanks at the ends and between words, and a full stop at the end are ignored; nothing else is.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.metrics.variants import invalid_reference, no_variants
from harness.records import Case, MetricInfo, Score


def normal(text: str) -> str:
    """The text as it is compared."""
    return " ".join(text.lower().split()).removesuffix(".").rstrip()


class ExactMatch(MeanMetric):
    """Share of samples whose answer equals one of the references."""

    by_sample = True

    info = MetricInfo("exact_match", "", "exact_match|any|case=fold|v1", source="ours: for texts made from templates")

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each sample."""
        return [_scored(case) for case in cases]


def _scored(case: Case) -> Score:
    if case.text is None:
        return unscored(case)
    references = [normal(reference) for reference in case.sample.references]
    if not any(references):
        return invalid_reference(case, "there is no reference, or only empty ones; remove the sample or repair it")
    answer = normal(case.text)
    met = answer if answer in references else references[0]
    return mean_score(case, answer in references, extracted=answer, reference=met, rule="whole")


def exact_match_metric(variant: str = "") -> ExactMatch:
    """Exact match with any reference; it has one definition.

    Raises:
        MetricError: if a variant is named.
    """
    no_variants("exact_match", variant)
    return ExactMatch()
