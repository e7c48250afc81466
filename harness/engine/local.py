"""The executor of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from harness.engine.requests import WorkItem
from harness.engine.worker import ModelWorker
from harness.records import Response


class LocalExecutor:
    """Answers windows in this process. Other executors have the same `answer`."""

    def answer(
        self, worker: ModelWorker, work: Iterable[list[WorkItem]], stop: Callable[[], bool]
    ) -> Iterator[list[Response]]:
        """Responses as they come; ends early, after a whole batch, once `stop()` is true."""
        for responses in worker.answer(work):
            yield responses
            if stop():
                return
