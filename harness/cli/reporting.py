"""`harness report`: sealed runs as a folder of pages that opens from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report_command(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders, or a folder of runs.")],
    out: Annotated[Path, typer.Option(help="Folder to write; a report that is there is replaced.")],
    baseline: Annotated[Path | None, typer.Option(help="Test only pairs with this run.")] = None,
    allow: Annotated[bool, typer.Option("--allow", help="Show unlike runs all the same, marked.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of the benchmarks, to show their images.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print where the report lies as JSON.")] = False,
) -> None:
    """Write a report: findings in words, figures, sortable tables, and every sample with every answer."""
    from harness.cli.output import print_json, printable
    from harness.report.build import build_report
    from harness.store.runs import find_runs, read_run

    paths = list(dict.fromkeys(path for given in runs for path in find_runs(given)))
    base = read_run(baseline) if baseline is not None else None
    page = build_report([read_run(path) for path in paths], out, baseline=base, allow=allow, data=data)
    if as_json:
        print_json({"report": str(page)})
    else:
        print(printable(str(page)))
