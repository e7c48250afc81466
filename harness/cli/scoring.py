"""`harness score`, `rescore` and `show`: numbers from answers that are already there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.completion import datasets_named, tasks_named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.records import MetricValue, RunRecord

_VALUE_COLUMNS = [
    ("metric", "left"),
    ("subset", "left"),
    ("estimate", "right"),
    ("95 % interval", "left"),
    ("scored", "right"),
]


def _value_rows(values: Iterable[MetricValue]) -> list[list[str]]:
    from harness.cli.output import estimate, interval, scored

    return [[v.name, v.subset, estimate(v), interval(v), scored(v)] for v in values]


def score_command(
    dataset: Annotated[str, typer.Argument(help="Name of the data set.", autocompletion=datasets_named)],
    predictions: Annotated[Path, typer.Option(help="File of answers: our JSONL, COCO results, or a published form.")],
    data: Annotated[Path | None, typer.Option(help="The benchmark's folder or a folder of benchmarks.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="A COCO-form reference file.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="Force a form instead of recognising it.")] = None,
    split: Annotated[str | None, typer.Option(help="The split that the answers belong to.")] = None,
    task: Annotated[
        str | None, typer.Option(help="The task whose metrics are used.", autocompletion=tasks_named)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the values as JSON.")] = False,
) -> None:
    """Score published or foreign outputs; no model is run and no images are needed."""
    from harness.cli.output import print_json, print_table, reasons, say
    from harness.engine.predictions import score_predictions

    result = score_predictions(
        dataset, predictions, data=data, annotations=annotations, format=form, split=split, task=task
    )
    for note in result.notes:
        say(f"note: {note}", indent="  ", error=True)
    if as_json:
        print_json(result.values)
        return
    print_table(f"{predictions.name} on {dataset}", _VALUE_COLUMNS, _value_rows(result.values))
    for line in reasons(result.values):
        say(line, indent="  ")
    say(f"form {result.format}; gold answers from {result.reference_source}; sha256 {result.sha256[:16]}", indent="  ")
    for value in result.values:
        if value.subset == "all":
            say(f"  {value.signature}  ({value.method or value.reason})", indent="  ")


def rescore_command(
    run: Annotated[Path, typer.Argument(help="Folder of a sealed run.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the new record.")] = "rescored by hand",
    data: Annotated[
        Path | None, typer.Option(help="The benchmarks, for metrics over the whole reference corpus.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the new values as JSON.")] = False,
) -> None:
    """Score stored answers again; the old record stays and a new one is added."""
    from harness.cli.output import print_json, printable, value_objects
    from harness.engine.rescore import rescore

    made = rescore(run, reason=reason, data=data)
    if as_json:
        print_json(value_objects([made.record]))
    else:
        show(made.record)
        print(printable(f"new record in {made.path}"))


def show_command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or a folder of runs.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the values as JSON.")] = False,
) -> None:
    """Show the values of sealed runs with intervals and how many samples were scored."""
    from harness.cli.output import print_json, value_objects
    from harness.errors import StoreError
    from harness.store.runs import find_runs, read_run

    paths = [path for given in runs for path in find_runs(given)]
    if not paths:
        raise StoreError(f"{runs[0]}: no sealed run here; give a run folder or a folder of runs")
    records = [read_run(path).record for path in paths]
    if as_json:
        print_json(value_objects(records))
        return
    for record in records:
        show(record)


def show(record: RunRecord) -> None:
    """Print one record."""
    from harness.cli.output import estimate, interval, print_table, reasons, say, scored

    say(f"{record.model} on {record.suite} ({record.run_id})", indent="  ")
    for task in record.tasks:
        plan = task.plan
        where = "bundled data" if plan.data == "bundled" else plan.data
        print_table(
            f"{plan.name}: {task.n_answered}/{task.n_samples} answered", _VALUE_COLUMNS, _value_rows(task.values)
        )
        for line in reasons(task.values):
            say(f"  {line}", indent="  ")
        say(f"  {plan.dataset} {plan.split}, {where}; prompt {plan.prompt_name} v{plan.prompt_version}", indent="  ")
        for kind, count in task.unscored.items():
            say(f"  without an answer: {kind} x{count}")
    rows = [[v.name, estimate(v), interval(v), scored(v)] for v in record.efficiency]
    columns = [("efficiency", "left"), ("estimate", "right"), ("95 % interval", "left"), ("measured", "right")]
    print_table("", columns, rows)
    for line in reasons(record.efficiency):
        say(f"  {line}", indent="  ")
    for warning in record.warnings:
        say(f"warning: {warning}", indent="  ")
