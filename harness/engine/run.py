"""The whole program on one page: a suite and model cards in, sealed runs out.

    suite, cards → plan → samples → requests → responses → scores → record

Every step is a function of another module of this package; this file shows their order. A run can be killed at any
instant: answers are journalled as they come, the record is written last, and the same command goes on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from harness import registry
from harness.cards.loading import LoadedCard, load_card
from harness.engine.efficiency import efficiency, process_peak_bytes
from harness.engine.equal import UnderWay
from harness.engine.examples import examples, examples_checksum, reads_examples
from harness.engine.plan import ModelPlan, OpenTask, load_metric, open_tasks, plan_model
from harness.engine.progress import Progress, Silent
from harness.engine.requests import RequestMaker, WorkItem, windows
from harness.engine.scoring import score_cases
from harness.engine.worker import ModelWorker
from harness.errors import CardError, ModelError
from harness.fingerprint import file_sha256, fingerprint
from harness.metrics.base import ScoringContext
from harness.provenance import provenance
from harness.records import SCHEMA_VERSION, Problem, Response, RunRecord, TaskPlan, TaskResult
from harness.store.cache import ResponseCache
from harness.store.runs import SAMPLES, SCORES, OpenRun, Run, open_run, read_run
from harness.store.tables import Answered, cases, sample_row, sample_writer, score_row, score_writer
from harness.tasks.loading import LoadedSuite, load_suite
from harness.tasks.schema import Subset
from harness.version import __version__

logger = logging.getLogger(__name__)
WINDOW = 64
"""Samples read ahead of the model: enough to group by image, few enough to hold."""
INTERRUPTED = Problem("interrupted", "the run was stopped before this sample was asked; the same command asks it")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a suite gave: the sealed runs, and the models that could not take part, with the reason."""

    runs: tuple[Run, ...]
    failures: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a suite is run; nothing here changes an answer."""

    out: Path
    batch_size: int | None = None
    """`None` finds the size."""
    executor: str = "local"
    progress: Progress = field(default_factory=Silent)
    stop: Callable[[], bool] = lambda: False
    """Asked between batches; once true, the run is sealed with what it has."""


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

    Returns:
        Sealed runs in the order of `models`. A model that cannot be loaded is in `failures` and stops nobody.

    Raises:
        HarnessError: the suite, a card or the data is not there or not valid; nothing was run.
    """
    loaded = suite if isinstance(suite, LoadedSuite) else load_suite(suite)
    chosen = [card if isinstance(card, LoadedCard) else load_card(card, cards=cards) for card in models]
    tasks = open_tasks(loaded, Path(data) if data is not None else None, subset)
    options = RunOptions(Path(out), batch_size, executor, progress or Silent(), stop)
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
    worker = ModelWorker(plan, options.batch_size)
    described = [task for _, task in plan.tasks]
    with (
        open_run(options.out, suite.name, plan.card.name, plan.key, described_plan(plan, described)) as run,
        ResponseCache(options.out / ".cache" / "responses.sqlite") as cache,
    ):
        samples = sample_writer(run.folder / SAMPLES)
        scores = score_writer(run.folder / SCORES)
        results: list[TaskResult] = []
        responses: list[Response] = []
        try:
            for opened, task in plan.tasks:
                answered, checksum = answer_task(plan, opened, task, worker, run, cache, options)
                for row in answered:
                    samples.add(sample_row(task.name, row))
                responses += [row.response for row in answered]
                results.append(score_task(opened, task, answered, checksum, scores.add, options))
            peak, memory_of = worker.peak_memory_bytes(), "device"
            if peak is None:
                peak, memory_of = process_peak_bytes(), "process"
        finally:
            worker.close()
        samples.finish()
        scores.finish()
        fresh = sum(not r.cached and r.text is not None for r in responses)
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
            efficiency=tuple(efficiency(responses, peak, memory_of)),
            provenance=provenance(),
            warnings=_warnings(plan, results),
            timing={
                "started": started.isoformat(timespec="seconds"),
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
                "load_s": worker.load_s,
                "busy_s": worker.busy_s,
                "requests_asked": worker.asked,
                "answers_new": fresh,
                "answers_from_cache": sum(r.cached for r in responses),
            },
        )
        run.seal(record)
        return read_run(run.folder)


def described_plan(plan: ModelPlan, tasks: Sequence[TaskPlan]) -> dict[str, object]:
    """The plan as JSON types, for `plan.json`."""
    from harness.codec import encode

    return {"identity": encode(plan.identity), "tasks": [encode(task) for task in tasks]}


def answer_task(
    plan: ModelPlan,
    opened: OpenTask,
    task: TaskPlan,
    worker: ModelWorker,
    run: OpenRun,
    cache: ResponseCache,
    options: RunOptions,
) -> tuple[list[Answered], str]:
    """Every sample of the task with its response, in file order, and the checksum of the sample set."""
    total = sum(1 for _ in opened.samples())
    options.progress.task(task.name, total)
    reads = reads_examples(plan, task)
    maker = RequestMaker(plan, task, opened.dataset, examples_checksum(opened, task) if reads else "")
    worker.start_task(task, (lambda: examples(plan, opened, task)) if reads else None)
    known = run.journalled(task.name)
    items: list[tuple[WorkItem, Response | None]] = []
    arrived: dict[str, Response] = {}
    under_way = UnderWay()

    def unanswered() -> Iterator[list[WorkItem]]:
        """Windows of what neither the journal nor the cache knows; the rest is taken from there."""
        for window in windows(opened.samples(), maker, WINDOW):
            old = {item.sample.sample_id: _known(item, known) for item in window}
            missing = [item for item in window if old[item.sample.sample_id] is None and item.problem is None]
            cached = cache.get([item.request.fingerprint for item in missing])
            taken = [
                _taken(item, cached[item.request.fingerprint]) for item in missing if item.request.fingerprint in cached
            ]
            if taken:
                run.append(task.name, taken)
            arrived.update({response.sample_id: response for response in taken})
            for item in window:
                items.append((replace(item, images=(), audio=()), old[item.sample.sample_id]))
            options.progress.answered(0, len(taken) + sum(r is not None for r in old.values()), 0)
            unknown = [i for i in window if old[i.sample.sample_id] is None and i.sample.sample_id not in arrived]
            yield [item for item in unknown if under_way.first(item)]

    execute = registry.load("executors", options.executor)()
    for given in execute.answer(worker, unanswered(), options.stop):
        responses = under_way.shared(given)
        run.append(task.name, [r for r in responses if r.text is not None])
        cache.put(given)
        arrived.update({response.sample_id: response for response in responses})
        failed = sum(r.text is None for r in responses)
        options.progress.answered(len(responses) - failed, 0, failed)
    if options.stop():
        done = {item.sample.sample_id for item, _ in items}
        items += [(maker.make(s), None) for s in opened.samples() if s.sample_id not in done]
    rows = [_row(item, old or arrived.get(item.sample.sample_id)) for item, old in items]
    return rows, maker.checksum.hexdigest()


def _known(item: WorkItem, journal: dict[str, Response]) -> Response | None:
    response = journal.get(item.sample.sample_id)
    return response if response is not None and response.fingerprint == item.request.fingerprint else None


def _taken(item: WorkItem, response: Response) -> Response:
    return replace(response, task=item.request.task, sample_id=item.request.sample_id)


def _row(item: WorkItem, response: Response | None) -> Answered:
    request = item.request
    if response is None:
        response = Response(request.fingerprint, request.task, request.sample_id, None, item.problem or INTERRUPTED)
    return Answered(item.sample, request.prompt, request.images, response, request.audio)


def score_task(
    opened: OpenTask,
    task: TaskPlan,
    answered: Sequence[Answered],
    checksum: str,
    write: Callable[[dict[str, object]], None],
    options: RunOptions,
) -> TaskResult:
    """The task's values, its scores handed to `write`."""
    context = ScoringContext(reference_corpus=lambda: opened.dataset.reference_corpus(task.split))
    scored = score_cases(
        cases(answered), [load_metric(name) for name in task.metrics], task.breakdown, context, options.progress.note
    )
    for signature, units in scored.scores:
        for unit in units:
            write(score_row(task.name, signature, unit))
    unscored = Counter(row.response.failure.kind for row in answered if row.response.failure)
    return TaskResult(
        plan=task,
        sample_set=checksum,
        data_revision=fingerprint([file_sha256(path) for path in opened.dataset.files(task.split)]),
        n_samples=len(answered),
        n_answered=len(answered) - sum(unscored.values()),
        unscored=dict(sorted(unscored.items())),
        values=scored.values,
    )


def _warnings(plan: ModelPlan, results: Sequence[TaskResult]) -> tuple[str, ...]:
    found = list(plan.identity.warnings)
    for result in results:
        if result.unscored:
            named = ", ".join(f"{kind} x{count}" for kind, count in result.unscored.items())
            found.append(f"{result.plan.name}: {result.n_samples - result.n_answered} without an answer: {named}")
    return tuple(found)
