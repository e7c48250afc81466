"""What a run tells about itself while it goes on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the run's events; the command line shows them, a notebook may."""

    def model(self, name: str, position: int, total: int) -> None:
        """A model's turn begins."""

    def task(self, name: str, total: int) -> None:
        """A task begins; `total` samples are to be answered."""

    def answered(self, asked: int, known: int, failed: int) -> None:
        """So many more samples were answered by the model, known from before, or failed."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Silent:
    """Tells nobody."""

    def model(self, name: str, position: int, total: int) -> None:
        """Nothing."""

    def task(self, name: str, total: int) -> None:
        """Nothing."""

    def answered(self, asked: int, known: int, failed: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
