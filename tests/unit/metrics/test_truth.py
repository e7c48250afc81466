"""True/false answers: each reading rule by example, and consistency over the images of a sentence by hand."""

from __future__ import annotations

import pytest

from harness.errors import MetricError
from harness.metrics.base import ScoringContext
from harness.metrics.truth import accuracy_metric, consistency_metric, read_truth
from harness.records import Case, Sample


@pytest.mark.parametrize(
    ("text", "answer", "rule"),
    [
        ("True", "True", "word"),
        (" false.\n", "False", "word"),
        ("**True**", "True", "word"),
        ("yes", "True", "yes_no"),
        ("No.", "False", "yes_no"),
        ("No, there are two dogs.", "False", "leading_word"),
        ("True. It would be false to say more.", "True", "leading_word"),
        ("The statement is false", "False", "unique_word"),
        ("The answer is: True", "True", "unique_word"),
        ("No dogs are there", None, "unparsed"),
        ("It is not true", None, "unparsed"),
        ("It isn't really true", None, "unparsed"),
        ("true or false?", None, "unparsed"),
        ("untrue", None, "unparsed"),
        ("", None, "unparsed"),
    ],
)
def test_rules(text, answer, rule):
    assert read_truth(text) == (answer, rule)


def test_the_letter_of_a_ranked_option_is_read_through_the_options():
    assert read_truth("B", ("True", "False")) == ("False", "letter")
    assert read_truth("B") == (None, "unparsed")


def cases(*answers, group="s1"):
    return [
        Case(Sample(f"{group}-{number}", references=("True",), cluster=group, group=group), answer)
        for number, answer in enumerate(answers)
    ]


def test_accuracy_counts_examples_and_consistency_sentences():
    context = ScoringContext()
    everything = [*cases("True", "yes"), *cases("True", "False", group="s2"), *cases("True", "dunno", group="s3")]
    assert [score.value for score in accuracy_metric().score(everything, context)] == [1, 1, 1, 0, 1, 0]
    sentences = consistency_metric().score(everything, context)
    assert [(score.unit, score.value) for score in sentences] == [("s1", 1.0), ("s2", 0.0), ("s3", 0.0)]
    assert [score.rule for score in sentences] == ["word+yes_no", "word", "unparsed"]
    assert sentences[0].cluster == "s1"
    assert sentences[0].sample_id == "s1-0"


def test_an_unanswered_example_leaves_its_sentence_unscored():
    (score,) = consistency_metric().score(cases("True", None), ScoringContext())
    assert score.value is None
    assert score.unscored.kind == "no_answer"
    assert "s1-1" in score.unscored.message


def test_reference_that_is_neither_is_unscored_and_named():
    (score,) = accuracy_metric().score([Case(Sample("n1", references=("maybe",)), "True")], ScoringContext())
    assert score.unscored.kind == "invalid_reference"
    assert "n1" in score.unscored.message
    assert "maybe" in score.unscored.message


@pytest.mark.parametrize("factory", [accuracy_metric, consistency_metric])
def test_there_are_no_variants(factory):
    with pytest.raises(MetricError, match="no variant"):
        factory("strict")
