"""`harness compare`: sealed runs beside each other, with paired statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare_command(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders, or a folder of runs.")],
    baseline: Annotated[Path | None, typer.Option(help="Test only pairs with this run.")] = None,
    allow: Annotated[bool, typer.Option("--allow", help="Compare unlike runs, in marked columns.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; without it Markdown is printed.")] = None,
    formats: Annotated[str, typer.Option("--format", help="What to write: md,csv,tex,html,json.")] = "md,csv,tex,html",
    as_json: Annotated[bool, typer.Option("--json", help="Print the pairs and standings as JSON.")] = False,
) -> None:
    """Compare sealed runs sample by sample; unlike runs are refused, and the refusal says what differs."""
    from harness.cli.output import print_json, printable
    from harness.compare.comparison import compare
    from harness.compare.run_tables import run_tables
    from harness.compare.writing import to_markdown, write_comparison
    from harness.store.files import write_json
    from harness.store.runs import find_runs, read_run

    paths = list(dict.fromkeys(path for given in runs for path in find_runs(given)))
    base = read_run(baseline) if baseline is not None else None
    compared = compare([read_run(path) for path in paths], baseline=base, allow=allow)
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
        print(printable(to_markdown(run_tables(compared))), end="")
