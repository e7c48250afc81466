"""Caption tokens, BLEU and ROUGE-L: agreement with pycocoevalcap, worked examples, properties, bad input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from harness.errors import MetricError
from harness.metrics import captions, ptb
from harness.metrics.base import Metric, ScoringContext
from harness.metrics.bleu import bleu_from_statistics, bleu_statistics
from harness.metrics.rouge import rouge_l
from harness.records import Case, Problem, Sample

REFERENCES = [
    ["a dog runs on the grass", "the brown dog is running in a field", "a dog"],
    ["a red car on a street", "a car is parked by the the road"],
    ["two people eat pizza at a table", "people eating pizza"],
    ["the the the the", "a b c d e f"],
    ["a man plays guitar"],
]
PREDICTIONS = ["a dog runs on grass", "the the the car", "two people eat pizza at a table", "", "violin"]


def _case(name: str, text: str | None, references: Sequence[str]) -> Case:
    return Case(Sample(name, references=tuple(references)), text)


def _corpus(metric: Metric, cases: Sequence[Case]) -> float:
    scores = metric.score(cases, ScoringContext())
    return float(metric.aggregate(np.array([s.statistics for s in scores if s.unscored is None]).sum(0)))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_bleu_is_pycocoevalcaps_for_corpus_and_sentence(n: int) -> None:
    library = pytest.importorskip("pycocoevalcap.bleu.bleu")
    gts = dict(enumerate(REFERENCES))
    corpus, sentences = library.Bleu(4).compute_score(gts, {i: [p] for i, p in enumerate(PREDICTIONS)}, verbose=0)
    statistics = np.array([bleu_statistics(p, r) for p, r in zip(PREDICTIONS, REFERENCES, strict=True)])
    assert float(bleu_from_statistics(statistics.sum(0), n)) == pytest.approx(corpus[n - 1], rel=1e-12)
    assert bleu_from_statistics(statistics, n) == pytest.approx(sentences[n - 1], rel=1e-12)


def test_bleu_statistics_of_a_worked_example() -> None:
    # Papineni et al. 2002, section 2.1: "the" is clipped to two matches of seven.
    found = bleu_statistics("the the the the the the the", ["the cat is on the mat", "there is a cat on the mat"])
    assert found == (2, 0, 0, 0, 7, 6, 5, 4, 7, 7, 1)
    # of the references with 2 and 4 words, both one word away, the shorter counts
    assert bleu_statistics("a b c", ["a b c d", "a b"])[9] == 2


def test_rouge_is_pycocoevalcaps() -> None:
    library = pytest.importorskip("pycocoevalcap.rouge.rouge")
    for prediction, references in zip(PREDICTIONS, REFERENCES, strict=True):
        expected = library.Rouge().calc_score([prediction], references)
        assert rouge_l(prediction, references) == pytest.approx(expected, rel=1e-12)


def test_rouge_of_a_worked_example() -> None:
    # longest common subsequence "a c" of 2; precision 2/2, recall 2/4
    assert rouge_l("a c", ["a b c d"]) == pytest.approx((1 + 1.44) * 1 * 0.5 / (0.5 + 1.44 * 1))
    assert rouge_l("", [""]) == 0, "an empty prediction scores 0 even against an empty reference"


@pytest.mark.usefixtures("caption_tools")
class TestTokens:
    def test_punctuation_and_capitals_go_and_contractions_part(self) -> None:
        captions = ["A man's dog, running.", "It's (red)!", "Two\npeople\r\neat\u2028pizza", "...", "", "Café İ"]
        assert ptb.tokenise(captions) == {
            "A man's dog, running.": "a man 's dog running",
            "It's (red)!": "it 's -lrb- red -rrb-",
            "Two\npeople\r\neat\u2028pizza": "two people eat pizza",
            "...": "",
            "": "",
            "Café İ": "café i̇",
        }

    def test_tokens_do_not_depend_on_the_neighbours(self) -> None:
        hard = ["A bus to No.", "5 men", "A sign that reads K.", "men in cowboy b.", "He lives in the U.S.", "The end"]
        alone = [ptb.tokenise([caption])[caption] for caption in hard]
        together = ptb.tokenise(hard)
        assert [together[caption] for caption in hard] == alone

    def test_tokens_are_those_of_pycocoevalcap(self) -> None:
        library = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
        captions = ["A man's dog, running.", "Two\npeople eat `pizza' - quickly; yes: no?", "A U.S. flag ... 3/4 full"]
        expected = library.PTBTokenizer().tokenize({i: [{"caption": c}] for i, c in enumerate(captions)})
        found = ptb.tokenise(captions)
        assert [found[c] for c in captions] == [expected[i][0] for i in range(len(captions))]

    def test_output_that_does_not_fit_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ptb, "run_java", lambda *a, **k: "a dog\n")
        with pytest.raises(MetricError, match="its output is not usable"):
            ptb.tokenise(["A dog", "A cat"])


@pytest.mark.usefixtures("caption_tools")
class TestMetrics:
    def test_capitals_and_full_stops_do_not_count(self) -> None:
        # Scorers that skip the PTB tokeniser lose points here.
        cases = [
            _case("1", "A dog runs on grass", ["a dog runs on grass."]),
            _case("2", "a red car on a street.", ["A red car on a street"]),
        ]
        for factory in (captions.bleu_1, captions.bleu_4, captions.rouge_l):
            assert _corpus(factory(), cases) == pytest.approx(1.0, abs=1e-6)  # the library's constants cost 1e-9 each

    def test_one_run_of_the_tokeniser_serves_all_metrics_of_a_task(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from harness.metrics import caption_tokens

        calls = []

        def counted(texts: set[str]) -> object:
            calls.append(len(texts))
            return ptb.tokenise(texts)

        monkeypatch.setattr(caption_tokens, "tokenise", counted)
        context = ScoringContext()
        cases = [_case("1", "a dog", ["A dog."]), _case("2", "a cat", ["A cat."])]
        for factory in (captions.bleu_1, captions.bleu_2, captions.rouge_l, captions.cider):
            factory().score(cases, context)
        assert calls == [4]

    def test_empty_prediction_scores_0_and_lowers_the_corpus(self) -> None:
        good = _case("1", "a dog runs on grass", ["a dog runs on grass"])
        empty = _case("2", " ... ", ["two people eat pizza"])
        for factory in (captions.bleu_1, captions.rouge_l):
            score = factory().score([good, empty], ScoringContext())[1]
            assert (score.value, score.rule, score.unscored) == (0.0, "empty", None)
            assert _corpus(factory(), [good, empty]) < _corpus(factory(), [good]) - 0.3

    def test_unanswered_is_unscored_and_lack_of_references_is_an_invalid_reference(self) -> None:
        lost = Case(Sample("1", references=("a dog",)), None, Problem("out_of_memory", "too large"))
        scores = captions.bleu_4().score([lost, _case("2", "a cat", [])], ScoringContext())
        assert [s.unscored.kind for s in scores if s.unscored] == ["out_of_memory", "invalid_reference"]

    def test_brevity_penalty_of_a_worked_example(self) -> None:
        value = _corpus(captions.bleu_1(), [_case("1", "a dog", ["a dog runs on grass"])])
        assert value == pytest.approx(math.exp(1 - 5 / 2), rel=1e-6)


@pytest.mark.parametrize("name", ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider", "meteor", "spice"])
def test_unknown_variant_is_refused(name: str) -> None:
    with pytest.raises(MetricError, match='has no variant "fast"; known'):
        getattr(captions, name)("fast")
