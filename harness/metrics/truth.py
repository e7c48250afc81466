"""Accuracy and consistency of true/false judgements (NLVR2).

A sentence comes with several image pairs; consistency is the share of sentences judged rightly on all of theirs.
Source: Suhr et al. 2019, section 5. Answers are read by named rules; what cannot be read is wrong (`unparsed`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.metrics.groups import all_right, group_cases
from harness.metrics.letters import UNPARSED, option_letters
from harness.metrics.variants import invalid_reference, no_variants
from harness.records import Case, MetricInfo, Score

_MEANING = {"true": "True", "yes": "True", "false": "False", "no": "False"}
_LEADING = re.compile(r"\W*(true|false|yes|no)\b\s*[\"'”’*_)\]]*\s*(?:[.,:;!\-–—]|\n|$)", re.IGNORECASE)
_WORD = re.compile(r"(?<!\w)(true|false)(?!\w)", re.IGNORECASE)
_NEGATED = re.compile(r"(?:\b(?:not|never)|n['’]t)\s+(?:\w+\s+)?(?:true|false)\b", re.IGNORECASE)


def read_truth(text: str, choices: Sequence[str] = ()) -> tuple[str | None, str]:
    """("True" or "False", rule), or (`None`, "unparsed").

    Rules: `word` (nothing but true or false), `yes_no` (nothing but yes or no), `letter` (nothing but the letter of one
    of `choices`, as models write that rank options), `leading_word` (one of the four words, then punctuation or a line
    end), `unique_word` (only one of true and false occurs, and not after "not").
    """
    bare = text.strip(" \t\r\n\"'“”‘’`*_()[]{}.,:;!").lower()
    if bare in _MEANING:
        return _MEANING[bare], "word" if bare in ("true", "false") else "yes_no"
    if choices and bare.upper() in (letters := option_letters(choices)):
        return _MEANING.get(choices[letters.index(bare.upper())].strip().lower()), "letter"
    leading = _LEADING.match(text)
    if leading:
        return _MEANING[leading[1].lower()], "leading_word"
    words = {word.lower() for word in _WORD.findall(text)}
    if len(words) == 1 and not _NEGATED.search(text):
        return _MEANING[words.pop()], "unique_word"
    return None, UNPARSED


def score_truth(case: Case) -> Score:
    """The score of one judgement; unscored without an answer or without a reference that is true or false."""
    if case.text is None:
        return unscored(case)
    written = case.sample.references[0] if case.sample.references else ""
    reference = _MEANING.get(written.strip().lower())
    if reference is None:
        return invalid_reference(case, f'the reference "{written}" is neither True nor False')
    answer, rule = read_truth(case.text, case.sample.choices)
    return mean_score(case, answer == reference, extracted=answer, reference=reference, rule=rule)


class Accuracy(MeanMetric):
    """Share of examples judged rightly."""

    by_sample = True

    info = MetricInfo("accuracy", "", "accuracy|true_false|v1", source="Suhr et al. 2019 (NLVR2), section 5")

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each example."""
        return [score_truth(case) for case in cases]


class Consistency(MeanMetric):
    """Share of sentences judged rightly on all their images; the unit is the sentence (`Sample.group`)."""

    info = MetricInfo("consistency", "", "consistency|true_false|v1", source="Suhr et al. 2019 (NLVR2), section 5")

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each sentence; a sentence with an unanswered example is unscored."""
        return [all_right(group, [score_truth(case) for case in group.cases]) for group in group_cases(cases)]


def accuracy_metric(variant: str = "") -> Accuracy:
    """Accuracy of true/false answers; it has one definition.

    Raises:
        MetricError: if a variant is named.
    """
    no_variants("accuracy", variant)
    return Accuracy()


def consistency_metric(variant: str = "") -> Consistency:
    """Consistency of true/false answers over the images of a sentence; it has one definition.

    Raises:
        MetricError: if a variant is named.
    """
    no_variants("consistency", variant)
    return Consistency()
