"""What all caption metrics share: one tokenisation per task, and one score per image.

A sample is one image with all its captions as references. An answer of no tokens (empty, or punctuation alone) scores
0 under the rule `empty` and is never dropped; an answer that never came is unscored.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from harness.metrics.base import Metric, ScoringContext, unscored
from harness.metrics.ptb import tokenise
from harness.metrics.variants import invalid_reference
from harness.records import Case, Score

_MEMO = "captions.tokens"


@dataclass(frozen=True, slots=True)
class CaptionTokens:
    """The tokens of one sample's captions; tokens are joined by single spaces."""

    prediction: str | None
    """`None` when no answer came."""
    references: tuple[str, ...]


def caption_tokens(cases: Sequence[Case], context: ScoringContext) -> list[CaptionTokens]:
    """The tokens of each case, made once for all metrics that share `context`.

    Raises:
        MetricUnavailable: no Java or no pycocoevalcap.
    """
    done: list[CaptionTokens] | None = context.memo.get(_MEMO)
    if done is None:
        texts = {text for case in cases for text in case.sample.references}
        texts.update(case.text for case in cases if case.text is not None)
        tokens = tokenise(texts)
        done = [
            CaptionTokens(
                prediction=None if case.text is None else tokens[case.text],
                references=tuple(tokens[text] for text in case.sample.references),
            )
            for case in cases
        ]
        context.memo[_MEMO] = done
    return done


class CaptionMetric(Metric):
    """A metric that reads PTB tokens; subclasses give the statistics of all scored samples at once."""

    @abstractmethod
    def statistics(
        self, scored: Sequence[CaptionTokens], everything: Sequence[CaptionTokens], context: ScoringContext
    ) -> list[tuple[float, ...]]:
        """The statistics of each caption in `scored`; `everything` also holds the samples without an answer."""

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score per image; its value is the corpus formula on the image's own statistics.

        Raises:
            MetricUnavailable: Java or a file it needs is not here.
        """
        import numpy as np

        tokens = caption_tokens(cases, context)
        scored = [i for i, t in enumerate(tokens) if t.prediction is not None and t.references]
        found = self.statistics([tokens[i] for i in scored], tokens, context)
        values = self.aggregate(np.array(found)) if found else np.zeros(0)
        by_index = dict(zip(scored, zip(values, found, strict=True), strict=True))
        scores = []
        for index, case in enumerate(cases):
            if index in by_index:
                value, statistics = by_index[index]
                scores.append(_image_score(case, tokens[index], float(value), statistics))
            elif case.text is None:
                scores.append(unscored(case))
            else:
                scores.append(invalid_reference(case, "no reference captions; give at least one"))
        return scores


def _image_score(case: Case, tokens: CaptionTokens, value: float, statistics: tuple[float, ...]) -> Score:
    sample = case.sample
    return Score(
        unit=sample.sample_id,
        sample_id=sample.sample_id,
        cluster=sample.cluster or sample.sample_id,
        value=value,
        statistics=statistics,
        extracted=tokens.prediction,
        rule="ptb" if tokens.prediction else "empty",
    )
