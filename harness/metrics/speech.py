"""Word and character error rate of transcripts, counted by jiwer over a named normalisation of both texts.

The corpus value is all errors over all reference words (characters), not the mean over recordings; it can exceed 1.
Numbers are compared as they are written: "20" is not "twenty". Source: the usual definition (substitutions, deletions
and insertions of a minimal alignment); alignment by jiwer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import MetricUnavailable
from harness.metrics.base import Metric, ScoringContext, unscored
from harness.metrics.variants import invalid_reference, known_variant
from harness.records import Case, MetricInfo, Score

if TYPE_CHECKING:
    import numpy as np

VARIANTS = ("lower-nopunct", "verbatim")
_TITLES = {"wer": "words", "cer": "characters"}


def lower_nopunct(text: str) -> str:
    """`text` in lower case (after Unicode NFKC), letters, digits and apostrophes inside words kept, the rest blanks.

    "Mr. O’Brien's well-known 'Dogs'" becomes "mr o'brien's well known dogs".
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in plain)
    return " ".join(filter(None, (word.strip("'") for word in kept.split())))


def verbatim(text: str) -> str:
    """`text` with runs of white space as single blanks."""
    return " ".join(text.split())


_NORMALISERS = {"lower-nopunct": lower_nopunct, "verbatim": verbatim}


class ErrorRate(Metric):
    """Errors per reference word or character; `statistics` is (errors, reference length), and lower is better."""

    by_sample = True

    def __init__(self, name: str, variant: str) -> None:
        self.info = MetricInfo(
            name,
            variant,
            f"{name}|{variant}|v1",
            higher_is_better=False,
            unit="score",
            source=f"(substitutions + deletions + insertions) / reference {_TITLES[name]}; jiwer",
        )
        self._normalise = _NORMALISERS[variant]

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each sample against the reference that it meets best.

        An empty answer misses every word. A sample whose references are empty after normalisation is unscored.
        """
        process = _alignment(self.info.name)
        return [self._score(case, process) for case in cases]

    def _score(self, case: Case, process: Any) -> Score:
        if case.text is None:
            return unscored(case)
        references = [text for reference in case.sample.references if (text := self._normalise(reference))]
        if not references:
            return invalid_reference(case, "no reference has a word to compare with")
        answer = self._normalise(case.text)
        found = [(process(reference, answer), reference) for reference in references]
        counts = [
            (o.substitutions + o.deletions + o.insertions, o.hits + o.substitutions + o.deletions, o, reference)
            for o, reference in found
        ]
        errors, length, best, reference = min(counts, key=lambda count: count[0] / count[1])
        sample = case.sample
        return Score(
            unit=sample.sample_id,
            sample_id=sample.sample_id,
            cluster=sample.cluster or sample.sample_id,
            value=errors / length,
            statistics=(float(errors), float(length)),
            extracted=answer,
            reference=reference,
            detail=f"{best.substitutions} wrong, {best.deletions} missing, {best.insertions} too many; {length} in all",
        )

    def aggregate(self, totals: np.ndarray) -> np.ndarray:
        """Σ errors / Σ reference length along the last axis."""
        import numpy as np

        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(totals[..., 0] / totals[..., 1])


def _alignment(name: str) -> Any:
    """jiwer's count of edits for words or characters.

    Raises:
        MetricUnavailable: jiwer is not installed.
    """
    try:
        import jiwer
    except ImportError as error:
        raise MetricUnavailable(f'{name} needs jiwer; pip install "vlm-harness[speech]"') from error
    return jiwer.process_words if name == "wer" else jiwer.process_characters


def wer_metric(variant: str = "") -> ErrorRate:
    """Word error rate after `lower-nopunct` (default), or of the texts as written (`verbatim`).

    Raises:
        MetricError: unknown variant.
    """
    return ErrorRate("wer", known_variant("wer", variant, VARIANTS))


def cer_metric(variant: str = "") -> ErrorRate:
    """Character error rate, blanks included, after `lower-nopunct` (default), or of the texts as written (`verbatim`).

    Raises:
        MetricError: unknown variant.
    """
    return ErrorRate("cer", known_variant("cer", variant, VARIANTS))
