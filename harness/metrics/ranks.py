"""Recall at k of rankings: whether a right candidate stands among the first k.

Source: Karpathy and Fei-Fei 2015, section 4.1 (R@K); an image with five captions is found if any of them is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.metrics.letters import UNPARSED
from harness.metrics.variants import invalid_reference, known_variant
from harness.records import Case, MetricInfo, Score

VARIANTS = ("1", "5", "10")


def read_ranking(text: str) -> tuple[str, ...] | None:
    """The ids of an answer that is a JSON list of distinct strings, best first; `None` for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        return None
    return tuple(found) if len(set(found)) == len(found) else None


class Recall(MeanMetric):
    """Share of queries with a right candidate among the first `k`."""

    by_sample = True

    def __init__(self, k: int) -> None:
        self.k = k
        self.info = MetricInfo(
            "recall", str(k), f"recall|k={k}|v1", source="Karpathy and Fei-Fei 2015, section 4.1: R@K"
        )

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each query; `detail` says at which rank the first right candidate stands."""
        return [self._scored(case) for case in cases]

    def _scored(self, case: Case) -> Score:
        if case.text is None:
            return unscored(case)
        right = set(case.sample.references)
        if not right:
            return invalid_reference(case, "no candidate is right; give the ids as references")
        ranking = read_ranking(case.text)
        if ranking is None:
            return mean_score(case, 0.0, reference=", ".join(case.sample.references), rule=UNPARSED)
        rank = next((place for place, name in enumerate(ranking, 1) if name in right), None)
        return mean_score(
            case,
            rank is not None and rank <= self.k,
            extracted=ranking[0] if ranking else "",
            reference=", ".join(case.sample.references),
            rule="json_ids",
            detail=f"rank {rank}" if rank else f"not among the first {len(ranking)}",
        )


def recall_metric(variant: str = "") -> Recall:
    """Recall at `variant`: 1, 5 or 10.

    Raises:
        MetricError: any other k.
    """
    return Recall(int(known_variant("recall", variant, VARIANTS)))
