"""lmms-eval's logs as sealed runs, marked as what they are.

`--log_samples` writes `DATE_results.json` and `DATE_samples_TASK.jsonl`: per document the text, the answer and the
task's own scores. These scores are taken over after their mean has been found equal to the reported value; metrics of
ours may score the answers too. lmms-eval writes an answer that failed as an empty one, and both are equal here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engine.plan import load_metric
from harness.engine.scoring import Scored, score_cases
from harness.fingerprint import file_sha256, fingerprint
from harness.interop import InteropError
from harness.interop.imported import Imported, ImportedTask, marked_plan, seal
from harness.interop.lmms import PREFIX
from harness.interop.lmms.settings import generation
from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.records import Case, MetricInfo, Response, Sample, Score

PRODUCER = "lmms-eval"
_MARK = "imported from lmms-eval: the model's version and its own template are not in the file"
_SAMPLES = re.compile(r"(?P<date>.+)_samples_(?P<task>.+)\.jsonl")
_RESULTS = re.compile(r"(?P<date>.+)_results\.json")
_ASKED = {"doc_id", "doc", "target", "arguments", "input", "input_media", "doc_hash"}
_ANSWERED = {"resps", "raw_resps", "filtered_resps", "token_counts"}
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class _Log:
    """One task's file, read."""

    path: Path
    task: str
    rows: tuple[tuple[Sample, Response], ...]
    scores: Mapping[str, Mapping[str, float]]
    """Metric → sample id → value."""


class _Logged(MeanMetric):
    """A task's own metric, by the values of the log; documents without a value are no units."""

    by_sample = True

    def __init__(self, name: str, values: Mapping[str, float]) -> None:
        self._values = values
        self.info = MetricInfo(PREFIX, name, f"{PREFIX}|{name}|as logged|v1", unit="score", source="the log")

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        scores = []
        for case in cases:
            if case.text is None:
                scores.append(unscored(case))
            elif case.sample.sample_id in self._values:
                scores.append(mean_score(case, self._values[case.sample.sample_id]))
        return scores


def is_log(path: Path) -> bool:
    """Whether this is a file of lmms-eval, or a folder that holds one."""
    if path.is_dir():
        return next(path.rglob("*_samples_*.jsonl"), None) is not None
    return bool(_SAMPLES.fullmatch(path.name) or _RESULTS.fullmatch(path.name))


def import_lmms_eval(
    paths: Sequence[Path], out: Path, *, model: str | None = None, metrics: Sequence[str] = ()
) -> list[Imported]:
    """One sealed run for each results file.

    Args:
        paths: `*_results.json` files, or folders that hold them.
        out: where run folders go.
        model: name of the model, instead of the one in the file.
        metrics: metrics of ours that score the answers too, by the logged target as reference.

    Raises:
        InteropError: naming the file, the line or the field, and what to do.
    """
    found: list[Path] = []
    for given in paths:
        if not given.exists():
            raise InteropError(f"{given}: there is no such file or folder")
        inside = sorted(p for p in given.rglob("*_results.json")) if given.is_dir() else [given]
        found += [path for path in inside if _RESULTS.fullmatch(path.name)]
    if not found:
        raise InteropError(f"{paths[0]}: no DATE_results.json here; give lmms-eval's --output_path")
    return [_imported(path, out, model, metrics) for path in dict.fromkeys(found)]


def _imported(path: Path, out: Path, model: str | None, metrics: Sequence[str]) -> Imported:
    results = _json(path.read_bytes(), str(path))
    match = _RESULTS.fullmatch(path.name)
    assert match is not None
    date = match["date"]
    name = model or results.get("model_name") or results.get("model_source")
    if not isinstance(name, str) or not name:
        raise InteropError(f"{path}: names no model; give one with --model")
    files = sorted(path.parent.glob(f"{date}_samples_*.jsonl"))
    tasks = [_task(file, results, path, metrics) for file in files]
    if not tasks:
        raise InteropError(f"{path}: no {date}_samples_TASK.jsonl beside it; run lmms-eval with --log_samples")
    return Imported(
        seal(name, tasks, out, producer=PRODUCER, mark=_MARK), tuple(note for task in tasks for note in task.notes)
    )


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InteropError(f"{where}: is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InteropError(f"{where}: a JSON object is expected, found {type(value).__name__}")
    return value


def _task(file: Path, results: dict[str, Any], path: Path, metrics: Sequence[str]) -> ImportedTask:
    match = _SAMPLES.fullmatch(file.name)
    assert match is not None
    log = _read(file, match["task"])
    config, reported = _of(results, "configs", log, path), _of(results, "results", log, path)
    kept, notes = _verified(log, reported, path)
    empty = sum(response.text == "" for _, response in log.rows)
    if empty:
        notes.append(f"{file}: {empty} of {len(log.rows)} answers are empty; lmms-eval writes failed answers so too")
    given = config.get("generation_kwargs") or {}
    try:
        settings, _ = generation(given)
    except (TypeError, ValueError, AttributeError) as error:
        raise InteropError(
            f"{path}: configs.{log.task}.generation_kwargs: {given!r} is not readable: {error}"
        ) from error
    plan = marked_plan(
        PRODUCER,
        name=re.sub(r"[^a-z0-9._-]", "-", log.task.lower()),
        kind="vqa",
        version=1,
        dataset=PREFIX,
        split=str(config.get("test_split") or config.get("validation_split") or "test"),
        data=file.name,
        generation=settings,
        answer_by="generate",
        metrics=(*(f"{PREFIX}@{name}" for name in kept), *metrics),
        breakdown=(),
    )
    score = _scored({name: log.scores[name] for name in kept}, metrics)
    return ImportedTask(plan, file, file_sha256(file), log.rows, score, tuple(notes))


def _of(results: Mapping[str, Any], part: str, log: _Log, path: Path) -> Mapping[str, Any]:
    held = results.get(part)
    found = held.get(log.task) if isinstance(held, dict) else None
    if not isinstance(found, dict):
        raise InteropError(f"{path}: has no object {part}.{log.task}, whose answers are in {log.path.name}")
    return found


def _scored(kept: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> Callable[[Sequence[Case]], Scored]:
    def score(asked: Sequence[Case]) -> Scored:
        every = [*(_Logged(name, values) for name, values in kept.items()), *map(load_metric, metrics)]
        return score_cases(asked, every, (), ScoringContext(reference_corpus=lambda: None))

    return score


def _verified(log: _Log, reported: Mapping[str, Any], path: Path) -> tuple[list[str], list[str]]:
    """The metrics whose reported value is the mean of the documents' values, and notes on the others."""
    kept, notes = [], []
    for name, values in log.scores.items():
        value = next((v for key, v in reported.items() if key.partition(",")[0] == name), None)
        mean = sum(values.values()) / len(values)
        if not isinstance(value, int | float):
            notes.append(f"{path}: reports no value of {name} for {log.task}; left out")
        elif not math.isclose(value, mean, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            notes.append(f"{path}: {name} of {log.task} is {value}, the mean of its documents {mean:.6g}; left out")
        else:
            kept.append(name)
    if not kept:
        said = "; ".join(notes) or f"{log.path}: the documents have no scores"
        raise InteropError(f"{said}. No metric of {log.task} can be taken over")
    return kept, notes


def _read(file: Path, task: str) -> _Log:
    rows: list[tuple[Sample, Response]] = []
    scores: dict[str, dict[str, float]] = {}
    seen: set[str] = set()
    sha256 = file_sha256(file)
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{file}: line {number}"
            row = _json(line, where)
            missing = [field for field in ("doc_id", "target", "filtered_resps") if field not in row]
            if missing:
                raise InteropError(f'{where}: has no "{missing[0]}"; lmms-eval 0.7 writes it with --log_samples')
            sample_id = f"{task}:{row['doc_id']}"
            if sample_id in seen:
                raise InteropError(
                    f"{where}: document {row['doc_id']} stood before; tasks with several filters are not read"
                )
            seen.add(sample_id)
            rows.append(_row(row, sample_id, task, sha256, where))
            for name, value in row.items():
                if name not in _ASKED | _ANSWERED and isinstance(value, int | float):
                    scores.setdefault(name, {})[sample_id] = float(value)
    if not rows:
        raise InteropError(f"{file}: is empty")
    return _Log(file, task, tuple(rows), scores)


def _row(row: Mapping[str, Any], sample_id: str, task: str, sha256: str, where: str) -> tuple[Sample, Response]:
    answer = row["filtered_resps"]
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, str):
        raise InteropError(
            f'{where}: "filtered_resps" is {type(answer).__name__}; tasks that generate one text are read'
        )
    target = row["target"]
    references = tuple(map(str, target)) if isinstance(target, list) else (str(target),)
    # Pictures are not in the file: questions about one picture cannot be told to belong together.
    sample = Sample(sample_id, question=str(row.get("input", "")), references=references, cluster=sample_id)
    return sample, Response(fingerprint({"file": sha256, "sample": sample_id}), task, sample_id, answer)
