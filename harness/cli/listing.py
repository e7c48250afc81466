"""`harness list`: what there is, and whether it can be used here."""

from __future__ import annotations

from enum import StrEnum
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


def list_command(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    cards: Annotated[list[Path] | None, typer.Option(help="A further folder of model cards.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List models, data sets, metrics, tasks or suites; a broken plugin is listed with its error."""
    from harness.cli.output import print_json, print_table, say
    from harness.engine import catalogue

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
