"""Recall at k. Evidence: worked examples, and the chance level in closed form."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.errors import MetricError
from harness.metrics.base import ScoringContext
from harness.metrics.ranks import read_ranking, recall_metric
from harness.models.base import Example, Generation, ModelInput
from harness.models.controls import RandomChoice
from harness.records import Case, ModelSettings, Request, Sample, Score


def scored(text: str | None, references: tuple[str, ...], k: str) -> Score:
    (score,) = recall_metric(k).score([Case(Sample("q", references=references), text)], ScoringContext())
    return score


@pytest.mark.parametrize(
    ("references", "k", "value", "detail"),
    [
        (("a",), "1", 1, "rank 1"),
        (("b",), "1", 0, "rank 2"),
        (("b",), "5", 1, "rank 2"),
        (("f",), "5", 0, "rank 6"),
        (("f",), "10", 1, "rank 6"),
        (("x", "c", "b"), "5", 1, "rank 2"),
        (("x",), "10", 0, "not among the first 6"),
    ],
)
def test_a_query_counts_if_any_right_candidate_is_among_the_first_k(
    references: tuple[str, ...], k: str, value: int, detail: str
) -> None:
    score = scored('["a", "b", "c", "d", "e", "f"]', references, k)
    assert (score.value, score.detail, score.rule) == (value, detail, "json_ids")
    assert score.extracted == "a"


@pytest.mark.parametrize("text", ["", "a", '{"a": 1}', "[1, 2]", '["a", "a"]', '["a"', "null", "[" * 100_000])
def test_an_answer_that_is_no_list_of_distinct_ids_is_wrong_and_counted_as_unparsed(text: str) -> None:
    assert read_ranking(text) is None
    score = scored(text, ("a",), "10")
    assert (score.value, score.rule) == (0, "unparsed")


def test_an_empty_ranking_is_read_and_wrong() -> None:
    score = scored("[]", ("a",), "1")
    assert (score.value, score.rule, score.extracted) == (0, "json_ids", "")


def test_without_a_right_candidate_there_is_no_score() -> None:
    score = scored('["a"]', (), "1")
    assert score.value is None
    assert score.unscored.kind == "invalid_reference"


def test_recall_grows_with_k_and_names_k_in_its_signature() -> None:
    assert [recall_metric(k).info.signature for k in ("", "5", "10")] == [
        "recall|k=1|v1",
        "recall|k=5|v1",
        "recall|k=10|v1",
    ]
    with pytest.raises(MetricError, match="known: 1, 5, 10"):
        recall_metric("3")


def test_the_random_control_finds_one_of_r_right_ones_among_n_at_chance() -> None:
    """1 - C(n - r, k) / C(n, k) of 4,000 queries; four standard errors."""
    n, r, queries = 50, 5, 4000
    model = RandomChoice.load(ModelSettings("random-choice", "random-choice"))
    model.fit(
        [Example(f"i{q}", "", (), (), lambda: (), "", 1) for q in range(3)]
        + [Example(f"t{c:02}", "", (), (), lambda: (), "a text", 0) for c in range(n)]
    )
    asked = [ModelInput(Request("f", "t", f"q{q}", ""), (None,)) for q in range(queries)]  # type: ignore[arg-type]
    answers = model.retrieve(asked)
    right = tuple(f"t{c:02}" for c in range(r))
    for k in (1, 5, 10):
        cases = [
            Case(Sample(f"q{q}", references=right), a.text) for q, a in enumerate(answers) if isinstance(a, Generation)
        ]
        found = np.mean([s.value for s in recall_metric(str(k)).score(cases, ScoringContext())])
        chance = 1 - np.prod([(n - r - j) / (n - j) for j in range(k)])
        assert abs(found - chance) < 4 * np.sqrt(chance * (1 - chance) / queries)
    assert all(len(json.loads(a.text)) == 10 for a in answers if isinstance(a, Generation))
