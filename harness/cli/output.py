"""How records are printed: tables that fit 80 columns, JSON, and text that cannot steer a terminal."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from harness.compare.tables import Comparison
    from harness.records import MetricValue, RunRecord

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
PIPE_COLUMNS = 100
"""Width of tables where nobody says how wide the output is."""


def printable(text: str) -> str:
    """`text` with control characters and direction marks shown as escapes: model output must not steer a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


class PrintableFormatter(logging.Formatter):
    """Log lines, and the tracebacks below them, that cannot steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with control characters as escapes."""
        return printable(super().format(record))


def print_json(value: Any) -> None:
    """Print records or JSON types as JSON; control characters are written as JSON's own escapes, so nothing is lost."""
    from harness.fingerprint import plain

    text = json.dumps(plain(value), indent=1, ensure_ascii=False)
    print(_CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def columns_of(stream: TextIO) -> int | None:
    """How wide lines may be: `COLUMNS` where it is set, else the terminal's width; `None` for a pipe or a file."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return shutil.get_terminal_size().columns if stream.isatty() else None


def say(text: str, *, indent: str = "", error: bool = False) -> None:
    """Print sentences, safe for a terminal and broken between words where the width is known; paths stay whole."""
    stream = sys.stderr if error else sys.stdout
    width = columns_of(stream)
    for line in printable(text).splitlines() or [""]:
        if width is None or len(line) <= width:
            print(line, file=stream)
            continue
        own = line[: len(line) - len(line.lstrip())]
        print(
            textwrap.fill(
                line.strip(),
                width,
                initial_indent=own,
                subsequent_indent=own + indent,
                break_long_words=False,
                break_on_hyphens=False,
            ),
            file=stream,
        )


def console() -> Console:
    """The terminal, or plain text of 100 columns where there is none; without any styling under `NO_COLOR`."""
    from rich.console import Console

    class Plain(Console):
        """A console that leaves a closed pipe to the program; the library would exit with 1."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Plain(
        highlight=False,
        width=columns_of(sys.stdout) or PIPE_COLUMNS,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )


def print_table(title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> None:
    """Print one table; `columns` are (heading, `left` or `right`)."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(printable(title)) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading, side in columns:
        table.add_column(Text(printable(heading)), justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console().print(table)


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison: tables that fit the width where it is known, Markdown for a pipe or a file.

    The sources of cells are numbered notes at the end.
    """
    if columns_of(sys.stdout) is None:
        from harness.compare.writing import to_markdown

        print(printable(to_markdown(comparison)), end="")
        return
    notes = comparison.footnotes()
    say(comparison.title)
    for table in comparison.tables:
        rows = [
            [
                row.heading,
                *(_with_notes(cell.text.replace(" | ", "\n"), [notes[s] for s in cell.sources]) for cell in row.cells),
            ]
            for row in table.rows
        ]
        print()
        print_table(table.title, [("", "left"), *((name, "left") for name in table.columns)], rows)
        if table.note:
            say(table.note.replace("`", ""))
    if notes:
        print()
        say("Sources")
    for source, number in notes.items():
        say(f"{number}. {source}", indent="   ")


def _with_notes(text: str, numbers: Sequence[int]) -> str:
    return f"{text} [{', '.join(map(str, sorted(numbers)))}]" if numbers else text


def number(value: float | None, unit: str) -> str:
    """A value in the way its unit is printed: a rate as a percentage, bytes in MiB."""
    if value is None:
        return "–"
    if unit == "rate":
        return f"{100 * value:.1f} %"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if unit == "s":
        return f"{value:.3g} s"
    if unit == "1/s":
        return f"{value:.3g} /s"
    return f"{value:.4f}"


def estimate(value: MetricValue) -> str:
    """The estimate, or a dash; `reasons` says why."""
    return number(value.estimate, value.unit)


def reasons(values: Iterable[MetricValue]) -> list[str]:
    """One line for each metric without an estimate, to stand below its table."""
    lines = [f"{v.name}: not computed: {v.reason}" for v in values if v.estimate is None]
    return list(dict.fromkeys(lines))


def interval(value: MetricValue) -> str:
    """The interval in brackets; `no interval` where one measurement or one cluster gives none."""
    if value.estimate is None:
        return ""
    if value.low is None or value.high is None:
        return "no interval"
    return f"[{number(value.low, value.unit).removesuffix(' %')}, {number(value.high, value.unit).removesuffix(' %')}]"


def value_objects(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """The values of runs as flat JSON objects, each with its run, model, suite and task."""
    from harness.fingerprint import plain

    return [
        {"run": r.run_id, "model": r.model, "suite": r.suite, "task": task.plan.name, **plain(value)}
        for r in records
        for task in r.tasks
        for value in task.values
    ]


def scored(value: MetricValue) -> str:
    """`n_scored/n_total`."""
    return f"{value.n_scored}/{value.n_total}"
