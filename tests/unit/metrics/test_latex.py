r"""Formula metrics: agreement with sacrebleu and with im2markup's definitions, worked examples, empty answers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness.errors import MetricError
from harness.metrics import latex
from harness.metrics.base import Metric, ScoringContext
from harness.records import Case, Problem, Sample, Score

FACTORIES = (latex.exact_match_metric, latex.edit_similarity_metric, latex.bleu_4_metric)


def _cases(*pairs: tuple[str | None, str]) -> list[Case]:
    return [Case(Sample(str(i), references=(reference,)), text) for i, (text, reference) in enumerate(pairs)]


def _corpus(metric: Metric, cases: list[Case]) -> float:
    scores = metric.score(cases, ScoringContext())
    return float(metric.aggregate(np.array([s.statistics for s in scores if s.unscored is None]).sum(0)))


def _one(metric: Metric, text: str, *references: str) -> Score:
    return metric.score([Case(Sample("s", references=references), text)], ScoringContext())[0]


def test_bleu_is_sacrebleus_without_tokeniser_and_smoothing() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    rng = random.Random(0)
    symbols = [r"\frac", "{", "}", "a", "b", "^", "_", "+", "1", r"\alpha"]
    references = [[rng.choice(symbols) for _ in range(rng.randrange(3, 30))] for _ in range(60)]
    predictions = [
        [t if rng.random() < 0.8 else rng.choice(symbols) for t in r][: rng.randrange(2, 30)] for r in references
    ]
    cases = _cases(*((" ".join(p), " ".join(r)) for p, r in zip(predictions, references, strict=True)))
    expected = sacrebleu.corpus_bleu(
        [" ".join(p) for p in predictions],
        [[" ".join(r) for r in references]],
        tokenize="none",
        smooth_method="none",
        force=True,
    )
    assert 100 * _corpus(latex.bleu_4_metric(), cases) == pytest.approx(expected.score, abs=1e-9)


def test_bleu_without_a_matching_4_gram_is_0() -> None:
    assert _one(latex.bleu_4_metric(), "a b c x d e f", "a b c y d e f").value == 0
    assert _one(latex.bleu_4_metric(), "a b c", "a b c").value == 0, "unsmoothed: three tokens hold no 4-gram"


def test_edit_similarity_is_summed_over_the_corpus_not_averaged() -> None:
    # distances 1 of 3 and 0 of 7 tokens: 1 - 1/10, where the mean of the two would be 0.833
    cases = _cases(("a+b", "a+c"), ("abcdefg", "abcdefg"))
    assert _corpus(latex.edit_similarity_metric(), cases) == pytest.approx(0.9)
    assert _one(latex.edit_similarity_metric(), r"\frac{a}{b}", r"\frac{a}{c}").statistics == (1, 7)


def test_longer_predictions_pay_for_their_length() -> None:
    # HELM cuts the reference to the prediction's length, so that a right beginning scores 1; here it does not
    assert _one(latex.edit_similarity_metric(), "ab", "abcdefgh").value == pytest.approx(0.25)
    assert _one(latex.edit_similarity_metric(), "abcdefgh", "ab").value == pytest.approx(0.25)


def test_exact_match_forgives_spaces_wrappers_and_labels_alone() -> None:
    metric = latex.exact_match_metric()
    score = _one(metric, "```latex\n$$\\frac{a}{b}$$\n```", r"\frac { a } { b } \label{eq:1}")
    assert (score.value, score.rule) == (1.0, "fence+display-dollars")
    assert score.extracted == score.reference == r"\frac { a } { b }"
    assert _one(metric, "x^2", "x^{2}").value == 0
    assert _one(latex.exact_match_metric("tokens-v1"), "x^2", "x^{2}").value == 1


@pytest.mark.parametrize("factory", FACTORIES)
def test_empty_answer_scores_0_and_is_counted(factory: type) -> None:
    score = _one(factory(), "$$ $$", "a+b+c+d")
    assert (score.value, score.rule, score.unscored) == (0.0, "empty", None)
    good = ("a+b+c+d", "a+b+c+d")
    assert _corpus(factory(), _cases(good, ("", "a+b+c+d"))) < 0.9
    assert _corpus(factory(), _cases(good)) == pytest.approx(1.0)


@pytest.mark.parametrize("factory", FACTORIES)
def test_empty_reference_is_unscored_even_against_an_empty_answer(factory: type) -> None:
    for references in ((), ("",), (r"\label{a}",)):
        unscored = _one(factory(), "", *references).unscored
        assert unscored is not None
        assert unscored.kind == "invalid_reference"


@pytest.mark.parametrize("factory", FACTORIES)
def test_unanswered_keeps_its_reason(factory: type) -> None:
    case = Case(Sample("s", references=("x",)), None, Problem("missing_image", "a.png is not there"))
    assert factory().score([case], ScoringContext())[0].unscored == case.failure


def test_nearest_of_several_references_counts() -> None:
    assert _one(latex.edit_similarity_metric(), "abcd", "xyzw", "abce").statistics == (1, 4)
    assert _one(latex.exact_match_metric(), "ab", "ba", "a b").value == 1


@pytest.mark.parametrize("factory", FACTORIES)
def test_unknown_variant_names_the_known_ones(factory: type) -> None:
    with pytest.raises(MetricError, match="known: whitespace-v1, tokens-v1"):
        factory("katex")
