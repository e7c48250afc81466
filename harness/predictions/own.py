"""Our own JSON lines: one `{"sample_id": …, "text": …}` on each line; other fields are not read.

`text: null` is an answer that never came: the line is left out and counted in the notes.
"""

from __future__ import annotations

from harness.predictions.base import Prediction, Readout
from harness.predictions.content import Content


def matches(content: Content) -> bool:
    """Whether the records have `sample_id` and `text`."""
    return content.shape in ("lines", "object") and content.has("sample_id", "text")


def read(content: Content) -> Readout:
    """The answers as they stand."""
    found, missing = [], 0
    for row in content.rows:
        sample_id = row.text("sample_id")
        if row.required("text") is None:
            missing += 1
        else:
            found.append((row.where, Prediction(sample_id, row.text("text"))))
    notes = (f"{missing} lines hold no answer (text is null) and are left out",) if missing else ()
    return Readout(tuple(found), notes)
