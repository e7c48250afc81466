"""Image-to-LaTeX by text: exact match, token edit similarity and BLEU-4, all on the tokens of `latex_normal`.

The normaliser is the variant: `whitespace-v1` (default) or `tokens-v1`. An empty answer scores 0. Where a sample has
several references, the nearest one counts (BLEU counts n-grams of all, as `multi-bleu.perl` does).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.metrics.base import MeanMetric, Metric, ScoringContext, unscored
from harness.metrics.bleu import MAX_N, bleu_statistics
from harness.metrics.latex_normal import NORMALISERS, WRAPPERS_VERSION, Formula, normalise
from harness.metrics.variants import invalid_reference, known_variant
from harness.records import Case, MetricInfo, Score

if TYPE_CHECKING:
    import numpy as np


class FormulaMetric(Metric):
    """A metric of a predicted formula against its reference."""

    by_sample = True

    name: str
    source: str

    def __init__(self, variant: str = "") -> None:
        variant = known_variant(self.name, variant, NORMALISERS)
        self.info = MetricInfo(
            name=self.name,
            variant=variant,
            signature=f"{self.name}|{variant}|extract={WRAPPERS_VERSION}|v1",
            source=self.source,
        )

    @abstractmethod
    def statistics(self, prediction: Formula, references: Sequence[Formula]) -> tuple[float, ...]:
        """The statistics of one prediction; no reference is empty."""

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score per sample: the corpus formula on its own statistics; `rule` names the wrappers taken off."""
        memo: dict[str, Formula] = context.memo.setdefault(f"latex.{self.info.variant}", {})
        return [self._score_one(case, memo) for case in cases]

    def _score_one(self, case: Case, memo: dict[str, Formula]) -> Score:
        import numpy as np

        if case.text is None:
            return unscored(case)
        sample = case.sample
        formulas = [self._formula(text, memo) for text in (case.text, *sample.references)]
        prediction, references = formulas[0], formulas[1:]
        if not references or any(not reference.tokens for reference in references):
            return invalid_reference(case, "a reference formula is missing or empty; remove the sample or repair it")
        statistics = self.statistics(prediction, references)
        return Score(
            unit=sample.sample_id,
            sample_id=sample.sample_id,
            cluster=sample.cluster or sample.sample_id,
            value=float(self.aggregate(np.array(statistics))),
            statistics=statistics,
            extracted=prediction.text,
            reference=references[0].text,
            rule=prediction.rule,
        )

    def _formula(self, text: str, memo: dict[str, Formula]) -> Formula:
        if text not in memo:
            memo[text] = normalise(text, self.info.variant)
        return memo[text]


class ExactMatch(MeanMetric, FormulaMetric):
    """Share of predictions whose tokens are those of a reference."""

    name = "latex_exact_match"
    source = "token equality after a named normaliser; compare im2markup's image match, which needs rendering"

    def statistics(self, prediction: Formula, references: Sequence[Formula]) -> tuple[float, ...]:
        """(1 if equal else 0, 1)."""
        return float(any(prediction.tokens == reference.tokens for reference in references)), 1.0


class EditSimilarity(FormulaMetric):
    """1 - (sum of token edit distances) / (sum of the longer lengths), over the whole corpus."""

    name = "latex_edit_similarity"
    source = "Deng et al. 2017; im2markup evaluate_text_edit_distance.py"

    def statistics(self, prediction: Formula, references: Sequence[Formula]) -> tuple[float, ...]:
        """(Levenshtein distance in tokens, tokens of the longer side), for the nearest reference."""
        from rapidfuzz.distance import Levenshtein

        pairs = [
            (Levenshtein.distance(prediction.tokens, r.tokens), max(len(prediction.tokens), len(r.tokens)))
            for r in references
        ]
        distance, longer = min(pairs, key=lambda pair: (pair[0] / pair[1], pair[1]))
        return float(distance), float(longer)

    def aggregate(self, totals: np.ndarray) -> np.ndarray:
        """1 - distances / lengths: (..., 2) → (...)."""
        import numpy as np

        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1.0 - totals[..., 0] / totals[..., 1])


class LatexBleu(FormulaMetric):
    """Corpus BLEU-4 of `multi-bleu.perl`, as a rate; 0 where some n has no match, as without smoothing.

    One formula's value is the same formula on its own counts, so it is 0 below four tokens even for equal formulas;
    corpus values are not affected.
    """

    name = "latex_bleu-4"
    source = "Papineni et al. 2002; multi-bleu.perl as used by im2markup evaluate_bleu.py"

    def statistics(self, prediction: Formula, references: Sequence[Formula]) -> tuple[float, ...]:
        """Clipped matches (4), n-grams (4), prediction length, closest reference length, 1."""
        return bleu_statistics(prediction.text, [reference.text for reference in references])

    def aggregate(self, totals: np.ndarray) -> np.ndarray:
        """BLEU-4 of summed counts: (..., 11) → (...)."""
        import numpy as np

        matches, counts = totals[..., :MAX_N], totals[..., MAX_N : 2 * MAX_N]
        length, closest, formulas = totals[..., 8], totals[..., 9], totals[..., 10]
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(matches / counts).mean(-1)  # log 0 is -inf, which makes the product 0
            penalty = np.minimum(0.0, 1.0 - closest / length)
            score = np.exp(logs + penalty)
        score = np.where((matches > 0).all(-1), score, 0.0)
        return np.where(formulas > 0, score, np.nan)


def exact_match_metric(variant: str = "") -> ExactMatch:
    """The metric of equal formulas: `whitespace-v1` (default) or `tokens-v1`."""
    return ExactMatch(variant)


def edit_similarity_metric(variant: str = "") -> EditSimilarity:
    """The metric of token edit distance: `whitespace-v1` (default) or `tokens-v1`."""
    return EditSimilarity(variant)


def bleu_4_metric(variant: str = "") -> LatexBleu:
    """The metric of token BLEU-4: `whitespace-v1` (default) or `tokens-v1`."""
    return LatexBleu(variant)
