"""CIDEr: agreement with pycocoevalcap, worked examples, the corpus of document frequencies, the one-image trap."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import MetricError, MetricUnavailable
from harness.metrics import captions
from harness.metrics.base import ScoringContext
from harness.metrics.cider import DocumentFrequencies, cider, corpus_checksum
from harness.records import Case, Problem, Sample

REFERENCES = [
    ["a dog runs on the grass", "the brown dog is running in a field", "a dog"],
    ["a red car on a street", "a car is parked by the the road"],
    ["two people eat pizza at a table", "people eating pizza"],
    ["the the the the", ""],
]
PREDICTIONS = ["a dog runs on grass in a large field", "the the the car", "two people eat pizza at a table", ""]
SENTENCES = ["a dog runs on grass", "a red car on a street", "two people eat pizza"]


def _cases(predictions: list[str | None], references: list[str]) -> list[Case]:
    return [
        Case(Sample(str(i), references=(r,)), p, None if p is not None else Problem("out_of_memory", "too large"))
        for i, (p, r) in enumerate(zip(predictions, references, strict=True))
    ]


def test_cider_is_pycocoevalcaps_for_every_image() -> None:
    library = pytest.importorskip("pycocoevalcap.cider.cider")
    corpus, images = library.Cider().compute_score(
        dict(enumerate(REFERENCES)), {i: [p] for i, p in enumerate(PREDICTIONS)}
    )
    frequencies = DocumentFrequencies.of(REFERENCES)
    found = [cider(p, r, frequencies) for p, r in zip(PREDICTIONS, REFERENCES, strict=True)]
    assert found == pytest.approx(list(images), rel=1e-9, abs=1e-12)
    assert np.mean(found) == pytest.approx(corpus, rel=1e-9)


def test_one_reference_against_itself_is_10() -> None:
    frequencies = DocumentFrequencies.of([[s] for s in SENTENCES])
    assert [cider(s, [s], frequencies) for s in SENTENCES] == pytest.approx([10.0] * 3)


def test_untokenised_text_costs_points() -> None:
    # What scorers that skip the tokeniser report for one capital and one missing full stop: 8.10 instead of 10.
    references = ["a dog runs on grass.", "a red car on a street.", "two people eat pizza."]
    predictions = ["A dog runs on grass.", "a red car on a street", "two people eat pizza."]
    raw = DocumentFrequencies.of([[r] for r in references])
    values = [cider(p, [r], raw) for p, r in zip(predictions, references, strict=True)]
    assert np.mean(values) == pytest.approx(8.10, abs=0.005)


@pytest.mark.usefixtures("caption_tools")
def test_the_metric_tokenises_and_gives_10_for_the_same_text() -> None:
    predictions: list[str | None] = ["A dog runs on grass.", "a red car on a street", "two people eat pizza."]
    references = ["a dog runs on grass.", "a red car on a street.", "two people eat pizza."]
    scores = captions.cider().score(_cases(predictions, references), ScoringContext())
    assert [s.value for s in scores] == pytest.approx([10.0] * 3)


@pytest.mark.usefixtures("caption_tools")
def test_one_image_has_no_idf() -> None:
    with pytest.raises(MetricUnavailable, match=r"idf is undefined on a reference corpus of 1 image"):
        captions.cider().score(_cases(["a dog"], ["a dog"]), ScoringContext())


@pytest.mark.usefixtures("caption_tools")
def test_subset_idf_counts_unanswered_samples_too() -> None:
    answers: list[str | None] = ["a dog runs", "a red car on a road", "two people eat"]
    full = captions.cider().score(_cases(answers, SENTENCES), ScoringContext())
    partly = captions.cider().score(_cases([answers[0], None, answers[2]], SENTENCES), ScoringContext())
    assert [partly[0].value, partly[2].value] == [full[0].value, full[2].value]
    assert partly[1].unscored is not None


@pytest.mark.usefixtures("caption_tools")
def test_full_idf_counts_over_the_corpus_and_names_it() -> None:
    corpus = {"a": ("A dog runs on grass.",), "b": ("a red car", "a blue car"), "c": ("pizza",), "d": ("a dog",)}
    metric = captions.cider("full-idf")
    before = metric.info.signature
    scores = metric.score(
        _cases(["a dog runs"], ["a dog runs on grass"]), ScoringContext(reference_corpus=lambda: corpus)
    )
    frequencies = DocumentFrequencies.of([["a dog runs on grass"], ["a red car", "a blue car"], ["pizza"], ["a dog"]])
    assert scores[0].value == pytest.approx(cider("a dog runs", ["a dog runs on grass"], frequencies))
    assert metric.info.signature != before
    assert f"|images=4|refs={corpus_checksum(corpus)}|" in metric.info.signature


def test_corpus_checksum_ignores_order_and_sees_every_caption() -> None:
    one = corpus_checksum({"a": ("x", "y"), "b": ("z",)})
    assert one == corpus_checksum({"b": ("z",), "a": ("y", "x")})
    assert one != corpus_checksum({"a": ("x", "y"), "b": ("w",)})
    assert one != corpus_checksum({"a": ("x",), "b": ("y", "z")})


@pytest.mark.usefixtures("caption_tools")
def test_full_idf_without_a_corpus_says_which_file_gives_it() -> None:
    with pytest.raises(MetricUnavailable, match=r"captions_val2017\.json"):
        captions.cider("full-idf").score(_cases(["a", "b"], ["a", "b"]), ScoringContext())


def test_unknown_variant_names_the_known_ones() -> None:
    with pytest.raises(MetricError, match="known: subset-idf, full-idf"):
        captions.cider("idf")
