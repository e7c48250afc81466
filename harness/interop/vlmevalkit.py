"""VLMEvalKit's files of answers as sealed runs, marked as what they are.

A file `MODEL_BENCHMARK.{xlsx,tsv,json}` holds the rows of the benchmark's table, with `prediction` and without the
pictures. The benchmark stands in the file's name alone. Answers are scored by our metrics; judged columns and `_acc`
or `_score` files are not read. Nothing in the file tells the prompt or the settings, so a comparison with a run of ours
is refused, or marked with --allow.

Source: VLMEvalKit `vlmeval/inference.py` (columns, failure text), `vlmeval/smp/file.py` (forms and names),
`vlmeval/dataset/image_{mcq,vqa,caption}.py` (benchmarks, answers).
"""

from __future__ import annotations

import ast
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.datasets.tsv import records
from harness.errors import DatasetError
from harness.fingerprint import file_sha256, fingerprint
from harness.interop import InteropError
from harness.interop.imported import Imported, ImportedTask, scored_by, seal, task_plan
from harness.predictions import mmbench
from harness.predictions.base import Prediction
from harness.predictions.content import Content, Row, read_content
from harness.records import Problem, Response, Sample
from harness.store.runs import Run
from harness.tasks.loading import load_task

PRODUCER = "VLMEvalKit"
_FAILED = "Failed to obtain answer"
_ENDINGS = (".xlsx", ".tsv", ".json")
_FORM_MARK = "imported from VLMEvalKit: prompt, generation settings and model version are not in the file"


@dataclass(frozen=True, slots=True)
class _Benchmark:
    """One family of VLMEvalKit's benchmarks and how we score it."""

    pattern: re.Pattern[str]
    """Of the benchmark's whole name."""
    dataset: str
    task: str
    columns: tuple[str, ...]
    """Columns that a result must have."""
    read: Callable[[Content, str], list[tuple[str, Prediction]]]


@dataclass(frozen=True, slots=True)
class _Answers:
    """One file, read."""

    path: Path
    benchmark: _Benchmark
    name: str
    """VLMEvalKit's name of the benchmark."""
    model: str
    sha256: str
    rows: tuple[tuple[Sample, Response], ...]
    notes: tuple[str, ...]


def _mmbench(content: Content, name: str) -> list[tuple[str, Prediction]]:
    found = []
    for row, (where, prediction) in zip(content.rows, mmbench.read_sheet(content).predictions, strict=True):
        if prediction.gold is not None:
            more = {
                key: row.text(key) for key in ("category", "l2-category", "split") if row.fields.get(key) is not None
            }
            gold = replace(prediction.gold, metadata={**prediction.gold.metadata, **more})
            prediction = replace(prediction, gold=gold)
        found.append((where, prediction))
    return found


def _scienceqa(content: Content, name: str) -> list[tuple[str, Prediction]]:
    return [(row.where, Prediction(_id(name, row), _text(row), _choice_sample(name, row))) for row in content.rows]


def _choice_sample(name: str, row: Row) -> Sample | None:
    if row.fields.get("answer") is None:
        return None
    filled = [letter for letter in string.ascii_uppercase if row.fields.get(letter) is not None]
    if len(filled) < 2 or filled != list(string.ascii_uppercase[: len(filled)]):
        raise InteropError(
            f"{row.where}: options {', '.join(filled) or 'none'} are filled; A, B, … without a gap expected"
        )
    letter = row.text("answer").strip()
    if letter not in filled:
        raise InteropError(f'{row.where}: column "answer" is {letter!r}; one of {", ".join(filled)} is expected')
    return Sample(
        _id(name, row),
        question=row.text("question"),
        references=(letter,),
        choices=tuple(row.text(option) for option in filled),
        hint=row.text("hint") if row.fields.get("hint") is not None else "",
        cluster=_id(name, row),
        # VLMEvalKit's table leaves questions without a picture out
        metadata={"modality": "image"}
        | {key: row.text(key) for key in ("category", "split") if row.fields.get(key) is not None},
    )


def _chartqa(content: Content, name: str) -> list[tuple[str, Prediction]]:
    found = []
    for row in content.rows:
        subset = row.text("split").rpartition("_")[2] if row.fields.get("split") is not None else ""
        gold = None
        if row.fields.get("answer") is not None:
            gold = Sample(
                _id(name, row),
                question=row.text("question"),
                references=(row.text("answer"),),
                # The picture is not in the file: questions on one chart cannot be told to belong together.
                cluster=_id(name, row),
                metadata={"subset": subset} if subset in ("human", "augmented") else {},
            )
        found.append((row.where, Prediction(_id(name, row), _text(row), gold)))
    return found


def _captions(content: Content, name: str) -> list[tuple[str, Prediction]]:
    found = []
    for row in content.rows:
        gold = None
        if row.fields.get("answer") is not None:
            gold = Sample(_id(name, row), references=_caption_list(row), cluster=_id(name, row))
        found.append((row.where, Prediction(_id(name, row), _text(row), gold)))
    return found


def _caption_list(row: Row) -> tuple[str, ...]:
    answer = row.fields["answer"]
    if isinstance(answer, str):
        try:
            answer = ast.literal_eval(answer)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise InteropError(f'{row.where}: column "answer" is no list of captions: {error}') from error
    if not isinstance(answer, list) or not answer or not all(isinstance(caption, str) for caption in answer):
        raise InteropError(f'{row.where}: column "answer" should be a list of captions')
    return tuple(answer)


def _id(name: str, row: Row) -> str:
    """VLMEvalKit numbers its own rows: the id says whose number it is, and meets no id of the benchmark by accident."""
    return f"{name}:{row.text('index')}"


def _text(row: Row) -> str:
    value = row.required("prediction")
    return "" if value is None else row.text("prediction")


_CHOICES = ("index", "question", "A", "B", "answer", "prediction")
_BENCHMARKS = (
    _Benchmark(re.compile(r"MMBench(?:_(?:DEV|TEST))?(?:_EN)?(?:_V11)?"), "mmbench", "mmbench-en", _CHOICES, _mmbench),
    _Benchmark(re.compile(r"MMBench(?:_(?:DEV|TEST))?_CN(?:_V11)?"), "mmbench", "mmbench-cn", _CHOICES, _mmbench),
    _Benchmark(re.compile(r"ScienceQA_(?:VAL|TEST)"), "scienceqa", "scienceqa", _CHOICES, _scienceqa),
    _Benchmark(
        re.compile(r"ChartQA_TEST"), "chartqa", "chartqa", ("index", "question", "answer", "prediction"), _chartqa
    ),
    _Benchmark(re.compile(r"COCO_VAL"), "coco", "coco-captions", ("index", "answer", "prediction"), _captions),
)
KNOWN = "MMBench_{DEV,TEST}_{EN,CN}[_V11], ScienceQA_{VAL,TEST}, ChartQA_TEST, COCO_VAL"


def result_files(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Files of answers among the given files and directly inside the given folders, and what is left out of folders.

    Raises:
        InteropError: a path that is not there, or a folder without a single such file.
    """
    files: list[Path] = []
    notes: list[str] = []
    for given in paths:
        if not given.exists():
            raise InteropError(f"{given}: there is no such file or folder")
        if given.is_file():
            files.append(given)
            continue
        inside = sorted(p for p in given.iterdir() if p.is_file() and p.suffix in _ENDINGS)
        known = [path for path in inside if _named(path) is not None]
        if not known:
            raise InteropError(
                f"{given}: no file MODEL_BENCHMARK{{{','.join(_ENDINGS)}}} here; known benchmarks: {KNOWN}"
            )
        files += known
        notes += [f"{path}: left out, not the answers to a known benchmark" for path in inside if path not in known]
    return list(dict.fromkeys(files)), notes


def _named(path: Path) -> tuple[str, str, _Benchmark] | None:
    """(model, VLMEvalKit's benchmark, ours) by the file's name; the longest known benchmark at its end counts."""
    parts = path.stem.split("_")
    for first in range(1, len(parts)):
        name = "_".join(parts[first:])
        for benchmark in _BENCHMARKS:
            if benchmark.pattern.fullmatch(name):
                return "_".join(parts[:first]), name, benchmark
    return None


def import_vlmevalkit(
    paths: Sequence[Path],
    out: Path,
    *,
    model: str | None = None,
    benchmark: str | None = None,
    metrics: Sequence[str] | None = None,
) -> list[Imported]:
    """One sealed run for each model, with a task for each of its files.

    Args:
        paths: files of answers, or folders such as `outputs/MODEL`.
        out: where run folders go.
        model: name of the model, instead of the one in the files' names.
        benchmark: VLMEvalKit's name of the benchmark, for one file with another name.
        metrics: replaces each task's own list.

    Raises:
        InteropError, PredictionError: naming the file, the column or row, and what to do.
    """
    files, notes = result_files(paths)
    if benchmark is not None and len(files) != 1:
        raise InteropError(f"--benchmark {benchmark}: belongs to one file, {len(files)} are given")
    models: dict[str, list[_Answers]] = {}
    for file in files:
        answers = _read(file, model, benchmark)
        models.setdefault(answers.model, []).append(answers)
    for name, held in models.items():
        tasks = [answers.name for answers in held]
        twice = next((task for task in tasks if tasks.count(task) > 1), None)
        if twice is not None:
            raise InteropError(f"{held[-1].path}: {twice} of {name} is given twice; give one file for each benchmark")
    return [
        Imported(_seal(name, held, out, metrics), (*notes, *(note for answers in held for note in answers.notes)))
        for name, held in models.items()
    ]


def _read(path: Path, model: str | None, name: str | None) -> _Answers:
    named = _named(path if name is None else Path(f"{model or 'model'}_{name}.x"))
    if named is None:
        raise InteropError(
            f"{path}: which benchmark? The name should be MODEL_BENCHMARK, or give --benchmark; known: {KNOWN}"
        )
    stem, vlm_name, benchmark = named
    content = _content(path)
    columns = content.keys()
    missing = [column for column in benchmark.columns if column not in columns]
    if missing:
        found = ", ".join(sorted(columns)) or "none"
        raise InteropError(
            f'{path}: has no column "{missing[0]}"; VLMEvalKit\'s answers to {vlm_name} have '
            f"{', '.join(benchmark.columns)}; found: {found}. Give the file of predictions, not one of scores"
        )
    rows: list[tuple[Sample, Response]] = []
    counts: Counter[str] = Counter()
    seen: dict[str, str] = {}
    for where, prediction in benchmark.read(content, vlm_name):
        if prediction.sample_id in seen:
            raise InteropError(
                f'{where}: index of sample "{prediction.sample_id}" stood before, at {seen[prediction.sample_id]}'
            )
        seen[prediction.sample_id] = where
        if prediction.gold is None:
            counts["have no answer key and are left out"] += 1
            continue
        failed = _FAILED in prediction.text
        counts['are failures of the model ("Failed to obtain answer"): unscored'] += failed
        counts["are empty and count as empty answers"] += not prediction.text
        rows.append((prediction.gold, _response(benchmark.task, prediction, content.sha256, failed)))
    if not rows:
        raise InteropError(f'{path}: no row has an answer key in column "answer"; a test split cannot be scored here')
    notes = tuple(f"{path}: {count} of {len(seen)} rows {what}" for what, count in counts.items() if count)
    return _Answers(path, benchmark, vlm_name, model or stem, content.sha256, tuple(rows), notes)


def _response(task: str, prediction: Prediction, sha256: str, failed: bool) -> Response:
    return Response(
        fingerprint=fingerprint({"file": sha256, "sample": prediction.sample_id}),
        task=task,
        sample_id=prediction.sample_id,
        text=None if failed else prediction.text,
        failure=Problem("no_answer", prediction.text) if failed else None,
    )


def _content(path: Path) -> Content:
    """The rows of a result; an empty cell is `None` in every form."""
    content = _tsv(path) if path.suffix == ".tsv" else read_content(path)
    if content.shape not in ("list", "sheet"):
        raise InteropError(
            f"{path}: a table of answers is expected, found one JSON object; give the file of predictions"
        )
    # A judge's NaN and pandas' empty cells are the same to VLMEvalKit.
    rows = [Row(row.where, {name: _cell(value) for name, value in row.fields.items()}) for row in content.rows]
    return replace(content, rows=tuple(rows))


def _cell(value: Any) -> Any:
    return None if value == "" or (isinstance(value, float) and value != value) else value


def _tsv(path: Path) -> Content:
    rows: list[Row] = []
    try:
        table = records(path)
        _, names = next(table, (0, []))
        for number, (_, cells) in enumerate(table, start=2):
            if len(cells) != len(names):
                raise InteropError(
                    f"{path}: row {number} has {len(cells)} cells, the first row names {len(names)} columns"
                )
            rows.append(Row(f"{path}: row {number}", dict(zip(names, cells, strict=True))))
    except DatasetError as error:
        raise InteropError(str(error)) from error
    return Content(path, file_sha256(path), "sheet", tuple(rows))


def _seal(model: str, held: Sequence[_Answers], out: Path, metrics: Sequence[str] | None) -> Run:
    tasks = []
    for answers in held:
        plan = task_plan(
            load_task(answers.benchmark.task), answers.name, answers.path, producer=PRODUCER, metrics=metrics
        )
        tasks.append(ImportedTask(plan, answers.path, answers.sha256, answers.rows, scored_by(plan), answers.notes))
    return seal(model, tasks, out, producer=PRODUCER, mark=_FORM_MARK)
