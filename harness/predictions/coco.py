"""COCO result files: a JSON list of `{"image_id": …, "caption": …}`; the sample id is the image id."""

from __future__ import annotations

from harness.predictions.base import Prediction, Readout
from harness.predictions.content import Content


def matches(content: Content) -> bool:
    """Whether the entries have `image_id` and `caption`."""
    return content.shape == "list" and content.has("image_id", "caption")


def read(content: Content) -> Readout:
    """The captions, unchanged (leading blanks included)."""
    return Readout(tuple((row.where, Prediction(row.text("image_id"), row.text("caption"))) for row in content.rows))
