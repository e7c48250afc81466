"""Cards checked one by one, all faults of all cards collected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cards.loading import card_files, load_card
from harness.errors import HarnessError


@dataclass(frozen=True, slots=True)
class CardReport:
    """One card and what is wrong with it."""

    card: str
    faults: tuple[str, ...]
    """Each with file, line, field and a remedy; empty for a sound card."""


def check_cards(names: Sequence[str | Path], folders: Iterable[Path] = ()) -> list[CardReport]:
    """A report for each named card, or for all that the search path holds."""
    extra = tuple(folders)
    wanted: list[str | Path] = list(names)
    if not wanted:
        for paths in (paths for _, paths in sorted(card_files(extra).items())):
            wanted += paths
    return [CardReport(str(name), _faults(name, extra)) for name in wanted]


def _faults(name: str | Path, folders: tuple[Path, ...]) -> tuple[str, ...]:
    try:
        load_card(name, cards=folders)
    except HarnessError as error:
        return tuple(str(error).splitlines())
    return ()
