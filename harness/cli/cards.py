"""`harness cards`: check what people wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Check model cards.", no_args_is_help=True)


@app.command("check")
def check(
    cards: Annotated[
        list[str] | None, typer.Argument(help="Card names or YAML files; all cards when left out.")
    ] = None,
    folders: Annotated[list[Path] | None, typer.Option("--cards", help="A further folder of model cards.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Validate cards; every fault names file, line, field and what to write instead. Exit 1 if there is one."""
    from harness.cards.checking import check_cards
    from harness.cli.output import print_json, printable

    reports = check_cards(cards or [], tuple(folders or ()))
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            for fault in report.faults:
                print(printable(fault))
        broken = sum(bool(report.faults) for report in reports)
        print(f"{len(reports)} cards checked, {broken} with faults")
    raise typer.Exit(1 if any(report.faults for report in reports) else 0)


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of a model card, for editors."""
    from harness.cards.schema import json_schema

    print(json_schema(), end="")
