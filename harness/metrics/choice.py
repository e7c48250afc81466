"""Multiple-choice accuracy: single questions, MMBench's circular evaluation, ScienceQA.

The reference of a sample is its option letter. An answer that no rule can read is wrong, and its rule is `unparsed`, so
that a table can count it and print both bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.metrics.groups import all_right, group_cases
from harness.metrics.letters import (
    Reading,
    option_letters,
    read_letter,
    read_letter_scienceqa,
    read_letter_vlmevalkit,
)
from harness.metrics.variants import invalid_reference, known_variant, no_variants
from harness.records import Case, MetricInfo, Score

Reader = Callable[[str, Sequence[str]], Reading]


def score_letter(case: Case, read: Reader) -> Score:
    """The score of one question: 1 if the letter read out of the answer is the reference.

    Unscored without an answer, and (`invalid_reference`) where the reference is not the letter of an option.
    """
    if case.text is None:
        return unscored(case)
    sample = case.sample
    letters = option_letters(sample.choices)
    reference = sample.references[0] if sample.references else ""
    if reference not in letters:
        return invalid_reference(case, f'the reference "{reference}" is not one of the options {"".join(letters)}')
    reading = read(case.text, sample.choices)
    return mean_score(
        case, reading.letter == reference, extracted=reading.letter, reference=reference, rule=reading.rule
    )


class MultipleChoice(MeanMetric):
    """Share of questions whose option letter is right, each question once."""

    by_sample = True

    def __init__(self, info: MetricInfo, read: Reader) -> None:
        self.info = info
        self._read = read

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each sample."""
        return [score_letter(case, self._read) for case in cases]


class CircularEvaluation(MeanMetric):
    """Share of questions that are right in every circular pass; the unit is the question."""

    info = MetricInfo(
        "mmbench",
        "circular",
        "mmbench|circular|extraction=letter|v1",
        source="Liu et al. 2023 (MMBench), CircularEval; VLMEvalKit dataset/utils/multiple_choice.py without a judge",
    )

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each question; a question with an unanswered pass is unscored.

        All passes that were asked count: a question has as many as the file holds, usually one for each option.
        """
        return [
            all_right(group, [score_letter(case, read_letter) for case in group.cases]) for group in group_cases(cases)
        ]


class FirstPass(MeanMetric):
    """Share of questions whose base pass (metadata `pass` "0", or the smallest) is right."""

    info = MetricInfo(
        "mmbench",
        "vanilla@first",
        "mmbench|vanilla@first|extraction=letter|v1",
        source="Liu et al. 2023 (MMBench), VanillaEval: the unrotated question alone",
    )

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each question, of its base pass."""
        return [score_letter(group.base, read_letter) for group in group_cases(cases)]


_ALL_PASSES = MetricInfo(
    "mmbench",
    "vanilla@all",
    "mmbench|vanilla@all|extraction=letter|v1",
    source="ours: every circular pass counted as a question of its own",
)


def multiple_choice_metric(variant: str = "") -> MultipleChoice:
    """Multiple-choice accuracy: `letter` (default, our extraction) or `vlmevalkit` (its exact matching).

    Raises:
        MetricError: unknown variant.
    """
    variant = known_variant("multiple_choice", variant, ("letter", "vlmevalkit"))
    if variant == "vlmevalkit":
        source = "VLMEvalKit utils/matching_util.py, exact matching, without environment variable and random choice"
        info = MetricInfo("multiple_choice", variant, "multiple_choice|vlmevalkit|v1", source=source)
        return MultipleChoice(info, read_letter_vlmevalkit)
    info = MetricInfo(
        "multiple_choice", variant, "multiple_choice|letter|v1", source="ours: harness/metrics/letters.py"
    )
    return MultipleChoice(info, read_letter)


def mmbench_metric(variant: str = "") -> MeanMetric:
    """MMBench accuracy: `circular` (default), `vanilla-first` or `vanilla-all`; "@" for "-" is accepted too.

    Raises:
        MetricError: unknown variant.
    """
    variant = known_variant("mmbench", variant.replace("@", "-"), ("circular", "vanilla-all", "vanilla-first"))
    if variant == "circular":
        return CircularEvaluation()
    return FirstPass() if variant == "vanilla-first" else MultipleChoice(_ALL_PASSES, read_letter)


def scienceqa_metric(variant: str = "") -> MultipleChoice:
    """ScienceQA accuracy by LLaVA's rule; it has one definition.

    Raises:
        MetricError: if a variant is named.
    """
    no_variants("scienceqa", variant)
    info = MetricInfo("scienceqa", "", "scienceqa|llava|v1", source="LLaVA eval_science_qa.py")
    return MultipleChoice(info, read_letter_scienceqa)
