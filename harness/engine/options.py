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
    progress: Progress = field(default_factory=Silent)
    stop: Callable[[], bool] = lambda: False
    """Asked between batches; once true, the run is sealed with what it has."""
