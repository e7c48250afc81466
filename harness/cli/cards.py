"""`harness cards`: check what people wrote."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.completion import cards_named

if TYPE_CHECKING:
    from harness.engine.card_check import CardCheck

app = typer.Typer(help="Check model cards.", no_args_is_help=True)


@app.command("check")
def check(
    cards: Annotated[
        list[str] | None,
        typer.Argument(help="Card names or YAML files; all cards when left out.", autocompletion=cards_named),
    ] = None,
    folders: Annotated[list[Path] | None, typer.Option("--cards", help="A further folder of model cards.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Validate cards and compare their claims with the network that is built. Exit 1 if something is wrong.

    Every fault names file, field and what to write instead.
    """
    from harness.cli.output import print_json, say
    from harness.engine.card_check import check_cards

    reports = check_cards(cards or [], tuple(folders or ()))
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            for fault in report.faults:
                say(fault, indent="  ")
        for line in _summary(reports):
            say(line, indent="  ")
    raise typer.Exit(1 if any(report.faults for report in reports) else 0)


def _summary(reports: list[CardCheck]) -> list[str]:
    """Counts, and why networks were not built; the reason is spelt out for a single card."""
    broken = sum(bool(report.faults) for report in reports)
    lines = [f"{len(reports)} cards checked, {broken} with faults"]
    built = [report for report in reports if report.checked]
    if built:
        claims = sum(len(report.checked) for report in built)
        lines.append(f"architecture: {claims} claims of {len(built)} cards compared with the network that is built")
    reasons = Counter(report.not_done for report in reports if report.not_done)
    lines += [f"architecture: not done for {count}: {why}" for why, count in sorted(reasons.items())]
    return lines


@app.command("schema")
def schema(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as without it.")] = False,
) -> None:
    """Print the JSON schema of a model card, for editors."""
    from harness.cards.schema import json_schema

    print(json_schema(), end="")


def compare_command(
    cards: Annotated[
        list[str], typer.Argument(help="Two or more card names or YAML files.", autocompletion=cards_named)
    ],
    folders: Annotated[list[Path] | None, typer.Option("--cards", help="A further folder of model cards.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder of sealed runs, for measured universality.")] = None,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Limit overlap and scores to this benchmark; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; without it the tables are printed.")] = None,
    formats: Annotated[str, typer.Option("--format", help="What to write: md,csv,tex,html.")] = "md,csv,tex,html",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare what cards say: architecture, tasks, training data, domain, universality; each cell with its source.

    Into a pipe or a file the tables are printed as Markdown.
    """
    from harness.cli.output import print_comparison, print_json, printable
    from harness.compare.cards import compare_cards
    from harness.compare.writing import write_comparison

    comparison = compare_cards(cards, folders=tuple(folders or ()), runs=runs, only=tuple(benchmark or ()))
    written = write_comparison(comparison, out, [f for f in formats.split(",") if f]) if out is not None else []
    if as_json:
        print_json(comparison)
    elif written:
        for path in written:
            print(printable(str(path)))
    else:
        print_comparison(comparison)
