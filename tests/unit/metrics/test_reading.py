"""Reading metrics: how texts are taken apart, and both metrics, by examples worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MetricError
from harness.metrics.base import ScoringContext
from harness.metrics.reading import answer_in_text_metric, place_of, reading_tokens, token_recall, token_recall_metric
from harness.records import Case, Problem, Sample


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Net sales, 2019", ["net", "sales", "2019"]),
        ("$1,234,567.50", ["1234567.5"]),
        ("12,34", ["12", "34"]),
        ("27.5%", ["27.5"]),
        ("3.19t", ["3.19", "t"]),
        ("12.0 012 12", ["12", "12", "12"]),
        ("0 -0 0.00", ["0", "0", "0"]),
        ("-5 −5 -$5 (-.5)", ["-5", "-5", "-5", "-0.5"]),
        ("2010-15", ["2010", "15"]),
        ("well-known O’Brien's", ["well", "known", "o'brien's"]),
        ("Ünïcode ﬁne", ["ünïcode", "fine"]),
        ("1e5", ["1", "e", "5"]),
        ("100000000000000000000000000000001", ["100000000000000000000000000000001"]),
        ("%-,.", []),
        ("", []),
    ],
)
def test_a_text_is_taken_apart_into_words_and_numbers(text, tokens):
    assert reading_tokens(text) == tokens


def case(text, *references, failure=None):
    return Case(Sample("s", references=references, cluster="chart.png"), text, failure)


CHART = "Meat yield, 2004\nUnsafe sex\n1.31 million\nAlcohol use\n880,756\nSmoking\n27.5%"


@pytest.mark.parametrize(
    ("reference", "found", "rule"),
    [
        ("Alcohol use", 1, "text"),
        ("alcohol USE", 1, "text"),
        ("sex 1.31", 1, "text"),
        ("880756", 1, "number"),
        ("880,756.0", 1, "number"),
        ("27.5", 1, "number"),
        ("0.275", 0, "number"),
        ("80", 0, "number"),
        ("use Alcohol", 0, "text"),
        ("Alco", 0, "text"),
        ("-27.5", 0, "number"),
        ("Yes", 0, "text"),
    ],
)
def test_an_answer_stands_in_a_text_as_whole_tokens_in_order(reference, found, rule):
    (score,) = answer_in_text_metric().score([case(CHART, reference)], ScoringContext())
    assert (score.value, score.rule, score.cluster) == (found, rule, "chart.png")
    assert (score.extracted is not None) == bool(found)


def test_any_of_several_references_counts_and_the_found_one_is_named():
    (score,) = answer_in_text_metric().score([case("a dog", "cat", "Dog")], ScoringContext())
    assert (score.value, score.reference, score.extracted, score.detail) == (1.0, "Dog", "dog", "token 2 of 2")


def test_an_empty_text_is_a_wrong_answer_and_no_text_is_unscored():
    empty, absent = answer_in_text_metric("exact").score(
        [case("", "12"), case(None, "12", failure=Problem("model_error", "broke"))], ScoringContext()
    )
    assert empty.value == 0.0
    assert absent.value is None
    assert absent.unscored.kind == "model_error"


@pytest.mark.parametrize("factory", [answer_in_text_metric, token_recall_metric])
def test_a_reference_without_letter_or_digit_cannot_be_looked_for(factory):
    (score,) = factory().score([case("anything", "%", "")], ScoringContext())
    assert score.value is None
    assert score.unscored.kind == "invalid_reference"


def test_recall_counts_repeated_tokens_each_time():
    assert token_recall("2 dogs and 2 cats", "2 | 2 | 2 | birds") == (2, 4)


def test_recall_of_several_references_is_that_of_the_best():
    (score,) = token_recall_metric().score([case("STOP", "a red stop sign", "stop", "a car")], ScoringContext())
    assert (score.value, score.reference) == (1.0, "stop")
    (table,) = token_recall_metric().score([case("Year 2001\n12", "Year | Sales\n2001 | 12")], ScoringContext())
    assert table.value == pytest.approx(3 / 4)


@given(st.text(max_size=60))
def test_every_text_holds_itself_and_recalls_itself_whole(text):
    tokens = reading_tokens(text)
    assert place_of(tokens, tokens) == 0
    found, total = token_recall(text, text)
    assert found == total == len(tokens)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_lines_around_an_answer_do_not_hide_it(before, answer, after):
    whole = reading_tokens("\n".join([before, answer, after]))
    assert place_of(reading_tokens(answer), whole) is not None


def test_unknown_variants_are_refused():
    with pytest.raises(MetricError, match="known: exact"):
        answer_in_text_metric("loose")
    with pytest.raises(MetricError, match="only the default"):
        token_recall_metric("loose")
