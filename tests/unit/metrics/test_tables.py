"""RNSS and RMS: the worked examples of the reference's own tests, the guards against its traps, and properties."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import MetricError
from harness.metrics.base import ScoringContext
from harness.metrics.tables import rms, rms_f1_metric, rnss, rnss_metric
from harness.records import Case, Sample

TARGET = "title | my table\nyear | argentina | brazil\n1999 | 200 | 158\n"
TURNED = "title | my table\ncountry | 1999\nargentina | 200\nbrazil | 158\n"
PREDICTION = "title | my table\nyear | argentina | brazil\n1999 | 202 | 0\n"


def score(metric, prediction, *references):
    return metric.score([Case(Sample("t1", references=references), prediction)], ScoringContext())[0]


@pytest.mark.parametrize("target", [TARGET, TURNED])
def test_worked_example_of_deplot_is_66_333_as_written_and_transposed(target):
    match = rms(PREDICTION, target)
    assert 100 * match.precision == pytest.approx(66.3333333)
    assert 100 * match.recall == pytest.approx(66.3333333)
    assert 100 * match.f1 == pytest.approx(66.3333333)


def test_a_number_one_percent_off_is_worth_0_99():
    assert rms("year | argentina\n1999 | 202", "year | argentina\n1999 | 200").f1 == pytest.approx(0.99)


def test_relative_error_from_theta_on_is_worth_nothing():
    assert rms("y | a\n1999 | 110", "y | a\n1999 | 100").f1 == 0.0
    assert rms("y | a\n1999 | 109", "y | a\n1999 | 100").f1 == pytest.approx(0.91)


def test_similar_texts_count_up_to_half_their_characters():
    # "abcd" and "abxx" differ in 2 of 4 characters: exactly at the limit, 1 - 0.5.
    assert rms("y | a\nr | abxx", "y | a\nr | abcd").f1 == pytest.approx(0.5)
    assert rms("y | a\nr | axxx", "y | a\nr | abcd").f1 == 0.0


def test_percent_reads_as_a_fraction_in_cells_but_is_no_number_for_rnss():
    assert rms("y | a\nr | 45%", "y | a\nr | 0.45").f1 == 1.0
    with pytest.raises(MetricError, match="no number"):
        rnss("1", "45%")


def test_rnss_worked_examples():
    assert rnss("0.5 | foo | 0.6", "baz | foo | 0.4") == pytest.approx(0.875)
    assert rnss("0.5 | foo | 0.6", "0.5 | foo | 0.6") == 1.0


def test_rnss_zero_meets_zero_and_nothing_else():
    assert rnss("0", "0") == 1.0
    assert rnss("1", "0") == 0.0


def test_rnss_of_a_prediction_without_numbers_is_zero():
    assert rnss("a | b", "1 | 2") == 0.0


def test_nan_and_inf_cells_are_no_numbers():
    assert rnss("nan | inf | 2", "2") == 1.0
    assert rms("y | a\nr | nan", "y | a\nr | nan").f1 == 1.0


def test_newline_token_of_deplot_parts_rows():
    assert rms(PREDICTION.replace("\n", " <0x0A> "), TARGET).f1 == pytest.approx(1.99 / 3)
    assert rnss("1<0x0A>2", "1\n2") == 1.0


def test_blank_lines_hold_no_row():
    assert rms("\n\n" + TARGET.replace("\n", "\n\n"), TARGET).f1 == 1.0


@pytest.mark.parametrize("target", ["", "a,b\n1,2", "only\none\ncolumn", "title | my table", "title | t\na,b\n1,2"])
def test_reference_without_data_points_is_unscored_and_names_the_sample(target):
    found = score(rms_f1_metric(), target, target)
    assert found.value is None
    assert found.unscored.kind == "invalid_reference"
    assert "t1" in found.unscored.message
    with pytest.raises(MetricError, match="no data point"):
        rms("a | b\n1 | 2", target)


def test_rnss_of_a_reference_without_numbers_is_unscored():
    assert score(rnss_metric(), "a | b", "a | b").unscored.kind == "invalid_reference"


@pytest.mark.parametrize("prediction", ["", "year, argentina\n1999, 200", "one"])
@pytest.mark.parametrize("variant", ["f1", "precision", "recall"])
def test_prediction_without_data_points_scores_zero(prediction, variant):
    assert score(rms_f1_metric(variant), prediction, TARGET).value == 0.0


def test_empty_headers_and_cells_divide_by_nothing():
    table = " |  | \n |  | "
    assert 0.0 <= rms(table, "a | b\nc | d").f1 <= 1.0
    assert rms("a |  | b\n |  | x", "a |  | b\n |  | x").f1 == 1.0


def test_equal_headers_overwrite_each_other_and_the_last_cell_counts():
    assert rms("y | a\nr | 1\nr | 2", "y | a\nr | 2").f1 == 1.0


def test_ragged_prediction_rows_are_read_as_far_as_they_go():
    match = rms("y | a | b\nr | 1", "y | a | b\nr | 1 | 2")
    assert (match.n_predicted, match.n_reference) in {(1, 2), (2, 2)}
    assert match.recall == pytest.approx(0.5)


def test_best_reference_counts_and_variants_share_one_match():
    extra = "year | argentina | brazil | chile\n1999 | 200 | 158 | 7"
    short = "year | argentina | brazil\n1999 | 200 | 158"
    assert score(rms_f1_metric(), extra, TURNED, extra).value == 1.0
    assert score(rms_f1_metric("precision"), extra, short).value == pytest.approx(2 / 3)
    assert score(rms_f1_metric("recall"), extra, short).value == 1.0
    assert score(rms_f1_metric("f1"), extra, short).value == pytest.approx(0.8)


def test_unknown_variant_names_the_known_ones():
    with pytest.raises(MetricError, match="f1, precision, recall"):
        rms_f1_metric("f2")
    with pytest.raises(MetricError, match="rnss"):
        rnss_metric("x")


CELL = st.text(alphabet="abc019.%", min_size=1, max_size=5)
TABLE = st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=2, max_size=5)


def text(rows):
    return "\n".join(" | ".join(row) for row in rows)


@settings(max_examples=60, deadline=None)
@given(TABLE, TABLE)
def test_scores_lie_in_0_1_and_a_table_meets_itself(first, second):
    assert rms(text(first), text(first)).f1 == pytest.approx(1.0)
    match = rms(text(first), text(second))
    assert 0.0 <= match.precision <= 1.0 + 1e-12
    assert 0.0 <= match.recall <= 1.0 + 1e-12


@settings(max_examples=60, deadline=None)
@given(TABLE)
def test_order_of_rows_and_turning_the_table_change_nothing(rows):
    header, *body = rows
    keys = {(row[0], column) for row in body for column in header[1:]}
    if len(keys) == len(body) * 2:  # equal headers overwrite each other, where order matters
        assert rms(text([header, *reversed(body)]), text(rows)).f1 == pytest.approx(1.0)
        if len(set(header[1:]) | {row[0] for row in body}) == 2 + len(body):
            assert rms(text(zip(*rows, strict=True)), text(rows)).f1 == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_rnss_does_not_see_the_order_of_numbers(numbers, random):
    shuffled = random.sample(numbers, len(numbers))
    assert rnss(" | ".join(map(str, shuffled)), "\n".join(map(str, numbers))) == pytest.approx(1.0)
