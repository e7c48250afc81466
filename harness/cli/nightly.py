"""`harness nightly`, `harness baseline` and `harness history`: the gate, what it compares with, and what has been."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.completion import cards_named, suites_named, tasks_named

baseline = typer.Typer(help="Runs that are accepted as what a model should do.", no_args_is_help=True)
_Folder = Annotated[Path, typer.Option("--baselines", help="Folder of accepted baselines.")]
_DEFAULT_FOLDER = Path("results/baselines")


def nightly_command(
    config: Annotated[Path, typer.Argument(help="YAML file of the gate.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Run the suites and hold every model against its baseline and its nights: 0 nothing, 1 findings, 2 a failure."""
    from harness.cli.output import print_json, printable
    from harness.cli.running import Lines, stopping
    from harness.fingerprint import plain
    from harness.nightly.config import load_config
    from harness.nightly.gate import run_night
    from harness.nightly.writing import summary, write_night

    loaded = load_config(config)
    with stopping() as stop:
        night = run_night(loaded, progress=Lines(), stop=lambda: bool(stop))
    place = write_night(night, loaded.reports)
    if as_json:
        print_json({**plain(night), "exit_code": night.exit_code, "report": str(place)})
    else:
        print(printable(summary(night)))
        print(printable(f"findings: {place}"))
    raise typer.Exit(night.exit_code)


@baseline.command("accept")
def accept_command(
    run: Annotated[Path, typer.Argument(help="A sealed run folder.")],
    reason: Annotated[str, typer.Option(help="Why, kept in the file.")] = "",
    baselines: Annotated[
        Path | None, typer.Option(help="Folder of accepted baselines; left out, `baselines` beside the run.")
    ] = None,
    who: Annotated[str, typer.Option(help="Who accepts; left out, the user's name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the baseline as JSON.")] = False,
) -> None:
    """Take a run as its model's baseline; nothing is copied, and earlier acceptances stay in the file."""
    import getpass

    from harness.cli.output import print_json, say
    from harness.nightly.baselines import accept, baseline_file

    folder = baselines if baselines is not None else run.resolve().parent / "baselines"
    accepted = accept(folder, run, who=who or getpass.getuser(), why=reason)
    if as_json:
        print_json(accepted)
        return
    current = accepted.current
    file = baseline_file(folder, accepted.suite, accepted.model)
    say(f"{accepted.model} on {accepted.suite}: {current.run} is the baseline ({file})", indent="  ")
    if len(accepted.accepted) > 1:
        say(f"before: {accepted.accepted[-2].run}, accepted {accepted.accepted[-2].when}", indent="  ")


@baseline.command("list")
def list_command(
    baselines: _Folder = _DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the current baseline of every model and suite."""
    from harness.cli.output import print_json, print_table
    from harness.nightly.baselines import list_baselines

    found = list_baselines(baselines)
    if as_json:
        print_json(found)
        return
    columns = [(name, "left") for name in ("suite", "model", "run", "accepted", "by", "reason")]
    rows = [
        (item.suite, item.model, item.current.run, item.current.when, item.current.who, item.current.why)
        for item in found
    ]
    print_table("", columns, rows)


@baseline.command("show")
def show_command(
    suite: Annotated[str, typer.Argument(help="Name of the suite.", autocompletion=suites_named)],
    model: Annotated[str, typer.Argument(help="Name of the model.", autocompletion=cards_named)],
    baselines: _Folder = _DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show every acceptance of one model on one suite, oldest first, and whether the current run is still there."""
    from harness.cli.output import print_json, print_table, printable
    from harness.nightly.baselines import baseline_file, current_run, read_baseline

    held = read_baseline(baseline_file(baselines, suite, model))
    if as_json:
        print_json(held)
    else:
        columns = [(name, "left") for name in ("run", "accepted", "by", "reason", "folder")]
        print_table(
            f"{held.model} on {held.suite}",
            columns,
            [(one.run, one.when, one.who, one.why, one.path) for one in held.accepted],
        )
    current = current_run(baselines, suite, model)
    if current is not None and not as_json:
        print(printable(f"current: {current[1].path}"))


def history_command(
    out: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("results"),
    suite: Annotated[str | None, typer.Option(help="Only this suite.", autocompletion=suites_named)] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.", autocompletion=cards_named)] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.", autocompletion=tasks_named)] = None,
    figure: Annotated[Path | None, typer.Option(help="SVG file to draw the nights into.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every night as JSON.")] = False,
) -> None:
    """Show each model's nights on each task: how many, first and last value, trend."""
    from harness.cli.output import number, print_json, print_table, printable
    from harness.nightly.history import figure as drawn
    from harness.nightly.history import history

    lines = history(out, suite=suite, model=model, task=task)
    if figure is not None:
        figure.parent.mkdir(parents=True, exist_ok=True)
        figure.write_text(drawn(lines), encoding="utf-8")
    if as_json:
        print_json([{"trend": line.trend, "line": line} for line in lines])
        return
    columns = [("model", "left"), ("nights", "right"), ("first", "right"), ("last", "right")]
    columns += [("trend per night", "right"), ("last night", "left")]
    panels: dict[str, list[list[str]]] = {}
    for line in lines:
        points, unit = line.points, line.unit
        trend = "–" if line.trend is None else f"{100 * line.trend:+.2f}" if unit == "rate" else f"{line.trend:+.4f}"
        ends = [number(points[0].value, unit), number(points[-1].value, unit)]
        model = line.model + (" *" if line.definitions > 1 else "")
        title = f"{line.task} ({line.suite}): {line.metric}"
        panels.setdefault(title, []).append([model, str(len(points)), *ends, trend, points[-1].night[:10]])
    for title, rows in panels.items():
        print_table(title, columns, rows)
    if any(line.definitions > 1 for line in lines):
        print("* the metric's definition changed between nights")
    if figure is not None:
        print(printable(f"figure: {figure}"))
