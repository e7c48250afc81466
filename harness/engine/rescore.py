"""Stored answers scored again: a change of a number is then the scorer's, never the model's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness.codec import encode
from harness.datasets.opening import open_dataset
from harness.engine.plan import load_metric
from harness.engine.scoring import score_stream
from harness.errors import DatasetError, StoreError
from harness.metrics.base import ScoringContext
from harness.provenance import provenance
from harness.records import TaskPlan
from harness.store.files import make_folder, write_json
from harness.store.runs import RECORD, Run, answers_file, read_run
from harness.store.tables import ScoreTable, case, read_answers
from harness.version import __version__


def rescore(path: str | Path, *, reason: str, data: str | Path | None = None, metrics: list[str] | None = None) -> Run:
    """The run's answers scored by today's metrics, as a new record inside the run folder; nothing is overwritten.

    Args:
        path: folder of a sealed run.
        reason: why, kept in the new record.
        data: the benchmarks' folder, for metrics that need the whole reference corpus; where it is absent they are
            "not computed".
        metrics: replaces each task's own list.

    Raises:
        StoreError: the run is not sealed or not readable.
    """
    run = read_run(path)
    if run.record.rescored_from:
        raise StoreError(f"{path}: is itself a rescoring of {run.record.rescored_from}; rescore that run")
    taken = [int(folder.name[-3:]) for folder in run.path.glob("rescore-[0-9][0-9][0-9]")]
    folder = run.path / f"rescore-{max(taken, default=0) + 1:03d}"
    make_folder(folder)
    results = []
    with ScoreTable(folder) as scores:
        for result in run.record.tasks:
            plan = result.plan
            names = plan.metrics if metrics is None else tuple(metrics)
            rows = map(case, read_answers(answers_file(run.path), plan.name))
            context = ScoringContext(reference_corpus=lambda plan=plan: _corpus(plan, data))  # type: ignore[misc]
            metrics_now = [load_metric(name) for name in names]
            values = score_stream(rows, metrics_now, plan.breakdown, context, partial(scores.add, plan.name))
            results.append(replace(result, plan=replace(plan, metrics=names), values=values))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = replace(
        run.record,
        run_id=f"{run.record.run_id}/{folder.name}",
        harness_version=__version__,
        tasks=tuple(results),
        provenance=provenance(),
        timing={"started": now, "ended": now},
        rescored_from=run.record.run_id,
        reason=reason,
    )
    write_json(folder / RECORD, encode(record))
    return read_run(folder)


def _corpus(plan: TaskPlan, data: str | Path | None) -> dict[str, tuple[str, ...]] | None:
    """The reference corpus of the task's split, where its data is at hand."""
    if data is None and plan.data != "bundled":
        return None
    dataset = open_dataset(plan.dataset, Path(data) if data is not None else None, plan.options)
    if plan.split not in dataset.splits():
        raise DatasetError(f'{dataset.root}: no split "{plan.split}"; there: {", ".join(dataset.splits())}')
    corpus = dataset.reference_corpus(plan.split)
    return None if corpus is None else dict(corpus)
