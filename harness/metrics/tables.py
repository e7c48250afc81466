"""Agreement of a table read from a chart with the true one: RNSS (numbers only) and RMS (cells under their headers).

A table is text: rows by line, cells by " | ", and an optional first line `title | …`. The literal `<0x0A>` that
DePlot's tokenizer writes for a line end counts as one, and blank lines hold no row.
Source: Liu et al. 2023 (DePlot), section 3; reference code: google-research `deplot/metrics.py`. Departures, all where
that code cannot be meant: see `rnss` and `rms`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import MetricError
from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.metrics.variants import invalid_reference, known_variant, no_variants
from harness.records import Case, MetricInfo, Score

TAU = 0.5
"""Largest share of differing characters at which two texts still resemble each other."""
THETA = 0.1
"""Relative error from which a number in a cell counts as wrong."""


def rnss(prediction: str, reference: str) -> float:
    """Relative number set similarity in [0, 1]: 1 − (cost of the best matching of all numbers) / max(N, M).

    Every cell that is a number takes part, headers and years included; "12%" is no number here. D(p, t) is
    min(1, |p − t| / |t|), and for t = 0 it is 0 if p = 0 and 1 otherwise.

    Raises:
        MetricError: the reference holds no number.

    Departures: for t = 0 the reference code returns the opposite of this (an identical row with a zero would lose
    points); `nan` and `inf` are no numbers; two tables without numbers score 1 there and are an error here.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    targets, numbers = _numbers(reference), _numbers(prediction)
    if not targets:
        raise MetricError('the reference table holds no number; rows stand on lines, cells are parted by " | "')
    if not numbers:
        return 0.0
    target, number = np.array(targets)[:, None], np.array(numbers)[None, :]  # (targets, 1), (1, predictions)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.minimum(np.abs((target - number) / target), 1.0)
    cost = np.where(target == 0.0, (number != 0.0).astype(float), relative)
    rows, columns = linear_sum_assignment(cost)
    return float(1.0 - cost[rows, columns].sum() / max(len(targets), len(numbers)))


def _lines(text: str) -> list[str]:
    return [line for line in text.replace("<0x0A>", "\n").splitlines() if line.strip()]


def _numbers(text: str) -> list[float]:
    cells = (_finite(cell) for line in _lines(text) for cell in line.split(" | "))
    return [number for number in cells if number is not None]


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class TableMatch:
    """How a predicted table meets the true one; all three numbers lie in [0, 1]."""

    precision: float
    recall: float
    f1: float
    n_predicted: int
    n_reference: int
    transposed: bool
    """Whether the prediction was read with rows and columns exchanged."""


def rms(prediction: str, reference: str) -> TableMatch:
    """Relative mapping similarity: cells matched by their headers alone, then compared by value.

    A data point is (row header + column header, value); the title is one more. Texts are lower-cased, keys resemble
    each other by 1 − edit distance / max(length), or 0 when more than `TAU` of it differs. Values: relative error, from
    `THETA` on 1; equal texts 1; other texts as keys. "12%" reads as 0.12. The prediction is read as it is and
    transposed, and the better F1 counts.

    Raises:
        MetricError: the reference has no data point besides a title (a one-column table, or another separator).

    Cells with equal row and column headers overwrite each other: the last one counts, as in the reference code.
    Departures: there a reference without data points scores 1 against a prediction without any, a prediction without
    any has precision 1 (here 0), two empty headers divide by zero, and `nan` equals nothing (here it is text).
    """
    if not _has_cells(reference):
        raise MetricError('the reference table holds no data point; rows stand on lines, cells are parted by " | "')
    target = _data_points(reference)
    matches = [_match(target, _data_points(prediction, transposed=turn), turn) for turn in (True, False)]
    return max(matches, key=lambda match: match.f1)


def _data_points(text: str, *, transposed: bool = False) -> dict[str, str]:
    points: dict[str, str] = {}
    lines = [line.lower() for line in _lines(text)]
    if lines and lines[0].startswith("title |"):
        points["title"] = lines.pop(0).removeprefix("title |").strip()
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    if transposed:
        rows = [list(row) for row in itertools.zip_longest(*rows, fillvalue="")]
    for row in rows[1:]:
        for header, cell in zip(rows[0][1:], row[1:], strict=False):
            points[f"{row[0]} {header}"] = cell
    return points


def _has_cells(reference: str) -> bool:
    return bool(_data_points(reference).keys() - {"title"})


def _match(target: dict[str, str], predicted: dict[str, str], transposed: bool) -> TableMatch:
    import numpy as np
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist
    from scipy.optimize import linear_sum_assignment

    nothing = TableMatch(0.0, 0.0, 0.0, len(predicted), len(target), transposed)
    if not predicted:
        return nothing
    similarity = cdist(
        list(target), list(predicted), scorer=Levenshtein.normalized_similarity, score_cutoff=1 - TAU, dtype=np.float64
    )  # (target points, predicted points)
    rows, columns = linear_sum_assignment(1.0 - similarity)
    wanted, given = list(target.values()), list(predicted.values())
    total = sum(
        float(similarity[row, column]) * _value_similarity(given[column], wanted[row])
        for row, column in zip(rows, columns, strict=True)
        if similarity[row, column] > 0.0
    )
    if total == 0.0:
        return nothing
    precision, recall = total / len(predicted), total / len(target)
    f1 = 2 * precision * recall / (precision + recall)
    return TableMatch(precision, recall, f1, len(predicted), len(target), transposed)


def _value_similarity(value: str, wanted: str) -> float:
    number, target = _cell_number(value), _cell_number(wanted)
    if number is not None and target:
        error = abs((target - number) / target)
        return 1.0 - error if error < THETA else 0.0
    if value == wanted:
        return 1.0
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(value, wanted, score_cutoff=1 - TAU))


def _cell_number(text: str) -> float | None:
    if not text.endswith("%"):
        return _finite(text)
    number = _finite(text.rstrip("%"))
    return None if number is None else number / 100.0


class NumberSetSimilarity(MeanMetric):
    """Mean RNSS over tables; the best of several references counts."""

    by_sample = True

    info = MetricInfo("rnss", "", "rnss|v1", source="Liu et al. 2023 (DePlot); deplot/metrics.py table_number_accuracy")

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each table; a reference without a number is unscored (`invalid_reference`)."""
        return [self._score(case) for case in cases]

    def _score(self, case: Case) -> Score:
        if case.text is None:
            return unscored(case)
        references = [reference for reference in case.sample.references if _numbers(reference)]
        if not references:
            return invalid_reference(case, 'no reference table holds a number (cells are parted by " | ")')
        value, reference = max(
            ((rnss(case.text, reference), reference) for reference in references), key=lambda v: v[0]
        )
        return mean_score(case, value, extracted=case.text, reference=reference, rule="numbers")


class MappingSimilarity(MeanMetric):
    """Mean RMS precision, recall or F1 over tables; of several references the one with the best F1 counts."""

    by_sample = True

    def __init__(self, variant: str) -> None:
        signature = f"rms-f1|{variant}|tau={TAU}|theta={THETA}|v1"
        source = "Liu et al. 2023 (DePlot); deplot/metrics.py table_datapoints_precision_recall"
        self.info = MetricInfo("rms-f1", variant, signature, source=source)

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each table; a reference without data points is unscored (`invalid_reference`)."""
        return [self._score(case) for case in cases]

    def _score(self, case: Case) -> Score:
        if case.text is None:
            return unscored(case)
        references = [reference for reference in case.sample.references if _has_cells(reference)]
        if not references:
            return invalid_reference(case, 'no reference table holds a data point (cells are parted by " | ")')
        match, reference = max(((rms(case.text, ref), ref) for ref in references), key=lambda found: found[0].f1)
        value = {"precision": match.precision, "recall": match.recall, "f1": match.f1}[self.info.variant]
        return mean_score(
            case,
            value,
            extracted=case.text,
            reference=reference,
            rule="transposed" if match.transposed else "as_written",
            detail=f"precision {match.precision:.4f}, recall {match.recall:.4f}, f1 {match.f1:.4f}; "
            f"{match.n_predicted} data points for {match.n_reference}",
        )


def rnss_metric(variant: str = "") -> NumberSetSimilarity:
    """Mean relative number set similarity; it has one definition.

    Raises:
        MetricError: if a variant is named.
    """
    no_variants("rnss", variant)
    return NumberSetSimilarity()


def rms_f1_metric(variant: str = "") -> MappingSimilarity:
    """Mean relative mapping similarity: `f1` (default), `precision` or `recall`.

    Raises:
        MetricError: unknown variant.
    """
    return MappingSimilarity(known_variant("rms-f1", variant, ("f1", "precision", "recall")))
