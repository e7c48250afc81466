"""The two pages of a report as HTML; every text goes through the templates' escaping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.compare.comparison import Comparison
from harness.compare.run_tables import run_tables
from harness.compare.tables import Table
from harness.compare.words import caveats, leader, sentence
from harness.report.figures import Figure
from harness.report.samples import Browsed
from harness.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
"""Nothing but files beside the page; no inline script, handler or style, no request to anywhere."""
_SHOWN = 6
"""Differences of one task that are read at once; the others are folded."""
_LONG = 70
"""Rows above which a table is folded: 7 tasks of 10 models stay open."""


def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("harness.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def index_page(comparison: Comparison, figures: Sequence[Figure], browsed: Browsed) -> str:
    """The overview in words, the figures and all tables."""
    tables = run_tables(comparison)
    main = [pair for pair in comparison.pairs if pair.main]
    return _template("index.html").render(
        policy=POLICY,
        version=__version__,
        title=tables.title,
        suite=comparison.runs[0].record.suite,
        baseline=comparison.baseline,
        browsed=browsed,
        found=sum(pair.differs for pair in main),
        total=len(main),
        verdicts=_verdicts(comparison),
        shown=_SHOWN,
        caveats=caveats(comparison),
        missing=comparison.missing,
        figures=figures,
        tables=[_table(number, table) for number, table in enumerate(tables.tables) if table.columns != ("in words",)],
        notes=tables.footnotes(),
    )


def samples_page(comparison: Comparison, browsed: Browsed) -> str:
    """The frame of the sample browser; its scripts fill it."""
    return _template("samples.html").render(
        policy=POLICY, version=__version__, suite=comparison.runs[0].record.suite, browsed=browsed
    )


def _verdicts(comparison: Comparison) -> list[dict[str, Any]]:
    """Per task: heading, sentences of pairs that differ, sentences of pairs that do not."""
    verdicts = []
    for task in dict.fromkeys(pair.task for pair in comparison.pairs if pair.main):
        pairs = sorted(
            (pair for pair in comparison.pairs if pair.main and pair.task == task),
            key=lambda pair: (pair.p_holm, -abs(pair.difference)),
        )
        verdicts.append(
            {
                "task": task,
                "leader": leader(comparison, task, pairs[0].metric),
                "metric": pairs[0].metric,
                "differ": [sentence(pair) for pair in pairs if pair.differs],
                "alike": [sentence(pair) for pair in pairs if not pair.differs],
            }
        )
    return verdicts


def _table(number: int, table: Table) -> dict[str, Any]:
    rows = [
        {"heading": row.heading, "cells": [(cell.text.split(" | "), cell.sources) for cell in row.cells]}
        for row in table.rows
    ]
    return {
        "id": f"table-{number}",
        "title": table.title,
        "columns": table.columns,
        "rows": rows,
        "note": table.note,
        "folded": len(rows) > _LONG,
    }
