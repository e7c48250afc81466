"""How many requests go together, and which."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from harness.engine.requests import WorkItem

logger = logging.getLogger(__name__)
T = TypeVar("T")
_START, _LARGEST, _CLEAR, _TRIES = 8, 256, 0.05, 3
_LATE = 32
"""A size is tried after size² / 32 samples: one that turns out to be slow then costs little of what was asked."""
_STEM_WORDS, _MOST_STEMS = 2, 10_000
_CALM = 16
"""Full batches after which a size that did not fit is tried again; twice as many after each failure."""


class BatchSize:
    """A given size, or one that grows while it pays; halved when memory runs out, and tried again later."""

    def __init__(self, size: int | None, start: int | None = None) -> None:
        """`None` finds the size: from 8 it doubles until samples per second fall by 5 %, up to 256.

        Of three batches the fastest says whether they fall: others were slowed down by what else the machine did. A
        size that is as fast as its half is preferred, as it costs less outside of the model.

        Args:
            size: of every batch.
            start: what `None` came to before; it is kept, and nothing is sought.
        """
        self._sought = size is None
        self._grows = self._sought and start is None
        self.now = size or start or _START
        self._best = self._here = 0.0
        self._samples = self._tries = 0
        self._too_large: int | None = None
        self._calm = self._failures = 0

    @property
    def settled(self) -> int | None:
        """The size that was found; `None` while it is sought, and where it is given."""
        return self.now if self._sought and not self._grows else None

    def new_task(self) -> None:
        """Forget rates: those of another task's answers say nothing about a size."""
        self._best = self._here = 0.0
        self._tries = 0

    def took(self, samples: int, seconds: float) -> None:
        """Learn from a batch that is more than half full: it may have been cut where the image changes."""
        if 2 * samples <= self.now or seconds <= 0:
            return
        if self._grows:
            self._samples += samples
            self._compare(samples / seconds)
        elif self._too_large is not None:
            self._calm += 1
            if self._calm >= _CALM * 2 ** (self._failures - 1):
                self._calm, self.now = 0, min(2 * self.now, self._too_large)
                self._too_large = None if self.now == self._too_large else self._too_large

    def _compare(self, rate: float) -> None:
        if self._tries < _TRIES:
            self._here, self._tries = max(self._here, rate), self._tries + 1
        if self._tries < _TRIES and self._here < self._best * (1 + _CLEAR):
            return
        if self._here < self._best * (1 - _CLEAR):
            self._grows, self.now = False, self.now // 2
        elif self.now >= _LARGEST:
            self._grows = False
        elif self._samples >= (2 * self.now) ** 2 / _LATE:
            self._best, self._here, self._tries = max(self._best, self._here), 0.0, 0
            self.now *= 2

    def ran_out(self, samples: int) -> None:
        """A batch of `samples` did not fit."""
        self._grows, self._calm = False, 0
        self._failures += 1
        self._too_large = max(samples, self._too_large or 0)
        self.now = min(self.now, max(1, samples // 2))
        logger.warning("a batch of %d does not fit in memory; going on with %d", samples, self.now)


class OutputLengths:
    """How many tokens answers have had so far, by the first words of the question."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], tuple[int, int]] = {}
        self._all = (0, 0)

    def learn(self, item: WorkItem, output_tokens: int | None) -> None:
        """Take in an answer; one whose tokens are not counted teaches nothing."""
        if output_tokens is None:
            return
        self._all = (self._all[0] + 1, self._all[1] + output_tokens)
        stem = _stem(item)
        if stem in self._seen or len(self._seen) < _MOST_STEMS:
            count, total = self._seen.get(stem, (0, 0))
            self._seen[stem] = (count + 1, total + output_tokens)

    def steps(self, item: WorkItem) -> int:
        """Bits of the number of tokens that an answer is expected to have; of all answers where its kind is new."""
        count, total = self._seen.get(_stem(item), self._all)
        return round(total / count).bit_length() if count else 0


def _stem(item: WorkItem) -> tuple[str, ...]:
    return tuple(item.sample.question.lower().split()[:_STEM_WORDS])


def in_order_of_cost(items: Sequence[WorkItem], steps: Callable[[WorkItem], int] = lambda _: 0) -> list[WorkItem]:
    """Longest recordings, answers (by `steps`) and prompts first, with the questions of one image together."""
    longest: dict[tuple[str, ...], tuple[int, int]] = {}
    for item in items:
        images, cost = item.request.images, (steps(item), len(item.request.prompt))
        longest[images] = max(longest.get(images, (0, 0)), cost)
    return sorted(
        items,
        key=lambda i: (
            -sum(map(len, i.audio)),
            *(-part for part in longest[i.request.images]),
            i.request.images,
            -steps(i),
            -len(i.request.prompt),
            i.sample.sample_id,
        ),
    )


def shown(item: WorkItem) -> object:
    """What has to be equal for two requests to share their images; without images they share nothing."""
    return item.request.images or item.sample.sample_id


def batches(
    items: Sequence[T],
    size: Callable[[], int],
    bucket: Callable[[T], int] | None,
    image: Callable[[T], object] | None = None,
) -> Iterator[list[T]]:
    """`items` in lists of at most `size()` (asked anew each time), each from one bucket, in order within it.

    A list ends where `image` changes, as long as it stays more than half full: no image is then read for two lists.
    """
    buckets: dict[int, list[T]] = {}
    for item in items:
        buckets.setdefault(bucket(item) if bucket else 0, []).append(item)
    for content in buckets.values():
        start = 0
        while start < len(content):
            most = max(1, size())
            stop = start + most
            if image is not None and stop < len(content):
                stop = _image_change(content, start + most // 2 + 1, stop, image)
            yield content[start:stop]
            start = stop


def _image_change(content: Sequence[T], least: int, most: int, image: Callable[[T], object]) -> int:
    """The last place in least..most where the image is another than before it; `most` where there is none."""
    changes = (place for place in range(most, least - 1, -1) if image(content[place]) != image(content[place - 1]))
    return next(changes, most)
