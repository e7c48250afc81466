"""What a training tells about itself while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from harness.training.state import Point


class Progress(Protocol):
    """Receives the training's events; the command line shows them."""

    def begin(self, name: str, steps: int, done: int) -> None:
        """The training begins or goes on after `done` of `steps` steps."""

    def step(self, done: int, loss: float) -> None:
        """So many steps are done; the loss of the last."""

    def validated(self, point: Point) -> None:
        """A validation."""

    def end(self, card: Path) -> None:
        """The card is written."""


class Silent:
    """Tells nobody."""

    def begin(self, name: str, steps: int, done: int) -> None:
        """Nothing."""

    def step(self, done: int, loss: float) -> None:
        """Nothing."""

    def validated(self, point: Point) -> None:
        """Nothing."""

    def end(self, card: Path) -> None:
        """Nothing."""
