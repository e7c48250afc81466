"""Exact match with any reference, by worked examples."""

from __future__ import annotations

import pytest

from harness.metrics.base import ScoringContext
from harness.metrics.exact import exact_match_metric
from harness.records import Case, Sample


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("a red cross", 1.0),
        ("  A  red\ncross. ", 1.0),
        ("a large red cross", 1.0),
        ("a red crosses", 0.0),
        ("", 0.0),
    ],
)
def test_an_answer_counts_if_it_equals_one_of_the_references(answer: str, value: float) -> None:
    sample = Sample("s", references=("a red cross", "a large red cross"))
    (score,) = exact_match_metric().score([Case(sample, answer)], ScoringContext())
    assert score.value == value


def test_a_sample_without_references_is_unscored() -> None:
    (score,) = exact_match_metric().score([Case(Sample("s"), "a")], ScoringContext())
    assert score.value is None
    assert score.unscored is not None
