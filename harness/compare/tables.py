"""A table whose every cell says where it comes from: the form that all writers print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of a table."""

    text: str
    sources: tuple[str, ...] = ()
    """Where it stands, or why it is not known; printed as footnotes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a heading and a cell for each model."""

    heading: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Models side by side."""

    title: str
    columns: tuple[str, ...]
    """Names of the cards."""
    rows: tuple[Row, ...]
    note: str = ""
    """How to read it; one paragraph."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All tables of one comparison."""

    title: str
    tables: tuple[Table, ...]

    def footnotes(self) -> dict[str, int]:
        """Source → its number, in the order of first use over all tables."""
        return {text: number for number, text in enumerate(_in_order(self.tables), start=1)}


def _in_order(tables: Iterable[Table]) -> list[str]:
    cells = (cell for table in tables for row in table.rows for cell in row.cells)
    return list(dict.fromkeys(source for cell in cells for source in cell.sources))
