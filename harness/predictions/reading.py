"""Files of answers: their form recognised by content, never by name, and read into one record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import PredictionError, UnknownNameError
from harness.predictions import chartqa, coco, mmbench, own, scienceqa
from harness.predictions.base import PredictionFile, Readout
from harness.predictions.content import Content, read_content


@dataclass(frozen=True, slots=True)
class Format:
    """One known form of answers."""

    name: str
    dataset: str | None
    """The benchmark it belongs to; `None` for forms that any benchmark may use."""
    looks_like: str
    """One line for error messages and listings."""
    matches: Callable[[Content], bool]
    read: Callable[[Content], Readout]


_FORMATS = (
    Format("harness", None, 'JSON lines {"sample_id", "text"}', own.matches, own.read),
    Format("coco", None, 'JSON list of {"image_id", "caption"}', coco.matches, coco.read),
    Format(
        "chartqa",
        "chartqa",
        'JSON list of {"imgname", "query", "prediction", "split"[, "answer"]}',
        chartqa.matches,
        chartqa.read,
    ),
    Format(
        "scienceqa-llava",
        "scienceqa",
        'JSON object {"correct": [...], "incorrect": [...]}',
        scienceqa.matches_llava,
        scienceqa.read_llava,
    ),
    Format(
        "scienceqa-results",
        "scienceqa",
        'JSON object {"results": {problem id: option index}}',
        scienceqa.matches_results,
        scienceqa.read_results,
    ),
    Format(
        "mmbench-xlsx",
        "mmbench",
        "Excel sheet with columns index, prediction[, question, A, B, C, D, answer]",
        mmbench.matches_sheet,
        mmbench.read_sheet,
    ),
    Format(
        "mmbench-llava",
        "mmbench",
        'JSON lines {"question_id", "round_id", "text"}',
        mmbench.matches_llava,
        mmbench.read_llava,
    ),
)


def formats() -> dict[str, str]:
    """Name → what it looks like, of every known form of answers."""
    return {form.name: form.looks_like for form in _FORMATS}


def read_predictions(path: Path, *, format: str | None = None, dataset: str | None = None) -> PredictionFile:
    """All answers of a file, with ids in the scheme of the data set's reader.

    Args:
        path: JSON, JSON lines or .xlsx; the name does not matter.
        format: a name of `formats()`, to skip the recognition.
        dataset: the benchmark that the answers must belong to; given to forms that say nothing of it.

    Raises:
        UnknownNameError: no such `format`.
        PredictionError: unreadable file, unknown form (with the fields found and the known forms), a missing field or a
            wrong kind of value (with row and field), a sample answered twice, no answers at all, another benchmark.
    """
    form = None if format is None else _named(format)
    content = read_content(path)
    form = form or _recognise(content)
    if dataset and form.dataset and dataset != form.dataset:
        raise PredictionError(f"{path}: holds answers to {form.dataset} (form {form.name}), not to {dataset}")
    readout = form.read(content)
    seen: dict[str, str] = {}
    for where, prediction in readout.predictions:
        if prediction.sample_id in seen:
            raise PredictionError(
                f'{where}: sample "{prediction.sample_id}" was answered before ({seen[prediction.sample_id]}); '
                "keep one answer for each sample"
            )
        seen[prediction.sample_id] = where
    if not seen:
        raise PredictionError(f"{path}: holds no answers (form {form.name})")
    return PredictionFile(
        form.name,
        form.dataset or dataset,
        content.sha256,
        tuple(prediction for _, prediction in readout.predictions),
        readout.notes,
    )


def _named(name: str) -> Format:
    for form in _FORMATS:
        if form.name == name:
            return form
    raise UnknownNameError.of("form of answers", name, formats())


def _recognise(content: Content) -> Format:
    for form in _FORMATS:
        if form.matches(content):
            return form
    keys = ", ".join(sorted(map(str, content.keys()))[:20]) or "none"
    known = "\n".join(f"  {name}: {looks_like}" for name, looks_like in formats().items())
    raise PredictionError(
        f"{content.path}: not a known form of answers; fields found: {keys}. Known forms:\n{known}\n"
        "Convert it to one of them, or force one with --format NAME."
    )
