"""The whole program on one page: a suite and model cards in, sealed runs out.

    suite, cards → plan → samples → requests → responses → scores → record

Every step is a function of another module of this package; this file shows their order. A run can be killed at any
instant: answers are journalled as they come, the record is written last, and the same command goes on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness import registry
from harness.cards.loading import LoadedCard, load_card
from harness.engine.answers import TaskAnswers
from harness.engine.efficiency import Measured
from harness.engine.executor import Executor
from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan, load_metric, open_tasks, plan_model
from harness.engine.progress import Progress, Silent
from harness.engine.requests import on_this_machine
from harness.engine.scoring import score_stream
from harness.errors import CardError, ModelError
from harness.fingerprint import file_sha256, fingerprint
from harness.metrics.base import ScoringContext
from harness.provenance import provenance
from harness.records import SCHEMA_VERSION, Case, RunRecord, TaskPlan, TaskResult
from harness.store.cache import ResponseCache
from harness.store.runs import Run, open_run, read_run
from harness.store.tables import SampleTable, ScoreTable, case
from harness.tasks.loading import LoadedSuite, load_suite
from harness.tasks.schema import Subset
from harness.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a suite gave: the sealed runs, and the models that could not take part, with the reason."""

    runs: tuple[Run, ...]
    failures: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False


def run_suite(
    suite: str | Path | LoadedSuite,
    models: Sequence[str | Path | LoadedCard],
    *,
    data: str | Path | None = None,
    out: str | Path = "results",
    subset: Subset | None = None,
    cards: Iterable[Path] = (),
    device: str = "auto",
    batch_size: int | None = None,
    executor: str = "local",
    address: str | None = None,
    actors: int | None = None,
    time_limit_s: float | None = None,
    remote_code_commit: str | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Every model's answers to every question of the suite, scored and sealed.

    Args:
        suite: name, path of a YAML file, or a loaded suite.
        models: card names, paths, `family:card` for wrapped models, or loaded cards.
        data: a benchmark's folder or a folder of benchmark folders; `None` for the bundled data.
        out: where run folders go; an unfinished run of the same plan there is resumed.
        subset: replaces the tasks' own subsets.
        executor: `local`, `process` for a process of its own for each model, or `ray` for the devices of a cluster;
            `address` is the cluster's, `actors` how many copies of the model it may hold. A card with `run.python` has
            a process of its own in any case.
        time_limit_s: most seconds for a request, under `process`; a late one is unanswered.

    Returns:
        Sealed runs in the order of `models`. A model that cannot be loaded is in `failures` and stops nobody.

    Raises:
        HarnessError: the suite, a card or the data is not there or not valid; nothing was run.
    """
    loaded = suite if isinstance(suite, LoadedSuite) else load_suite(suite)
    chosen = [card if isinstance(card, LoadedCard) else load_card(card, cards=cards) for card in models]
    tasks = open_tasks(loaded, Path(data) if data is not None else None, subset)
    options = RunOptions(Path(out), batch_size, executor, address, actors, time_limit_s, progress or Silent(), stop)
    runs: list[Run] = []
    failures: list[tuple[str, str]] = []
    for position, card in enumerate(chosen):
        options.progress.model(card.name, position + 1, len(chosen))
        try:
            settings = card.settings(
                device=device,
                remote_code_commit=remote_code_commit,
                data=Path(data) if data is not None else None,
            )
            plan = plan_model(card, loaded, tasks, settings)
            runs.append(run_model(plan, loaded, options))
        except (ModelError, CardError) as error:
            logger.error("%s: %s", card.name, error)
            failures.append((card.name, str(error)))
        if stop():
            break
    return Outcome(tuple(runs), tuple(failures), stop())


def run_model(plan: ModelPlan, suite: LoadedSuite, options: RunOptions) -> Run:
    """One model on the suite: asked, scored, sealed.

    Raises:
        ModelError: the model cannot be loaded; the unsealed folder stays and is resumed by the same command.
    """
    started = datetime.now(UTC)
    described = [task for _, task in plan.tasks]
    model_here = on_this_machine(plan.identity)
    make_executor = _executor(plan, options)
    with (
        open_run(options.out, suite.name, plan.card.name, plan.key, described_plan(plan, described)) as run,
        ResponseCache(options.out / ".cache" / "responses.sqlite") as cache,
        closing(make_executor(plan, replace(options, first_batch=cache.batch_size(model_here)))) as executor,
    ):
        measured = Measured()
        with SampleTable(run.folder) as samples, ScoreTable(run.folder) as scores:
            results = [
                run_task(TaskAnswers(plan, opened, task, executor, run, cache, options), samples, scores, measured)
                for opened, task in plan.tasks
            ]
            peak_bytes, memory_of = executor.peak_memory()
        if executor.batch_size is not None:
            cache.keep_batch_size(model_here, executor.batch_size)
        record = RunRecord(
            run_id=run.run_id,
            schema_version=SCHEMA_VERSION,
            harness_version=__version__,
            model=plan.card.name,
            card=plan.card.content(),
            identity=plan.identity,
            suite=suite.name,
            suite_version=suite.suite.version,
            key=plan.key,
            tasks=tuple(results),
            efficiency=tuple(measured.values(peak_bytes, memory_of)),
            provenance=provenance(),
            warnings=_warnings(plan, results),
            timing={
                "started": started.isoformat(timespec="seconds"),
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
                "load_s": executor.load_s,
                "busy_s": executor.busy_s,
                "requests_asked": executor.asked,
                "answers_new": measured.fresh,
                "answers_from_cache": measured.cached,
            },
        )
        run.seal(record)
        return read_run(run.folder)


def _executor(plan: ModelPlan, options: RunOptions) -> type[Executor]:
    name = "process" if plan.python is not None and options.executor == "local" else options.executor
    chosen: type[Executor] = registry.load("executors", name)
    if plan.python is not None and not chosen.isolates:
        raise ModelError(f"run.python: a model in its own environment has a process here; --executor {name} has not")
    if options.time_limit_s is not None and not chosen.isolates:
        raise ModelError(f"a time limit needs a process of its own for the model; --executor {name} has none")
    return chosen


def run_task(answers: TaskAnswers, samples: SampleTable, scores: ScoreTable, measured: Measured) -> TaskResult:
    """One task as one stream: every answer, once it is there, is written down, measured, scored and let go."""
    task, opened, note = answers.task, answers.opened, answers.options.progress.note
    unscored: Counter[str] = Counter()
    n_samples = 0

    def kept() -> Iterator[Case]:
        nonlocal n_samples
        for row in answers:
            samples.add(row)
            measured.add(row.response)
            n_samples += 1
            if row.response.failure:
                unscored[row.response.failure.kind] += 1
            yield case(row)

    metrics = [load_metric(name) for name in task.metrics]
    context = ScoringContext(reference_corpus=lambda: opened.dataset.reference_corpus(task.split))
    values = score_stream(kept(), metrics, task.breakdown, context, partial(scores.add, task.name), note)
    return TaskResult(
        plan=task,
        sample_set=answers.checksum(),
        data_revision=fingerprint([file_sha256(path) for path in opened.dataset.files(task.split)]),
        n_samples=n_samples,
        n_answered=n_samples - unscored.total(),
        unscored=dict(sorted(unscored.items())),
        values=values,
    )


def described_plan(plan: ModelPlan, tasks: Sequence[TaskPlan]) -> dict[str, object]:
    """The plan as JSON types, for `plan.json`."""
    from harness.codec import encode

    return {"identity": encode(plan.identity), "tasks": [encode(task) for task in tasks]}


def _warnings(plan: ModelPlan, results: Sequence[TaskResult]) -> tuple[str, ...]:
    found = list(plan.identity.warnings)
    for result in results:
        if result.unscored:
            named = ", ".join(f"{kind} x{count}" for kind, count in result.unscored.items())
            found.append(f"{result.plan.name}: {result.n_samples - result.n_answered} without an answer: {named}")
    return tuple(found)
