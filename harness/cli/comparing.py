"""`harness compare`: sealed runs beside each other, with paired statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare_command(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders, or a folder of runs.")],
    baseline: Annotated[Path | None, typer.Option(help="Test only pairs with this run.")] = None,
    allow: Annotated[bool, typer.Option("--allow", help="Compare unlike runs, in marked columns.")] = False,
    margin: Annotated[
        float | None, typer.Option(help="Largest difference that does not matter (0.02: two points of a rate).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; without it the tables are printed.")] = None,
    formats: Annotated[str, typer.Option("--format", help="What to write: md,csv,tex,html,json.")] = "md,csv,tex,html",
    as_json: Annotated[bool, typer.Option("--json", help="Print the pairs and standings as JSON.")] = False,
) -> None:
    """Compare sealed runs sample by sample; unlike runs are refused, and the refusal says what differs.

    Into a pipe or a file the tables are printed as Markdown.
    """
    from harness.cli.output import print_comparison, print_json, printable
    from harness.compare.comparison import compare
    from harness.compare.run_tables import run_tables
    from harness.compare.writing import write_comparison
    from harness.store.files import write_json
    from harness.store.runs import find_runs, read_run

    paths = list(dict.fromkeys(path for given in runs for path in find_runs(given)))
    base = read_run(baseline) if baseline is not None else None
    compared = compare([read_run(path) for path in paths], baseline=base, allow=allow, margin=margin)
    content = {"standings": compared.standings, "pairs": compared.pairs, "missing": compared.missing}
    if out is not None:
        wanted = [name for name in formats.split(",") if name]
        written = write_comparison(run_tables(compared), out, [name for name in wanted if name != "json"])
        if "json" in wanted:
            from harness.codec import encode

            write_json(out / "comparison.json", encode(content))
            written.append(out / "comparison.json")
        if not as_json:
            for path in written:
                print(printable(str(path)))
    if as_json:
        print_json(content)
    elif out is None:
        print_comparison(run_tables(compared))


def attribute_command(
    pipeline: Annotated[Path, typer.Argument(help="Run of a card of family pipeline.")],
    gold: Annotated[Path, typer.Argument(help="Run of its reasoner, or of it with table: given, on the true tables.")],
    task: Annotated[str, typer.Option(help="The pipeline's task.")] = "chartqa",
    gold_task: Annotated[str, typer.Option(help="The task with true tables.")] = "chartqa-gold-table",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary and every sample as JSON.")] = False,
) -> None:
    """Put the errors of a two-stage chart model down to reading the table or to reasoning on it."""
    from harness.cli.output import number, print_json, print_table, say
    from harness.engine.two_stage import attribute_errors
    from harness.store.runs import read_run

    found = attribute_errors(read_run(pipeline), read_run(gold), task=task, gold_task=gold_task)
    summary = found.summary.reset_index()
    summary = summary.astype(object).where(summary.notna(), None)
    rows = summary.to_dict("records")
    if as_json:
        samples = found.samples.astype(object).where(found.samples.notna(), None)
        print_json({"signature": found.signature, "summary": rows, "samples": samples.to_dict("records")})
        return
    columns = [
        ("outcome", "left"),
        ("count", "right"),
        ("share", "right"),
        ("95 % interval", "left"),
        ("table F1", "right"),
    ]
    lines = []
    for row in rows:
        ends = [number(row[end], "rate") for end in ("low", "high")] if row["low"] is not None else []
        interval = f"[{', '.join(ends)}]" if ends else ""
        share, f1 = number(row["share"], "rate"), number(row["mean_table_f1"], "rate")
        lines.append([str(row["outcome"]), str(row["count"]), share, interval, f1])
    print_table(f"{task}: reading or reasoning", columns, lines)
    first = rows[0]
    say(f"{first['n_scored']}/{first['n_total']} samples scored in both runs; {found.signature}")


def drops_command(
    runs: Annotated[list[Path], typer.Argument(help="Runs of a suite with perturbed tasks, such as `robustness`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what each perturbation costs a model, against the unchanged task of the same run."""
    from harness.cli.output import print_json, print_table
    from harness.compare.drops import drops
    from harness.compare.words import probability, shown
    from harness.store.runs import find_runs, read_run

    found = {path: drops(read_run(path)) for given in runs for path in find_runs(given)}
    if as_json:
        print_json([drop for group in found.values() for drop in group])
        return
    columns = [
        ("task", "left"),
        ("change", "left"),
        ("unchanged", "right"),
        ("perturbed", "right"),
        ("difference", "right"),
        ("95 % interval", "left"),
        ("p (Holm)", "right"),
        ("n", "right"),
    ]
    for group in found.values():
        rows = [
            [
                drop.variant_of,
                drop.change,
                shown(drop.unchanged, drop.unit),
                shown(drop.perturbed, drop.unit),
                shown(drop.difference, drop.unit, signed=True),
                f"[{shown(drop.low, drop.unit, signed=True)}, {shown(drop.high, drop.unit, signed=True)}]",
                probability(drop.p_holm).removeprefix("= "),
                str(drop.n_units),
            ]
            for drop in group
        ]
        print_table(f"{group[0].model}: rates in points" if group else "nothing scored in both", columns, rows)
