"""Answers of another harness as a sealed run, marked as what it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.engine.plan import load_metric
from harness.engine.scoring import Scored, score_cases
from harness.fingerprint import SampleSetChecksum, fingerprint
from harness.interop import InteropError
from harness.metrics.base import ScoringContext
from harness.provenance import provenance
from harness.records import (
    SCHEMA_VERSION,
    Case,
    ModelIdentity,
    ModelSettings,
    Response,
    RunRecord,
    Sample,
    TaskPlan,
    TaskResult,
)
from harness.store.runs import Run, open_run, read_run
from harness.store.tables import Answered, SampleTable, ScoreTable, case
from harness.tasks.loading import LoadedTask
from harness.version import __version__

FORMS = {"VLMEvalKit": "vlmevalkit", "lmms-eval": "lmms-eval-log"}
"""Producer → `form` of the tasks of its runs, whose settings are not all known."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One sealed run and what its reader must know."""

    run: Run
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """The answers of one file."""

    plan: TaskPlan
    path: Path
    sha256: str
    rows: Sequence[tuple[Sample, Response]]
    score: Callable[[Sequence[Case]], Scored]
    notes: tuple[str, ...] = ()


def is_imported(plan: TaskPlan) -> bool:
    """Whether a task was answered under another harness."""
    return plan.form in FORMS.values()


def marked_plan(producer: str, **known: Any) -> TaskPlan:
    """The plan of answers whose prompt is not known, from the fields of `TaskPlan` that are."""
    return TaskPlan(
        form=FORMS[producer],
        prompt_name=f"not known ({producer})",
        prompt_version=0,
        prompt_text="",
        template="",
        subset={},
        **known,
    )


def task_plan(
    loaded: LoadedTask, split: str, path: Path, *, producer: str, metrics: Sequence[str] | None = None
) -> TaskPlan:
    """A task of ours as the plan of answers whose prompt is not known."""
    task = loaded.task
    return marked_plan(
        producer,
        name=task.name,
        kind=task.kind,
        version=task.version,
        dataset=task.dataset,
        split=split,
        data=path.name,
        generation=loaded.generation(),
        answer_by=task.answer_by,
        metrics=tuple(metrics if metrics is not None else task.metrics),
        breakdown=tuple(task.breakdown),
    )


def scored_by(plan: TaskPlan) -> Callable[[Sequence[Case]], Scored]:
    """Scores by the plan's own metrics."""

    def score(asked: Sequence[Case]) -> Scored:
        context = ScoringContext(reference_corpus=lambda: None)
        return score_cases(asked, [load_metric(name) for name in plan.metrics], plan.breakdown, context)

    return score


def seal(model: str, tasks: Sequence[ImportedTask], out: Path, *, producer: str, mark: str) -> Run:
    """One run of these tasks.

    Args:
        model: its name as the other harness has it.
        out: where run folders go.
        mark: what the reader of any number must know.

    Raises:
        InteropError: the name has no letter or digit.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    name = re.sub(r"[^a-z0-9._-]", "-", model.lower()).lstrip("._-")[:80]
    if not name:
        raise InteropError(
            f"{tasks[0].path}: {model!r} has no letter or digit for a model's name; give one with --model"
        )
    form = FORMS[producer]
    files = {task.path.name: task.sha256 for task in tasks}
    settings = ModelSettings(name=name, family="predictions", options={"files": sorted(files), "format": form})
    weights = next(iter(files.values())) if len(files) == 1 else fingerprint(files)
    identity = ModelIdentity(settings, f"answers sha256:{weights}", {"files": files}, (mark,))
    key = fingerprint({"identity": identity, "tasks": [task.plan for task in tasks]})
    suite = producer.lower()
    with open_run(out, suite, name, key, {"files": files}) as run:
        with SampleTable(run.folder) as samples, ScoreTable(run.folder) as scores:
            results = [_write(task, samples, scores) for task in tasks]
        run.seal(
            RunRecord(
                run_id=run.run_id,
                schema_version=SCHEMA_VERSION,
                harness_version=__version__,
                model=name,
                card={"name": name, "why_no_run": f"answers of {producer}", "takes_part": "prediction-files"},
                identity=identity,
                suite=suite,
                suite_version=1,
                key=key,
                tasks=tuple(results),
                efficiency=(),
                provenance=provenance(),
                warnings=tuple(note for task in tasks for note in task.notes),
                timing={"started": started, "ended": datetime.now(UTC).isoformat(timespec="seconds")},
            )
        )
        folder = run.folder
    return read_run(folder)


def _write(task: ImportedTask, samples: SampleTable, scores: ScoreTable) -> TaskResult:
    plan, checksum, asked = task.plan, SampleSetChecksum(), []
    for sample, response in task.rows:
        row = Answered(sample, "", (), replace(response, task=plan.name))
        checksum.add(sample)
        samples.add(row)
        asked.append(case(row))
    scored = task.score(asked)
    for signature, units in scored.scores:
        scores.add(plan.name, signature, units)
    return TaskResult(
        plan=plan,
        sample_set=checksum.hexdigest(),
        data_revision=task.sha256,
        n_samples=len(asked),
        n_answered=sum(one.text is not None for one in asked),
        unscored=dict(Counter(one.failure.kind for one in asked if one.failure is not None)),
        values=scored.values,
    )
