"""What answers a model's requests: in this process (`local`), or on other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Protocol

from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan, OpenTask
from harness.engine.requests import WorkItem
from harness.records import Response, TaskPlan


class Executor(Protocol):
    """One model at work on the tasks of a suite, one task after the other."""

    isolates: ClassVar[bool]
    """Whether the model has a process of its own here, which can be stopped and may be of another environment."""

    @property
    def asked(self) -> int:
        """Requests given to the model so far."""

    @property
    def load_s(self) -> float | None:
        """Seconds that loading took, once the model is loaded."""

    @property
    def busy_s(self) -> float:
        """Seconds spent in the model."""

    @property
    def batch_size(self) -> int | None:
        """The size that was found for batches; `None` while it is sought, and where it is not kept."""

    @property
    def next_batch(self) -> int:
        """The most requests that go together next, where there are as many."""

    def __init__(self, plan: ModelPlan, options: RunOptions) -> None:
        """Nothing is loaded before the first request."""

    def start_task(self, opened: OpenTask, task: TaskPlan) -> None:
        """From here on the items are of `task`."""

    def answer(self, work: Iterable[Sequence[WorkItem]], stop: Callable[[], bool]) -> Iterator[list[Response]]:
        """The responses of all items as they come, in any order.

        Args:
            work: windows of items, taken one after the other as they are needed. A window without items gives an empty
                list, after the answers to all windows before it: the caller writes what is complete.
            stop: asked after each list; once true, nothing more is asked and the stream ends.

        Raises:
            ModelError: the model cannot be loaded; nothing was asked.
        """

    def peak_memory(self) -> tuple[int, str]:
        """Highest memory in bytes, and of what: `device` or `process`."""

    def close(self) -> None:
        """Free the model."""
