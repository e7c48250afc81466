"""Work that leaves this process: groups of requests, what answers them there, and what follows when it is lost."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from harness.engine.batches import in_order_of_cost, shown
from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan
from harness.engine.requests import WorkItem
from harness.engine.worker import ModelWorker
from harness.records import Problem, Response

logger = logging.getLogger(__name__)
GROUP = 16
"""Requests of a group, until a worker tries larger batches."""
LOSSES = 2
"""Workers lost over a group before its requests are asked one by one, and over a request before it is given up."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a worker has done so far."""

    asked: int = 0
    busy_s: float = 0.0
    load_s: float | None = None
    memory: tuple[int, str] = (0, "process")
    next_batch: int = 0
    """The size that the worker tries next."""
    settled: int | None = None
    """The size that it has found."""


class Answerer:
    """What runs over there: the local executor, a group at a time."""

    def __init__(self, plan: ModelPlan, batch_size: int | None, first_batch: int | None) -> None:
        self._plan = plan
        self._worker = ModelWorker(plan, RunOptions(Path(), batch_size, first_batch=first_batch))
        self._position: int | None = None

    def ready(self) -> None:
        """Return once the worker lives."""

    def load(self, position: int) -> None:
        """Load the model, and read the examples of the task at `position` of the plan where it does."""
        self._start(position)
        self._worker.ready()

    def _start(self, position: int) -> None:
        if position != self._position:
            self._worker.start_task(*self._plan.tasks[position])
            self._position = position

    def answer(self, position: int, items: list[WorkItem]) -> tuple[list[Response], Totals]:
        """Responses to all items, of the task at `position` of the plan."""
        self._start(position)
        given = [response for some in self._worker.answer([items], lambda: False) for response in some]
        worker = self._worker
        sizes = worker.next_batch, worker.batch_size
        return given, Totals(worker.asked, worker.busy_s, worker.load_s, worker.peak_memory(), *sizes)


@dataclass(slots=True)
class Group:
    """Requests that leave together, and how many workers were lost while they were answered."""

    items: list[WorkItem]
    losses: int = 0


def group_size(options: RunOptions, workers: Iterable[Totals]) -> int:
    """Requests of a group: a batch of the size that is given, or else was found before or is tried next."""
    if options.batch_size is not None:
        return options.batch_size
    return max(options.first_batch or GROUP, *(totals.next_batch for totals in workers), 0)


def groups(work: Iterable[Sequence[WorkItem]], size: Callable[[], int]) -> Iterator[Group]:
    """Windows cut where the image changes, into `size()` requests or fewer, but all of an image; empty ones stay."""
    for window in work:
        group = Group([])
        for _, together in groupby(in_order_of_cost(window), shown):
            items = list(together)
            if group.items and len(group.items) + len(items) > size():
                yield _sharing_bytes(group)
                group = Group([])
            group.items += items
        yield _sharing_bytes(group)


def _sharing_bytes(group: Group) -> Group:
    """The group with one copy of each image's bytes, which is then sent once."""
    known: dict[str, bytes] = {}
    items = []
    for item in group.items:
        pairs = zip(item.request.images, item.images, strict=True) if item.images else ()
        items.append(replace(item, images=tuple(known.setdefault(name, data) for name, data in pairs)))
    return Group(items)


def after_a_loss(group: Group, again: deque[Group], kind: str, reason: str) -> list[Response]:
    """Put a lost group where it is asked again; a request that took several workers with it alone is given up."""
    losses = group.losses + 1
    if losses < LOSSES:
        again.append(Group(group.items, losses))
        return []
    if len(group.items) > 1:
        again.extend(Group([item], LOSSES - 1) for item in group.items)
        return []
    request = group.items[0].request
    problem = Problem(kind, f"{LOSSES} workers were lost over this request ({reason})")
    logger.warning("%s: sample %s: %s", request.task, request.sample_id, problem.message)
    return [Response(request.fingerprint, request.task, request.sample_id, None, problem)]
