"""`harness list`: what there is, and whether it can be used here."""

from __future__ import annotations

from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    metrics = "metrics"
    tasks = "tasks"
    suites = "suites"
    runs = "runs"


def list_command(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    cards: Annotated[list[Path] | None, typer.Option(help="A further folder of model cards.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of runs, for `runs`.")] = Path("results"),
    last: Annotated[int, typer.Option(min=0, help="How many of the latest runs to print; 0 for all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List models, data sets, metrics, tasks, suites or sealed runs; a broken plugin is listed with its error."""
    from harness.cli.output import print_json, print_table, say
    from harness.engine import catalogue

    if kind is Kind.runs:
        _list_runs(out, last, as_json)
        return
    rows: list[dict[str, Any]] = {
        Kind.models: lambda: catalogue.models(tuple(cards or ())),
        Kind.datasets: catalogue.datasets,
        Kind.metrics: catalogue.metrics,
        Kind.tasks: catalogue.tasks,
        Kind.suites: catalogue.suites,
    }[kind]()
    if as_json:
        print_json(rows)
    elif rows:
        columns = [column for column in rows[0] if column not in ("why", "owner")]
        print_table("", [(name, "left") for name in columns], [[str(row[c]) for c in columns] for row in rows])
        for row in rows:
            if row["why"]:
                why = row["why"].removeprefix(f"{row['name']}: ")
                say(f"{row['name']}: {why}", indent="  ")


def _list_runs(out: Path, last: int, as_json: bool) -> None:
    from harness.cli.output import number, print_json, print_table, say
    from harness.errors import StoreError
    from harness.store.index import results

    if not out.is_dir():
        raise StoreError(f"{out}: no folder of runs here; give one with --out")
    found = results(out, lambda done, total: say(f"reading new records: {done:,} of {total:,}", error=True))
    runs = list(dict.fromkeys(row.run for row in found))
    shown = set(runs[-last:] if last else runs)
    rows = [row for row in found if row.run in shown]
    if as_json:
        print_json(rows)
        return
    columns = [
        ("task", "left"),
        ("metric", "left"),
        ("value", "right"),
        ("95 % interval", "left"),
        ("answered", "right"),
    ]
    for run, results_of in groupby(rows, lambda row: row.run):
        cells = []
        for row in results_of:
            low, high = (number(end, row.unit).removesuffix(" %") for end in (row.low, row.high))
            bounds = "" if row.low is None else f"[{low}, {high}]"
            answered = f"{row.n_answered}/{row.n_samples}"
            cells.append([row.task, row.metric, number(row.estimate, row.unit), bounds, answered])
        print_table(f"{run} · {row.started[:16].replace('T', ' ')}", columns, cells)
    shown_of = f"the last {len(shown):,} of {len(runs):,} runs" if len(shown) < len(runs) else f"{len(runs):,} runs"
    say(f"{out}: {shown_of}{'; --last 0 shows all' if len(shown) < len(runs) else ''}")
