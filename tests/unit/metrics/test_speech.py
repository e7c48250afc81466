"""Error rates: normalisation and counts by hand, and against an edit distance of our own making."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from harness.errors import MetricError, MetricUnavailable
from harness.metrics.base import ScoringContext
from harness.metrics.speech import cer_metric, lower_nopunct, wer_metric
from harness.records import Case, Sample

pytest.importorskip("jiwer", reason="the speech extra is not installed")
CONTEXT = ScoringContext()


def case(text, *references, name="s", speaker="1"):
    return Case(Sample(name, references=references, cluster=speaker), text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Mr. O’Brien's well-known 'Dogs'!", "mr o'brien's well known dogs"),
        ("  A\tB\n", "a b"),
        ("DON'T", "don't"),
        ("20 %", "20"),
        ("café É", "café é"),
        ("' -- '", ""),
    ],
)
def test_normalisation_keeps_letters_digits_and_inner_apostrophes(text, normal):
    assert lower_nopunct(text) == normal


@pytest.mark.parametrize(
    ("answer", "errors"),
    [
        ("the cat sat", 0),
        ("The CAT, sat.", 0),
        ("the cat", 1),
        ("the dog sat", 1),
        ("the the cat sat down", 2),
        ("", 3),
    ],
)
def test_word_errors_are_counted_by_hand(answer, errors):
    (score,) = wer_metric().score([case(answer, "THE CAT SAT")], CONTEXT)
    assert score.statistics == (errors, 3)
    assert score.value == pytest.approx(errors / 3)
    assert score.cluster == "1"


def test_the_corpus_rate_weighs_recordings_by_their_words():
    metric = wer_metric()
    scores = metric.score([case("b", "A", name="x"), case("a b c d", "A B C E", name="y")], CONTEXT)
    totals = np.sum([score.statistics for score in scores], axis=0)
    assert float(metric.aggregate(totals)) == pytest.approx(2 / 5)
    assert np.mean([score.value for score in scores]) == pytest.approx((1 + 1 / 4) / 2)


def test_a_rate_can_exceed_one_and_lower_is_better():
    metric = wer_metric()
    (score,) = metric.score([case("a b c", "x")], CONTEXT)
    assert score.value == 3.0
    assert not metric.info.higher_is_better
    assert metric.info.unit == "score"


def test_verbatim_minds_case_and_marks():
    (score,) = wer_metric("verbatim").score([case("the cat.", "THE cat")], CONTEXT)
    assert score.statistics == (2, 2)


def test_characters_include_blanks():
    (score,) = cer_metric().score([case("ab", "a b")], CONTEXT)
    assert score.statistics == (1, 3)


WORDS = st.lists(st.sampled_from(["a", "b", "cc", "d'e"]), max_size=7)


@given(WORDS, WORDS.filter(bool))
def test_counts_equal_the_edit_distance_of_words_and_characters(answer, reference):
    one = case(" ".join(answer), " ".join(reference))
    (words,), (characters,) = wer_metric().score([one], CONTEXT), cer_metric().score([one], CONTEXT)
    assert words.statistics == (Levenshtein.distance(answer, reference), len(reference))
    texts = " ".join(answer), " ".join(reference)
    assert characters.statistics == (Levenshtein.distance(*texts), len(texts[1]))


def test_a_reference_without_words_is_unscored_with_its_sample_named():
    (score,) = wer_metric().score([case("a", "...", name="84-1-0")], CONTEXT)
    assert score.unscored.kind == "invalid_reference"
    assert "84-1-0" in score.unscored.message


def test_without_jiwer_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jiwer", None)
    with pytest.raises(MetricUnavailable, match=r"vlm-harness\[speech\]"):
        wer_metric().score([], CONTEXT)


def test_unknown_variants_are_refused():
    with pytest.raises(MetricError, match="known: lower-nopunct, verbatim"):
        cer_metric("whisper")
