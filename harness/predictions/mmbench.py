"""Published MMBench answers, in two forms: VLMEvalKit's workbook (with gold) and LLaVA's JSON lines (without).

The index of a circular pass is that of its question + 1,000,000 x pass; LLaVA writes the pass into `question_id` or
into `round_id`, and both add up to the same id.
"""

from __future__ import annotations

import string

from harness.errors import PredictionError
from harness.predictions.base import Prediction, Readout
from harness.predictions.content import Content, Row
from harness.records import Sample
from harness.sample_ids import MMBENCH_PASS, mmbench_id


def matches_sheet(content: Content) -> bool:
    """Whether the workbook has the columns `index` and `prediction`."""
    return content.shape == "sheet" and content.has("index", "prediction")


def read_sheet(content: Content) -> Readout:
    """The answers of all passes; `gold` where the columns `question`, `A`, `B` and `answer` are filled.

    An empty cell is an empty answer: a workbook does not keep apart an empty text and none.
    """
    found, empty = [], 0
    for row in content.rows:
        index = row.integer("index")
        blank = row.required("prediction") is None
        empty += blank
        prediction = Prediction(mmbench_id(index), "" if blank else row.text("prediction"), _gold(row, index))
        found.append((row.where, prediction))
    notes = (f"{empty} cells of the column prediction are empty and count as empty answers",) if empty else ()
    return Readout(tuple(found), notes)


def _gold(row: Row, index: int) -> Sample | None:
    if any(row.fields.get(name) is None for name in ("question", "A", "B", "answer")):
        return None
    filled = [letter for letter in string.ascii_uppercase if row.fields.get(letter) is not None]
    if filled != list(string.ascii_uppercase[: len(filled)]):
        raise PredictionError(f"{row.where}: options {', '.join(filled)} are filled; an option before them is empty")
    question = str(index % MMBENCH_PASS)
    return Sample(
        mmbench_id(index),
        question=row.text("question"),
        references=(row.text("answer").strip(),),
        choices=tuple(row.text(letter) for letter in filled),
        hint=row.text("hint") if row.fields.get("hint") is not None else "",
        cluster=question,
        group=question,
        metadata={"pass": str(index // MMBENCH_PASS)},
    )


def matches_llava(content: Content) -> bool:
    """Whether the lines have `question_id`, `round_id` and `text`."""
    return content.shape in ("lines", "object") and content.has("question_id", "round_id", "text")


def read_llava(content: Content) -> Readout:
    """The answers of all passes; no `gold`, since the file does not hold the right letter."""
    return Readout(
        tuple(
            (row.where, Prediction(mmbench_id(row.integer("question_id"), row.integer("round_id")), row.text("text")))
            for row in content.rows
        )
    )
