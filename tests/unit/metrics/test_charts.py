"""Relaxed accuracy: verdicts executed on the reference code, its golden vector, and the kinder and stricter columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MetricError
from harness.metrics.base import ScoringContext
from harness.metrics.charts import relaxed_accuracy, relaxed_accuracy_metric
from harness.records import Case, Problem, Sample


def value(prediction, *references, variant=""):
    case = Case(Sample("s", references=references, cluster="c"), prediction)
    return relaxed_accuracy_metric(variant).score([case], ScoringContext())[0].value


EXECUTED = [  # (reference, prediction, verdict) as executed on the copy in VLMEvalKit
    ("2010", "1990", True),
    ("45", "45%", False),
    ("0.45", "45%", True),
    ("1,000", "1000", False),
    ("1000", "1,000", False),
    ("0", "0.0", False),
    ("5", "5.", True),
    ("12", "$12", False),
    ("Yes", "Yes.", False),
    ("-3", "-3.1", True),
    ("10", "1_0", True),
    ("nan", "nan", False),
    ("3", "three", False),
    ("14", "14 ", True),
]


@pytest.mark.parametrize(("reference", "prediction", "verdict"), EXECUTED)
def test_default_gives_the_verdicts_executed_on_the_reference_code(reference, prediction, verdict):
    assert relaxed_accuracy(prediction, reference) is verdict
    assert value(prediction, reference) == float(verdict)


def test_golden_vector_of_pix2struct_scores_62_5():
    predictions = ["abc", "abc", "Abc", "100%", "100%", "100%", "100%", "Don't"]
    targets = ["abc", "Abc", "abc", "96%", "94%", "0.96", "0.94", "Won't"]
    values = [value(prediction, target) for prediction, target in zip(predictions, targets, strict=True)]
    assert 100 * sum(values) / len(values) == 62.5


@pytest.mark.parametrize(
    ("reference", "prediction", "verdict"),
    [
        ("inf", "inf", False),  # inf - inf is nan
        ("100", "105", True),  # the tolerance itself is accepted
        ("100", "105.1", False),
        ("0", "0", True),
        ("0%", "0", False),
        ("50%%", "0.5", True),  # every trailing percent sign goes
        ("1e3", "1000", True),
        ("ÄB", "äb", True),
    ],
)
def test_edges_of_the_reference_rule(reference, prediction, verdict):
    assert relaxed_accuracy(prediction, reference) is verdict


def test_empty_reference_is_an_error_of_the_function_and_unscored_in_a_run():
    with pytest.raises(MetricError, match="reference is empty"):
        relaxed_accuracy("1", "")
    score = relaxed_accuracy_metric().score([Case(Sample("q7", references=("",)), "1")], ScoringContext())[0]
    assert score.value is None
    assert score.statistics == ()
    assert score.unscored.kind == "invalid_reference"
    assert "q7" in score.unscored.message


def test_any_of_several_references_counts_and_the_score_names_it():
    case = Case(Sample("s", references=("cat", "50")), "51")
    score = relaxed_accuracy_metric().score([case], ScoringContext())[0]
    assert (score.value, score.reference, score.rule, score.extracted) == (1.0, "50", "number", "51")


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("1,000", "1000"),
        ("1000", "1,000"),
        ("12", "$12"),
        ("€12", "12"),
        ("Yes", "Yes."),
        ("0", "0.0"),
        ("45", "45%"),
        ("0.45", "45%"),
        ("45%", "0.45"),
        ("45%", "45"),
        ("-3", "−3"),
        ("14", " 14.\n"),
    ],
)
def test_normalised_forgives_spelling_of_numbers_and_final_punctuation(reference, prediction):
    assert value(prediction, reference, variant="normalised") == 1.0


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [("0", "0.1"), ("45%", "0.45%"), ("10", "1_1"), ("nan", "3"), ("1,5", "15"), ("a", "b")],
)
def test_normalised_still_wants_the_right_answer(reference, prediction):
    assert value(prediction, reference, variant="normalised") == 0.0


def test_strict_has_no_tolerance_but_ignores_case():
    assert value("yes", "Yes", variant="strict") == 1.0
    assert value("5.0", "5", variant="strict") == 0.0


def test_year_exact_wants_years_exactly_and_keeps_the_tolerance_elsewhere():
    assert value("1990", "2010", variant="year_exact") == 0.0
    assert value("2010.0", "2010", variant="year_exact") == 1.0
    assert value("1850", "1899", variant="year_exact") == 1.0
    assert value("51", "50", variant="year_exact") == 1.0


def test_unanswered_sample_is_unscored_with_its_reason():
    failure = Problem("out_of_memory", "batch of 1")
    score = relaxed_accuracy_metric().score([Case(Sample("s", references=("1",)), None, failure)], ScoringContext())[0]
    assert score.value is None
    assert score.unscored == failure


def test_empty_answer_is_wrong_not_unscored():
    assert value("", "1") == 0.0


def test_signatures_differ_between_variants_and_state_the_rule():
    known = ("pix2struct", "strict", "normalised", "year_exact")
    signatures = {relaxed_accuracy_metric(variant).info.signature for variant in known}
    assert len(signatures) == 4
    assert relaxed_accuracy_metric().info.signature == "relaxed_accuracy|pix2struct|tol=0.05|zero=text|v1"


def test_unknown_variant_names_the_known_ones():
    with pytest.raises(MetricError, match=r"mistral.*pix2struct, strict, normalised, year_exact"):
        relaxed_accuracy_metric("mistral")


@given(st.text(min_size=1))
def test_strict_right_answer_is_right_under_every_text_rule(text):
    assert value(text, text, variant="strict") == 1.0


@given(st.floats(allow_nan=False, allow_infinity=False).filter(bool), st.sampled_from(["pix2struct", "normalised"]))
def test_a_number_matches_itself(number, variant):
    assert value(repr(number), repr(number), variant=variant) == 1.0
