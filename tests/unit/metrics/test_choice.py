"""Choice extraction and circular evaluation: strings executed on VLMEvalKit, LLaVA's ScienceQA rule, groups by hand."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MetricError
from harness.metrics.base import ScoringContext
from harness.metrics.choice import mmbench_metric, multiple_choice_metric, scienceqa_metric
from harness.metrics.letters import read_letter, read_letter_scienceqa, read_letter_vlmevalkit
from harness.records import Case, Problem, Sample
from harness.stats.intervals import unparsed_bounds

CHOICES = ("red", "blue car", "no", "a dog on a mat")

# answer, (letter, rule) by ours, letter by VLMEvalKit as executed with these options
EXECUTED = [
    ("A red car", ("A", "option_text_inside"), "A"),
    ("It is scared", (None, "unparsed"), "A"),
    ("I know nothing about it", (None, "unparsed"), "C"),
    ("B. because A is wrong", ("B", "leading_letter"), None),
    ("'B'", ("B", "letter"), None),
    ("The correct option: c", ("C", "answer_is"), None),
    ("answer is b", ("B", "answer_is"), "B"),
    ("The answer is A", ("A", "answer_is"), "A"),
]


@pytest.mark.parametrize(("answer", "ours", "vlmevalkit"), EXECUTED)
@pytest.mark.parametrize("verbose", [None, "0", "1"])
def test_executed_strings_in_both_variants_whatever_the_environment_says(
    answer, ours, vlmevalkit, verbose, monkeypatch
):
    monkeypatch.delenv("VERBOSE", raising=False)
    if verbose is not None:
        monkeypatch.setenv("VERBOSE", verbose)
    assert tuple(read_letter(answer, CHOICES)) == ours
    assert read_letter_vlmevalkit(answer, CHOICES).letter == vlmevalkit


@pytest.mark.parametrize(
    ("answer", "letter", "rule"),
    [
        ("b", "B", "letter"),
        (" (D). \n", "D", "letter"),
        ("**B**", "B", "letter"),
        ("“C”", "C", "letter"),
        ("E", "E", "not_an_option"),
        ("Blue car.", "B", "option_text"),
        ("It's a blue car", "B", "option_text_inside"),
        ("B is the correct answer", "B", "answer_is"),
        ("I think the answer would be **C**.", "C", "answer_is"),
        ("The answer is a dog on a mat", "D", "option_text_inside"),
        ("The answer is A because it is red", "A", "answer_is"),
        ("Option A shows x while option B shows y. The answer is B.", "B", "answer_is"),
        ("I would pick option D here, as the animal lies there", "D", "option_named"),
        ("B) blue car", "B", "leading_letter"),
        ("A\n\nBecause of the colour", "A", "leading_letter"),
        ("It must be D", "D", "stand_alone_letter"),
        ("It is not A, it is B", "B", "stand_alone_letter"),
    ],
)
def test_each_rule_fires_and_says_so(answer, letter, rule):
    assert tuple(read_letter(answer, CHOICES)) == (letter, rule)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   ",
        "A, B",
        "A/B",
        "It is not red",
        "The answer is not B",
        "A. red\nB. blue car",
        "The answer is A. No, the answer is B.",
        "Vitamin C is what sailors in former times did not have",
    ],
)
def test_what_no_rule_can_read_is_unparsed(answer):
    assert tuple(read_letter(answer, CHOICES)) == (None, "unparsed")


@pytest.mark.parametrize(
    "answer", ["answer" + " " * 20_000 + "?", "answer is b" + "*" * 5_000 + " is wrong", "B " * 9_000]
)
def test_degenerate_answers_are_read_in_no_time(answer):
    start = time.perf_counter()
    for read in (read_letter, read_letter_vlmevalkit, read_letter_scienceqa):
        read(answer, CHOICES)
    assert time.perf_counter() - start < 5.0  # milliseconds where nothing backtracks, minutes where it does


def test_an_article_before_a_lower_case_word_is_no_letter():
    options = ("green", "blue")
    assert read_letter("A red car", options).letter is None
    assert read_letter_vlmevalkit("A red car", options).letter == "A"


def test_two_options_with_one_text_cannot_be_told_apart():
    assert read_letter("red", ("red", "red", "blue")).letter is None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A one two three four", None),  # first occurrence not among the last four words
        ("x A one two three", "A"),
        ("Z", "Z"),
        ("Cannot determine the answer", "Z"),
        ("Failed to obtain answer via API.", None),
        ("The answer is **B** or A", "B"),
        ("the answer is blue", "B"),  # no word end is wanted after the letter
        ("blue car and then very much more text than twice all the options", None),
    ],
)
def test_quirks_of_vlmevalkit_are_kept(answer, letter):
    assert read_letter_vlmevalkit(answer, ("red", "blue car", "no")).letter == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("B\n", "B"),
        ("B. Bismarck", "B"),
        ("B.", None),
        ("b", None),
        ("B) Bismarck", None),
        ("I think so. The answer is C.", "C"),
        ("The answer is C", None),  # the reference wants one more character
        ("The answer is A. The answer is B.", None),
        ("F", None),
        ("", None),
    ],
)
def test_llava_rule_for_scienceqa(answer, letter):
    assert read_letter_scienceqa(answer, ("a", "b", "c")).letter == letter


def test_a_letter_beyond_the_options_is_wrong_but_was_read():
    case = Case(Sample("s", references=("B",), choices=("x", "y")), "C")
    score = scienceqa_metric().score([case], ScoringContext())[0]
    assert (score.value, score.extracted, score.rule) == (0.0, "C", "letter")


def circular(answers, *, reference="A", group="7", choices=("w", "x")):
    return [
        Case(
            Sample(
                str(7 + 1_000_000 * number),
                references=(reference,),
                choices=choices,
                cluster="7",
                group=group,
                metadata={"pass": str(number)},
            ),
            answer,
            Problem("out_of_memory", "batch of 1") if answer is None else None,
        )
        for number, answer in enumerate(answers)
    ]


def only(metric, cases):
    (score,) = metric.score(cases, ScoringContext())
    return score


def test_circular_needs_every_pass_right():
    assert only(mmbench_metric(), circular(["A", "A", "A"])).value == 1.0
    assert only(mmbench_metric(), circular(["A", "A", "B"])).value == 0.0
    assert only(mmbench_metric("vanilla-first"), circular(["A", "A", "B"])).value == 1.0
    every = mmbench_metric("vanilla-all").score(circular(["A", "A", "B"]), ScoringContext())
    assert [score.value for score in every] == [1.0, 1.0, 0.0]
    assert {score.cluster for score in every} == {"7"}


def test_circular_unit_is_the_question_and_its_sample_the_base_pass_in_any_order():
    cases = circular(["A", "A", "B"])
    for order in (cases, cases[::-1]):
        score = only(mmbench_metric(), order)
        assert (score.unit, score.sample_id, score.cluster) == ("7", "7", "7")
        assert (score.statistics, score.extracted, score.reference) == ((0.0, 1.0), "A A B", "A A A")
    assert only(mmbench_metric(), cases[1:]).sample_id == "1000007"


def test_an_unanswered_pass_leaves_the_question_unscored_with_the_reason():
    score = only(mmbench_metric(), circular(["A", None, "B"]))
    assert score.value is None
    assert score.unscored.kind == "out_of_memory"
    assert "1000007" in score.unscored.message


def test_unparsed_pass_is_wrong_and_counts_as_unparsed_only_where_it_decides():
    undecided = only(mmbench_metric(), circular(["A", "who knows"]))
    decided = only(mmbench_metric(), circular(["B", "who knows"]))
    assert (undecided.value, undecided.rule) == (0.0, "unparsed")
    assert (decided.value, decided.rule) == (0.0, "letter")
    assert unparsed_bounds([undecided, decided]) == (0.0, 0.5)


def test_samples_without_group_are_questions_of_their_own():
    cases = [Case(Sample(name, references=("A",), choices=("x", "y")), "A") for name in ("p", "q")]
    assert [score.unit for score in mmbench_metric().score(cases, ScoringContext())] == ["p", "q"]


@given(st.lists(st.sampled_from(["A", "B", "?"]), min_size=1, max_size=4))
def test_circular_is_never_above_the_first_pass(answers):
    cases = circular(answers)
    assert only(mmbench_metric(), cases).value <= only(mmbench_metric("vanilla@first"), cases).value


@given(st.text(), st.lists(st.text(max_size=8), max_size=5))
def test_any_text_reads_as_a_letter_with_a_rule_or_as_unparsed(answer, choices):
    for read in (read_letter, read_letter_vlmevalkit, read_letter_scienceqa):
        reading = read(answer, choices)
        assert (reading.letter is None) == (reading.rule == "unparsed")


def test_reference_that_is_no_option_is_unscored():
    score = only(multiple_choice_metric(), [Case(Sample("s", references=("D",), choices=("x", "y")), "A")])
    assert score.unscored.kind == "invalid_reference"
    assert "s" in score.unscored.message


def test_both_spellings_of_an_mmbench_variant_print_alike():
    for spelling in ("vanilla-all", "vanilla@all"):
        assert mmbench_metric(spelling).info.variant == "vanilla@all"
    assert mmbench_metric().info.variant == "circular"
    assert mmbench_metric("vanilla-first").info.signature == "mmbench|vanilla@first|extraction=letter|v1"
    assert multiple_choice_metric().info.variant == "letter"


@pytest.mark.parametrize("factory", [mmbench_metric, multiple_choice_metric, scienceqa_metric])
def test_unknown_variant_is_an_error_that_lists_the_known(factory):
    with pytest.raises(MetricError, match="known: "):
        factory("judge")
