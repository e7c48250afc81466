"""The record that every prediction format is read into."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.records import Sample


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer of a file."""

    sample_id: str
    """In the scheme of the data set's reader, so that it can be joined with the data."""
    text: str
    gold: Sample | None = None
    """The question with its reference, where the file itself holds them (no images)."""


@dataclass(frozen=True, slots=True)
class PredictionFile:
    """A whole file of answers."""

    format: str
    """Name of the recognised form."""
    dataset: str | None
    """The benchmark that this form belongs to; `None` for our own JSONL and for COCO result files."""
    sha256: str
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...] = field(default=())
    """What the reader of a result must know, such as rows without an answer."""


@dataclass(frozen=True, slots=True)
class Readout:
    """What a form's reader found: answers in file order, each with its place for error messages."""

    predictions: tuple[tuple[str, Prediction], ...]
    notes: tuple[str, ...] = field(default=())
