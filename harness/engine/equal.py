"""Equal requests are asked once: while one is under way, further samples with the same request wait for its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.engine.requests import WorkItem
from harness.records import Response


class UnderWay:
    """The requests that a model is asked now, by fingerprint."""

    def __init__(self) -> None:
        self._items: dict[str, list[WorkItem]] = {}

    def first(self, item: WorkItem) -> bool:
        """Whether the item has to be asked; otherwise it waits for an equal one."""
        if item.problem is not None:
            return True
        same = self._items.setdefault(item.request.fingerprint, [])
        same.append(item)
        return len(same) == 1

    def shared(self, given: Sequence[Response]) -> list[Response]:
        """The responses, and copies of them for the items that waited."""
        return [*given, *(copy for response in given for copy in self._copies(response))]

    def _copies(self, response: Response) -> list[Response]:
        same = self._items.get(response.fingerprint, [])
        if not same or same[0].sample.sample_id != response.sample_id:
            return []
        del self._items[response.fingerprint]
        known = response.text is not None
        return [replace(response, sample_id=item.sample.sample_id, cached=known) for item in same[1:]]
