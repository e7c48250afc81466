"""`harness run`: a suite on models, with progress, time left, and a table at the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.completion import models_named, suites_named

if TYPE_CHECKING:
    from harness.engine.run import Outcome
    from harness.records import MetricValue

_LINE_EVERY_S = 10.0


def run_command(
    suite: Annotated[str, typer.Option(help="Name or YAML file of a suite.", autocompletion=suites_named)],
    models: Annotated[
        str,
        typer.Option(help="Card names, YAML files or family:card, separated by commas.", autocompletion=models_named),
    ],
    data: Annotated[Path | None, typer.Option(help="A benchmark's folder or a folder of benchmarks.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N questions of each task.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Only N questions of each task, drawn by --seed.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of --sample.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    batch_size: Annotated[str, typer.Option(help="auto or a number.")] = "auto",
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
    cards: Annotated[list[Path] | None, typer.Option(help="A further folder of model cards.")] = None,
    executor: Annotated[str, typer.Option(help="local, or ray for the devices of a cluster.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; this machine alone without it.")] = None,
    actors: Annotated[int | None, typer.Option(min=1, help="Most copies of the model on a cluster.")] = None,
    isolate: Annotated[bool, typer.Option("--isolate", help="Run each model in a process of its own.")] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(min=0.001, help="Most seconds for a request; later it is unanswered. With --isolate."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and ask nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the values as JSON.")] = False,
) -> None:
    """Run a suite on models; killed at any moment, the same command goes on where it stopped."""
    from harness.cli.output import print_json, value_objects
    from harness.engine.run import run_suite
    from harness.tasks.schema import Subset

    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise typer.BadParameter("give at least one model", param_hint="--models")
    if limit is not None and sample is not None:
        raise typer.BadParameter("give --limit or --sample, not both", param_hint="--sample")
    if isolate and executor != "local":
        raise typer.BadParameter(f"belongs to --executor local, not {executor}", param_hint="--isolate")
    if time_limit is not None and not isolate:
        raise typer.BadParameter("needs --isolate: only a process can be stopped", param_hint="--time-limit")
    size = _batch_size(batch_size)
    subset = None
    if limit is not None:
        subset = Subset(first=limit)
    elif sample is not None:
        subset = Subset(sample=sample, seed=seed)
    if dry_run:
        _print_plan(suite, names, data, subset, tuple(cards or ()), device, as_json)
        return
    with stopping() as stop:
        outcome = run_suite(
            suite,
            names,
            data=data,
            out=out,
            subset=subset,
            cards=tuple(cards or ()),
            device=device,
            batch_size=size,
            executor="process" if isolate else executor,
            address=address,
            actors=actors,
            time_limit_s=time_limit,
            progress=Lines(),
            stop=lambda: bool(stop),
        )
    if as_json:
        print_json(value_objects(run.record for run in outcome.runs))
    else:
        _print_outcome(outcome)
    raise typer.Exit(2 if outcome.failures or outcome.interrupted else 0)


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither auto nor a number of at least 1", param_hint="--batch-size")
    return int(text)


@contextmanager
def stopping() -> Iterator[list[int]]:
    """A list that is filled by the first Ctrl-C; the second one ends the program at once."""
    asked: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("stopping after this batch; once more to stop at once", file=sys.stderr)

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class Lines:
    """Progress on standard error: one line that is rewritten on a terminal, one every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._model = self._task = ""
        self._total = self._asked = self._known = self._failed = 0
        self._start = self._shown = 0.0

    def model(self, name: str, position: int, total: int) -> None:
        """Remember the model."""
        self._model = f"{name} ({position}/{total})"

    def task(self, name: str, total: int) -> None:
        """Start counting."""
        self._end_line()
        self._task, self._total = name, total
        self._asked = self._known = self._failed = 0
        self._start = time.monotonic()
        self._shown = 0.0 if self._live else self._start
        self._show()

    def answered(self, asked: int, known: int, failed: int) -> None:
        """Count, and show now and then."""
        self._asked += asked
        self._known += known
        self._failed += failed
        done = self._asked + self._known + self._failed >= self._total
        if done or time.monotonic() - self._shown >= (0.2 if self._live else _LINE_EVERY_S):
            self._show()

    def note(self, text: str) -> None:
        """Show what is being done after the answers."""
        if self._live:
            self._write(f"{self._model} {self._task}: {text}")

    def _show(self) -> None:
        self._shown = time.monotonic()
        done = self._asked + self._known + self._failed
        left = ""
        if self._asked and done < self._total:
            seconds = (self._shown - self._start) / self._asked * (self._total - done)
            left = f", {_duration(seconds)} left"
        failed = f", {self._failed} failed" if self._failed else ""
        known = f", {self._known} known before" if self._known else ""
        self._write(f"{self._model} {self._task}: {done}/{self._total} answered{known}{failed}{left}")

    def _write(self, text: str) -> None:
        from harness.cli.output import columns_of, printable

        text = printable(text)
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{text[: (columns_of(sys.stderr) or 80) - 1]}")
            sys.stderr.flush()
        else:
            print(text, file=sys.stderr)

    def _end_line(self) -> None:
        if self._live and self._task:
            sys.stderr.write("\n")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _print_outcome(outcome: Outcome) -> None:
    from harness.cli.output import estimate, interval, print_table, printable, reasons, say, scored

    if sys.stderr.isatty():
        print(file=sys.stderr)
    tasks: dict[str, dict[str, list[tuple[str, MetricValue]]]] = {}
    for run in outcome.runs:
        for task in run.record.tasks:
            for value in task.values:
                if value.subset == "all":
                    block = tasks.setdefault(task.plan.name, {})
                    block.setdefault(value.name, []).append((run.record.model, value))
    columns = [
        ("metric", "left"),
        ("model", "left"),
        ("estimate", "right"),
        ("95 % interval", "left"),
        ("scored", "right"),
    ]
    for name, metrics in tasks.items():
        rows: list[list[str]] = []
        for metric, entries in metrics.items():
            for position, (model, value) in enumerate(_best_first(entries)):
                rows.append([metric if position == 0 else "", model, estimate(value), interval(value), scored(value)])
        print_table(name, columns, rows)
        for line in reasons(value for entries in metrics.values() for _, value in entries):
            say(line, indent="  ")
    for run in outcome.runs:
        for warning in run.record.warnings:
            say(f"warning: {run.record.model}: {warning}", indent="  ")
    for model, reason in outcome.failures:
        say(f"failed: {model}: {reason}", indent="  ")
    for run in outcome.runs:
        print(printable(f"results: {run.path}"))
    if outcome.interrupted:
        print("interrupted: unanswered samples are unscored; the same command asks them")


def _best_first(entries: list[tuple[str, MetricValue]]) -> list[tuple[str, MetricValue]]:
    def rank(entry: tuple[str, MetricValue]) -> tuple[bool, float]:
        value = entry[1]
        if value.estimate is None:
            return (True, 0.0)
        return (False, -value.estimate if value.higher_is_better else value.estimate)

    return sorted(entries, key=rank)


def _print_plan(
    suite: str,
    names: list[str],
    data: Path | None,
    subset: object,
    cards: tuple[Path, ...],
    device: str,
    as_json: bool,
) -> None:
    from harness.cli.output import print_json, say
    from harness.engine.dry_run import describe_run
    from harness.tasks.schema import Subset

    chosen = subset if isinstance(subset, Subset) else None
    reports = describe_run(suite, names, data=data, subset=chosen, cards=cards, device=device)
    if as_json:
        print_json(reports)
        return
    for report in reports:
        size = f"{report.weights_bytes / 2**20:.0f} MiB of weights" if report.weights_bytes else "no weights on disk"
        say(f"{report.model}: {report.problem or size}", indent="  ")
        for task in report.tasks:
            faults = ", ".join(f"{kind} x{count}" for kind, count in task.problems.items()) or "no faults"
            say(f"  {task.task}: {task.n_samples} samples, {task.n_images} images, {faults}", indent="  ")
            say(f"    generation: {task.generation}", indent="  ")
            say(f"    first prompt: {task.first_prompt!r}", indent="  ")
