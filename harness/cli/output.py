"""How records are printed: tables that fit 80 columns, JSON, and text that cannot steer a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from harness.records import MetricValue, RunRecord

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with control characters and direction marks shown as escapes: model output must not steer a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def print_json(value: Any) -> None:
    """Print records or JSON types as JSON."""
    from harness.fingerprint import plain

    json.dump(plain(value), sys.stdout, indent=1, ensure_ascii=False)
    print()


def console(*, error: bool = False) -> Console:
    """The terminal, or plain text of 100 columns where there is none."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, highlight=False, width=None if stream.isatty() else 100)


def print_table(title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> None:
    """Print one table; `columns` are (heading, `left` or `right`)."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, side in columns:
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console().print(table)


def metric_name(value: MetricValue) -> str:
    """`metric@variant`, as tables print it."""
    return f"{value.metric}@{value.variant}" if value.variant else value.metric


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
    lines = [f"{metric_name(v)}: not computed: {v.reason}" for v in values if v.estimate is None]
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
