"""Relaxed accuracy on chart questions, in four definitions whose numbers are not interchangeable.

`pix2struct` is the published rule, including what Python's `float()` reads as a number (`1_0`, `nan`, `inf`).
Source: Masry et al. 2022 (ChartQA), section 5.1; reference code: pix2struct `metrics.py`, `relaxed_correctness`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from harness.errors import MetricError
from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.metrics.variants import invalid_reference, known_variant
from harness.records import Case, MetricInfo, Score

TOLERANCE = 0.05
YEARS = range(1900, 2101)
"""Whole numbers that `year_exact` takes for years: 1900 to 2100."""

_SIGNATURES = {
    "pix2struct": f"relaxed_accuracy|pix2struct|tol={TOLERANCE}|zero=text|v1",
    "strict": "relaxed_accuracy|strict|tol=0|v1",
    "normalised": f"relaxed_accuracy|normalised|tol={TOLERANCE}|zero=number|v1",
    "year_exact": f"relaxed_accuracy|year_exact|tol={TOLERANCE}|zero=text|years=1900-2100|v1",
}
_SOURCES = {
    "pix2struct": "Masry et al. 2022, section 5.1; pix2struct metrics.py relaxed_correctness",
    "strict": "ours: lower-cased text equality",
    "normalised": "ours: pix2struct's tolerance after thousands commas, currency and percent signs are removed",
    "year_exact": "ours: pix2struct, but a year must be met exactly",
}


def relaxed_accuracy(prediction: str, reference: str, *, tolerance: float = TOLERANCE) -> bool:
    """Whether a chart answer matches: numbers within `tolerance` of the reference, other text exactly.

    Args:
        prediction: answer text; "12%" reads as 0.12.
        reference: accepted answer, read in the same way.
        tolerance: allowed relative error, a fraction in [0, 1), itself still accepted.

    Raises:
        MetricError: if `reference` is empty.

    Source: Masry et al. 2022, section 5.1. A reference of 0 has no relative error and is compared as text (ignoring
    case), as in the reference implementation. Numbers are whatever Python's `float()` reads, as there.
    """
    return _pix2struct(prediction, reference, tolerance)[0]


def _pix2struct(prediction: str, reference: str, tolerance: float = TOLERANCE) -> tuple[bool, str]:
    if not reference:
        raise MetricError("relaxed accuracy: the reference is empty; every chart question needs an answer")
    number, target = _python_float(prediction), _python_float(reference)
    if number is not None and target:
        return abs(number - target) / abs(target) <= tolerance, "number"
    return prediction.lower() == reference.lower(), "text"


def _python_float(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _strict(prediction: str, reference: str) -> tuple[bool, str]:
    return prediction.lower() == reference.lower(), "text"


def _year_exact(prediction: str, reference: str) -> tuple[bool, str]:
    if re.fullmatch(r"[0-9]{4}", reference.strip()) and int(reference) in YEARS:
        return _python_float(prediction) == float(reference), "year"
    return _pix2struct(prediction, reference)


_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_CURRENCY = re.compile(r"[$€£¥₹]")


def _tidy(text: str) -> str:
    """`text` in lower case, without outer blanks and without the full stop (or `,;:!`) that ends a sentence."""
    return text.strip().rstrip(".,;:!").strip().lower()


def _readings(text: str) -> tuple[float, float] | None:
    """The number as it stands and, where it has a percent sign, as a fraction; `None` for other text."""
    bare = _CURRENCY.sub("", _THOUSANDS.sub("", text.replace("−", "-"))).replace(" ", "")
    percent = bare.endswith("%")
    bare = bare.removesuffix("%")
    if not _NUMBER.fullmatch(bare):
        return None
    value = float(bare)
    return (value, value / 100.0) if percent else (value, value)


def _normalised(prediction: str, reference: str) -> tuple[bool, str]:
    answer, wanted = _tidy(prediction), _tidy(reference)
    numbers, targets = _readings(answer), _readings(wanted)
    if numbers is None or targets is None:
        return answer == wanted, "text"
    pairs = [(number, target) for number in numbers for target in targets]
    if answer.endswith("%") and wanted.endswith("%"):
        pairs = [(numbers[0], targets[0])]
    return any(_near(number, target) for number, target in pairs), "number"


def _near(number: float, target: float) -> bool:
    if target == 0.0 or not math.isfinite(number) or not math.isfinite(target):
        return number == target
    return abs(number - target) / abs(target) <= TOLERANCE


_RULES = {"pix2struct": _pix2struct, "strict": _strict, "normalised": _normalised, "year_exact": _year_exact}


class RelaxedAccuracy(MeanMetric):
    """Share of chart answers within 5 % of a number, or equal to a text; any of several references counts.

    `Score.rule` says how the answer was compared: `number`, `text` or `year`. There is nothing to extract, so nothing
    is unparsed.
    """

    by_sample = True

    def __init__(self, variant: str) -> None:
        self.info = MetricInfo("relaxed_accuracy", variant, _SIGNATURES[variant], source=_SOURCES[variant])
        self._compare = _RULES[variant]

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each sample; a sample without any non-empty reference is unscored (`invalid_reference`)."""
        return [self._score(case) for case in cases]

    def _score(self, case: Case) -> Score:
        if case.text is None:
            return unscored(case)
        references = [reference for reference in case.sample.references if reference]
        if not references:
            return invalid_reference(case, "has no reference answer to compare with")
        verdicts = [(*self._compare(case.text, reference), reference) for reference in references]
        right, rule, reference = next((verdict for verdict in verdicts if verdict[0]), verdicts[0])
        return mean_score(case, right, extracted=case.text, reference=reference, rule=rule)


def relaxed_accuracy_metric(variant: str = "") -> RelaxedAccuracy:
    """Relaxed accuracy by one of its definitions: `pix2struct` (default), `strict`, `normalised`, `year_exact`.

    Raises:
        MetricError: unknown variant.
    """
    return RelaxedAccuracy(known_variant("relaxed_accuracy", variant, tuple(_RULES)))
