"""Whether a recognised text holds the answer: what reading alone could give, without understanding.

A text is taken apart into words (letters, lower-cased after Unicode NFKC) and numbers (by value). Thousands commas,
percent, currency and all other signs are not looked at, and a number ends where letters begin: "3.19t" is 3.19 and t.
A minus counts where it stands directly before a number and after no letter or digit, so "2010-15" has no -15.
Definitions ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.metrics.variants import invalid_reference, known_variant, no_variants
from harness.records import Case, MetricInfo, Score

_TOKEN = re.compile(
    r"(?P<minus>(?<!\w)-[$€£¥₹]?(?=\.?[0-9]))?(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|(?<!\w)\.[0-9]+)"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)"
)


def reading_tokens(text: str) -> list[str]:
    """Words in lower case and numbers in their shortest decimal form, in order: "€1,200.50 Net" → 1200.5, net."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("−", "-").replace("’", "'")
    return [_number(found) if found["number"] else found["word"] for found in _TOKEN.finditer(plain)]


def _number(found: re.Match[str]) -> str:
    """The number without leading zeros, trailing zeros of a fraction, and the sign of 0."""
    whole, _, fraction = found["number"].replace(",", "").partition(".")
    value = f"{whole.lstrip('0') or '0'}.{fraction.rstrip('0')}".rstrip(".")
    return f"-{value}" if found["minus"] and value != "0" else value


def place_of(answer: Sequence[str], text: Sequence[str]) -> int | None:
    """Where the tokens of `answer` stand in `text`, one after the other; `None` where they do not."""
    width = len(answer)
    starts = range(len(text) - width + 1)
    return next((start for start in starts if list(text[start : start + width]) == list(answer)), None)


def token_recall(text: str, reference: str) -> tuple[int, int]:
    """(tokens of `reference` that `text` has too, all tokens of `reference`); a repeated token counts each time."""
    wanted = Counter(reading_tokens(reference))
    return (wanted & Counter(reading_tokens(text))).total(), wanted.total()


class AnswerInText(MeanMetric):
    """Share of questions with an accepted answer somewhere in the text, as whole tokens one after the other.

    `Score.rule` is `number` for an answer that is one number, else `text`; line ends do not part tokens. An answer such
    as "Yes", a count or a difference is rarely written in a picture: the rate bounds what copying can give.
    """

    by_sample = True

    info = MetricInfo("answer_in_text", "exact", "answer_in_text|exact|numbers=value|v1", source="ours")

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each sample; a sample whose references have no letter and no digit is unscored."""
        return [self._score(case) for case in cases]

    def _score(self, case: Case) -> Score:
        if case.text is None:
            return unscored(case)
        wanted = [(r, tokens) for r in case.sample.references if (tokens := reading_tokens(r))]
        if not wanted:
            return invalid_reference(case, "no reference has a letter or a digit to look for")
        text = reading_tokens(case.text)
        places = [(reference, tokens, place_of(tokens, text)) for reference, tokens in wanted]
        reference, tokens, place = next((found for found in places if found[2] is not None), places[0])
        return mean_score(
            case,
            place is not None,
            extracted=None if place is None else " ".join(tokens),
            reference=reference,
            rule="number" if len(tokens) == 1 and tokens[0].lstrip("-")[0].isdigit() else "text",
            detail=f"not among {len(text)} tokens" if place is None else f"token {place + 1} of {len(text)}",
        )


class TokenRecall(MeanMetric):
    """Mean share of a reference's tokens that stand in the text, in any order; of several references the best one."""

    by_sample = True

    info = MetricInfo("token_recall", "", "token_recall|numbers=value|references=best|v1", source="ours")

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each sample; a sample whose references have no letter and no digit is unscored."""
        return [self._score(case) for case in cases]

    def _score(self, case: Case) -> Score:
        if case.text is None:
            return unscored(case)
        counts = [(*token_recall(case.text, reference), reference) for reference in case.sample.references]
        counts = [count for count in counts if count[1]]
        if not counts:
            return invalid_reference(case, "no reference has a letter or a digit to look for")
        found, total, reference = max(counts, key=lambda count: count[0] / count[1])
        return mean_score(case, found / total, reference=reference, detail=f"{found} of {total} tokens")


def answer_in_text_metric(variant: str = "") -> AnswerInText:
    """Whether the answer stands in the text; the one definition is `exact`.

    Raises:
        MetricError: unknown variant.
    """
    known_variant("answer_in_text", variant, ("exact",))
    return AnswerInText()


def token_recall_metric(variant: str = "") -> TokenRecall:
    """Share of the reference's tokens in the text; it has one definition.

    Raises:
        MetricError: if a variant is named.
    """
    no_variants("token_recall", variant)
    return TokenRecall()
