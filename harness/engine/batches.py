"""How many requests go together, and which."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from harness.engine.requests import WorkItem

logger = logging.getLogger(__name__)
T = TypeVar("T")
_START, _LARGEST, _GAIN = 4, 64, 1.1


class BatchSize:
    """A given size, or one that grows while it pays; halved for good when memory runs out."""

    def __init__(self, size: int | None) -> None:
        """`None` finds the size: from 4 it doubles as long as samples per second rise by a tenth, up to 64."""
        self._grows = size is None
        self.now = _START if size is None else size
        self._limit = _LARGEST if size is None else size
        self._best = 0.0

    def took(self, samples: int, seconds: float) -> None:
        """Learn from a full batch."""
        if not self._grows or samples < self.now or seconds <= 0:
            return
        rate = samples / seconds
        if rate < self._best * _GAIN:
            self._grows = False
            return
        self._best = rate
        self.now = min(self.now * 2, self._limit)

    def ran_out(self, samples: int) -> None:
        """A batch of `samples` did not fit."""
        self._grows = False
        self._limit = max(1, samples // 2)
        self.now = min(self.now, self._limit)
        logger.warning("a batch of %d does not fit in memory; going on with %d", samples, self.now)


def in_order_of_cost(items: Sequence[WorkItem]) -> list[WorkItem]:
    """Longest recordings and prompts first, with the questions of one image together."""
    longest: dict[tuple[str, ...], int] = {}
    for item in items:
        images = item.request.images
        longest[images] = max(longest.get(images, 0), len(item.request.prompt))
    return sorted(
        items,
        key=lambda i: (
            -sum(map(len, i.audio)),
            -longest[i.request.images],
            i.request.images,
            -len(i.request.prompt),
            i.sample.sample_id,
        ),
    )


def batches(items: Sequence[T], size: Callable[[], int], bucket: Callable[[T], int] | None) -> Iterator[list[T]]:
    """`items` in lists of at most `size()` (asked anew each time), each from one bucket, in order within it."""
    buckets: dict[int, list[T]] = {}
    for item in items:
        buckets.setdefault(bucket(item) if bucket else 0, []).append(item)
    for content in buckets.values():
        start = 0
        while start < len(content):
            stop = start + max(1, size())
            yield content[start:stop]
            start = stop
