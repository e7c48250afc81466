"""Published or foreign answers scored by our metrics, without a model and without images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import registry
from harness.datasets.opening import open_dataset
from harness.engine.plan import load_metric
from harness.engine.scoring import Scored, score_cases
from harness.errors import PredictionError, SuiteError
from harness.metrics.base import ScoringContext
from harness.predictions.base import Prediction, PredictionFile
from harness.predictions.reading import read_predictions
from harness.records import Case, MetricValue, Problem, Sample
from harness.tasks.loading import LoadedTask, load_task, task_files

Corpus = Callable[[], Mapping[str, tuple[str, ...]] | None]
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PredictionScores:
    """What a file of answers scored, and what the reader must know about it."""

    file: str
    sha256: str
    format: str
    dataset: str
    task: str
    reference_source: str
    """Where the gold answers came from: `the file itself`, or a folder and split."""
    values: tuple[MetricValue, ...]
    notes: tuple[str, ...]
    scored: Scored


def score_predictions(
    dataset: str,
    predictions: str | Path,
    *,
    data: str | Path | None = None,
    annotations: str | Path | None = None,
    format: str | None = None,
    split: str | None = None,
    task: str | None = None,
    metrics: Sequence[str] | None = None,
) -> PredictionScores:
    """The scores of a file of answers.

    The gold answers come from `annotations`, from the split of `data` that the answers belong to, or from the file
    itself. A file that holds gold answers defines its own set of samples unless `split` names one; with `data` beside
    it the two are compared, and a disagreement is an error.

    Args:
        dataset: registry name of the benchmark.
        predictions: our JSONL, a COCO result file, or any known published form.
        data: the benchmark's folder or a folder of benchmarks.
        annotations: a COCO-form reference file.
        format: forces a form instead of recognising it.
        split: the split that the answers belong to; its samples without an answer are then unscored.
        task: the task whose metrics are used; default is the data set's main one.
        metrics: replaces the task's list.

    Raises:
        PredictionError, DatasetError, UnknownNameError: naming the file and what to give.
    """
    registry.entry("datasets", dataset)
    loaded = load_task(task or _main_task(dataset))
    if loaded.task.dataset != dataset:
        raise PredictionError(f"task {loaded.task.name} is about {loaded.task.dataset}, not {dataset}")
    file = read_predictions(Path(predictions), format=format, dataset=dataset)
    if file.dataset is not None and file.dataset != dataset:
        raise PredictionError(f"{predictions}: holds answers to {file.dataset} ({file.format}), not to {dataset}")
    notes = list(file.notes)
    own = {p.sample_id: p.gold for p in file.predictions if p.gold is not None}
    folder = Path(data) if data is not None else None
    if annotations is not None:
        samples, corpus = _annotated(Path(annotations))
        source = str(annotations)
    elif own and split is None:
        samples, corpus, source = list(own.values()), _no_corpus, "the file itself"
        if folder is not None:
            notes += _compare(Path(predictions), own, dataset, folder, loaded)
    elif folder is not None:
        samples, corpus, source = _from_folder(dataset, folder, loaded, split, file)
    else:
        need = "--annotations FILE or --data DIR" if dataset == "coco" else "--data DIR"
        raise PredictionError(f"{predictions}: holds no gold answers ({file.format}); give {need}")
    answers = {p.sample_id: p for p in file.predictions}
    notes += _coverage(Path(predictions), answers, samples)
    names = tuple(metrics) if metrics is not None else tuple(loaded.task.metrics)
    cases = [_case(sample, answers.get(sample.sample_id)) for sample in samples]
    context = ScoringContext(reference_corpus=corpus)
    scored = score_cases(cases, [load_metric(name) for name in names], loaded.task.breakdown, context)
    return PredictionScores(
        file=str(predictions),
        sha256=file.sha256,
        format=file.format,
        dataset=dataset,
        task=loaded.task.name,
        reference_source=source,
        values=scored.values,
        notes=tuple(notes),
        scored=scored,
    )


def _no_corpus() -> None:
    return None


def _main_task(dataset: str) -> str:
    """Name of the task that scores files of answers to a data set."""
    for name in sorted(task_files()):
        spec = load_task(name).task
        if spec.dataset == dataset and spec.main:
            return name
    raise SuiteError(f'no task scores files of answers to "{dataset}"; name one with --task')


def _case(sample: Sample, answer: Prediction | None) -> Case:
    # a sample whose image or row has a fault can still be scored: no image is needed here, unless it has no reference
    if answer is None:
        missing = Problem("no_prediction", f"the file has no answer for sample {sample.sample_id}")
        return Case(sample, None, missing)
    if not sample.references:
        return Case(sample, None, sample.problem)
    return Case(replace(sample, problem=None), answer.text)


def _annotated(path: Path) -> tuple[list[Sample], Corpus]:
    """Samples of a COCO-form reference file, wherever it lies."""
    from harness.datasets.coco import read_annotations

    samples = list(read_annotations(path))
    references = {sample.sample_id: sample.references for sample in samples}
    return samples, lambda: references


def _from_folder(
    dataset: str, folder: Path, loaded: LoadedTask, split: str | None, file: PredictionFile
) -> tuple[list[Sample], Corpus, str]:
    """The split that the answers belong to: the one named, or the one that shares most ids with the file."""
    opened = open_dataset(dataset, folder, loaded.task.options)
    wanted = {p.sample_id for p in file.predictions}
    best: tuple[int, str, list[Sample]] = (0, "", [])
    for name in opened.splits() if split is None else (split,):
        samples = list(opened.samples(name))
        shared = sum(sample.sample_id in wanted for sample in samples)
        if shared > best[0] or (split is not None and not best[1]):
            best = (shared, name, samples)
    shared, name, samples = best
    if not shared:
        example = next(iter(sorted(wanted)), "none")
        raise PredictionError(
            f"no answer belongs to a sample of {opened.root} ({', '.join(opened.splits())}); "
            f"the file's ids look like {example!r}"
        )
    return samples, lambda: opened.reference_corpus(name), f"{opened.root} split {name}"


def _compare(path: Path, own: Mapping[str, Sample], dataset: str, folder: Path, loaded: LoadedTask) -> list[str]:
    """Notes on how the file's gold answers meet the data's.

    Raises:
        PredictionError: they disagree on a shared sample.
    """
    opened = open_dataset(dataset, folder, loaded.task.options)
    agreeing, absent = 0, 0
    disagreeing: list[str] = []
    for split in opened.splits():
        samples = list(opened.samples(split))
        # ids of benchmarks in several languages or releases repeat: only the same question is the same sample
        pairs = [(s, own[s.sample_id]) for s in samples if s.sample_id in own and _same_question(s, own[s.sample_id])]
        if not pairs:
            continue
        absent += sum(sample.sample_id not in own for sample in samples)
        agreeing += sum(tuple(s.references) == tuple(gold.references) for s, gold in pairs)
        disagreeing += [
            f"{s.sample_id}: data {s.references}, file {gold.references}"
            for s, gold in pairs
            if tuple(s.references) != tuple(gold.references)
        ]
    if disagreeing:
        shown = "; ".join(disagreeing[:_SHOWN])
        raise PredictionError(
            f"{path}: {len(disagreeing)} gold answers differ from those in {opened.root}: {shown}; "
            "the file belongs to another release of the data"
        )
    notes = [f"gold answers compared with {opened.root}: {agreeing} of {len(own)} found there, all equal"]
    if absent:
        notes.append(f"{absent} samples of the data have no answer in the file; name --split to count them as unscored")
    return notes


def _same_question(sample: Sample, gold: Sample) -> bool:
    return (
        not gold.question or not sample.question or " ".join(sample.question.split()) == " ".join(gold.question.split())
    )


def _coverage(path: Path, answers: Mapping[str, Prediction], samples: Sequence[Sample]) -> list[str]:
    known = {sample.sample_id for sample in samples}
    unknown = sorted(set(answers) - known)
    missing = len(known - set(answers))
    notes = []
    if unknown:
        shown = ", ".join(unknown[:_SHOWN])
        notes.append(f"{len(unknown)} answers of {path.name} belong to no sample of the set and are left out: {shown}")
    if missing:
        notes.append(f"{missing} of {len(known)} samples have no answer in {path.name}: unscored")
    return notes
