"""A task's samples → its answers, as a stream in file order.

What the journal and the cache know is taken from there; the model is asked the rest. A row leaves as soon as all rows
before it are answered, so that memory holds what is under way and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from harness.engine.equal import UnderWay
from harness.engine.examples import examples_checksum, reads_examples
from harness.engine.executor import Executor
from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan, OpenTask
from harness.engine.requests import RequestMaker, WorkItem, windows
from harness.records import Problem, Response, TaskPlan
from harness.store.cache import ResponseCache
from harness.store.runs import OpenRun
from harness.store.tables import Answered

WINDOW = 64
"""Least samples read ahead of the model: enough to group by image, few enough to hold; more for larger batches."""
INTERRUPTED = Problem("interrupted", "the run was stopped before this sample was asked; the same command asks it")


class TaskAnswers:
    """Every sample of one task with its response, in file order; to be iterated once."""

    def __init__(
        self,
        plan: ModelPlan,
        opened: OpenTask,
        task: TaskPlan,
        executor: Executor,
        run: OpenRun,
        cache: ResponseCache,
        options: RunOptions,
    ) -> None:
        self.opened, self.task, self.options = opened, task, options
        self._executor, self._run, self._cache = executor, run, cache
        options.progress.task(task.name, opened.count())
        reads = reads_examples(plan, task)
        self._maker = RequestMaker(plan, task, opened.dataset, examples_checksum(opened, task) if reads else "")
        self._windows = windows(opened.samples(), self._maker, lambda: max(WINDOW, executor.next_batch))
        self._journal = run.journalled(task.name)
        self._under_way = UnderWay()
        self._waiting: deque[WorkItem] = deque()
        self._arrived: dict[str, Response] = {}

    def __iter__(self) -> Iterator[Answered]:
        """The rows; a run that is stopped ends with rows whose failure is `interrupted`."""
        self._executor.start_task(self.opened, self.task)
        for given in self._executor.answer(self._unanswered(), self.options.stop):
            self._keep(given)
            yield from self._complete()
        yield from self._rest(self._waiting)
        for window in self._windows if self.options.stop() else ():
            self._known(window)
            yield from self._rest(window)

    def checksum(self) -> str:
        """Checksum of the sample set, after the last row."""
        return self._maker.checksum.hexdigest()

    def _unanswered(self) -> Iterator[list[WorkItem]]:
        """Windows of what neither the journal nor the cache knows."""
        for window in self._windows:
            known = self._known(window)
            self._waiting.extend(window)
            self.options.progress.answered(0, known, 0)
            unknown = [item for item in window if item.sample.sample_id not in self._arrived]
            yield [item for item in unknown if self._under_way.first(item)]

    def _known(self, window: list[WorkItem]) -> int:
        """Take what was answered before; how many that was."""
        known = [response for item in window if (response := self._journalled(item))]
        journalled = {response.sample_id for response in known}
        missing = [item.request for item in window if item.problem is None and item.sample.sample_id not in journalled]
        known += [response for response in self._cache.get(missing) if response]
        self._arrived.update((response.sample_id, response) for response in known)
        return len(known)

    def _journalled(self, item: WorkItem) -> Response | None:
        response = self._journal.get(item.sample.sample_id)
        return response if response is not None and response.fingerprint == item.request.fingerprint else None

    def _keep(self, given: list[Response]) -> None:
        """Make new answers durable, before anything else is done with them."""
        if not given:
            return
        responses = self._under_way.shared(given)
        self._run.append(self.task.name, [r for r in responses if r.text is not None])
        self._cache.put(given)
        self._arrived.update({response.sample_id: response for response in responses})
        failed = sum(r.text is None for r in responses)
        self.options.progress.answered(len(responses) - failed, 0, failed)

    def _complete(self) -> Iterator[Answered]:
        """Rows from the first one that waits, up to the first without a response."""
        while self._waiting and (response := self._arrived.pop(self._waiting[0].sample.sample_id, None)):
            yield _row(self._waiting.popleft(), response)

    def _rest(self, items: Iterable[WorkItem]) -> Iterator[Answered]:
        """Rows of a run that was stopped, where nothing more will come."""
        for item in items:
            yield _row(item, self._arrived.pop(item.sample.sample_id, None))


def _row(item: WorkItem, response: Response | None) -> Answered:
    request = item.request
    if response is None:
        response = Response(request.fingerprint, request.task, request.sample_id, None, item.problem or INTERRUPTED)
    return Answered(item.sample, request.prompt, request.images, response, request.audio)
