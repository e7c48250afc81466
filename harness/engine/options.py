"""How a suite is run: nothing here changes an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.engine.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a suite is run; nothing here changes an answer."""

    out: Path
    batch_size: int | None = None
    """`None` finds the size."""
    executor: str = "local"
    address: str | None = None
    """Of a cluster, for executors that have one; `None` uses this machine alone."""
    actors: int | None = None
    """Most copies of the model on a cluster; `None` for one on each device."""
    time_limit_s: float | None = None
    """Most seconds for a request, where the model has a process of its own."""
    progress: Progress = field(default_factory=Silent)
    stop: Callable[[], bool] = lambda: False
    """Asked between batches; once true, the run is sealed with what it has."""
    first_batch: int | None = None
    """The size of batches that an earlier run of the model on this machine came to."""
