"""`harness data`: check a benchmark's files, make the mini benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.completion import datasets_named

app = typer.Typer(help="Check benchmark files, make the mini benchmarks.", no_args_is_help=True)


@app.command("check")
def check(
    dataset: Annotated[
        str,
        typer.Argument(help="Name of the data set, as `harness list datasets` shows.", autocompletion=datasets_named),
    ],
    data: Annotated[Path | None, typer.Option(help="The benchmark's folder or a folder of benchmarks.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count samples, images, duplicates and faults of a benchmark on disk. Exit 1 if something is wrong with it."""
    from harness.cli.output import print_json, print_table, say
    from harness.datasets.check import check_dataset
    from harness.datasets.opening import open_dataset

    reports = check_dataset(open_dataset(dataset, data), split=split)
    if as_json:
        print_json(reports)
    else:
        columns = [
            ("split", "left"),
            ("samples", "right"),
            ("images", "right"),
            ("recordings", "right"),
            ("faults", "right"),
            ("checksum", "left"),
        ]
        rows = [
            [
                r.split,
                str(r.n_samples),
                str(r.n_images),
                str(r.n_audio),
                str(sum(p.count for p in r.problems)),
                r.checksum[:16],
            ]
            for r in reports
        ]
        print_table(dataset, columns, rows)
        for report in reports:
            for problem in report.problems:
                say(f"{report.split}: {problem.kind} x{problem.count}: {'; '.join(problem.examples)}", indent="  ")
    raise typer.Exit(1 if any(report.problems for report in reports) else 0)


@app.command("make-mini")
def make_mini(
    out: Annotated[Path, typer.Argument(help="Folder to write into.")],
    seed: Annotated[int, typer.Option(help="Seed of everything drawn.")] = 2026,
    n: Annotated[int, typer.Option("--n", min=4, help="Images for each benchmark.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw the mini benchmarks anew, in the official layouts; equal versions give equal bytes."""
    from harness.cli.output import print_json, printable
    from harness.mini.write import write_mini

    report = write_mini(out, seed=seed, n=n)
    if as_json:
        print_json(report)
    else:
        print(printable(f"mini benchmarks written to {out}"))
