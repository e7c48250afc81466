"""What is there to run: models, data sets, metrics, tasks, suites, each with its state. One broken entry hides none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from harness import registry
from harness.cards.loading import IN_DATA, LoadedCard, card_files, load_card
from harness.errors import HarnessError
from harness.tasks.loading import load_suite, load_task, suite_files, task_files

Row = dict[str, Any]


def _guarded(name: str, owner: str, describe: Callable[[], Row]) -> Row:
    try:
        return {"name": name, **describe(), "state": "ready", "why": "", "owner": owner}
    except HarnessError as error:
        return {"name": name, "state": "broken", "why": str(error), "owner": owner}


def _filled(rows: list[Row]) -> list[Row]:
    """Rows with the same columns in the same order; `state`, `why` (of a state other than ready) and `owner` last."""
    last = ("state", "why", "owner")
    order = [*dict.fromkeys(c for row in rows for c in row if c not in last), *last]
    return [{column: row.get(column, "") for column in order} for row in rows]


def models(cards: Iterable[Path] = ()) -> list[Row]:
    """Every card: family, checkpoint, and whether it can be run here."""
    rows: list[Row] = []
    for name, paths in sorted(card_files(cards).items()):
        for path in paths:
            try:
                row = _model(load_card(path, cards=tuple(cards)))
            except HarnessError as error:
                row = {"state": "broken", "why": str(error)}
            if len(paths) > 1:
                row |= {"state": "claimed twice", "why": f"{len(paths)} files have this name; give a path"}
            rows.append({"name": name, **row, "owner": str(path)})
    return _filled(rows)


def _model(loaded: LoadedCard) -> Row:
    run = loaded.card.run
    if run is None:
        state = "prediction files only" if loaded.card.takes_part == "prediction-files" else "description only"
        return {"family": "", "checkpoint": "", "state": state, "why": loaded.card.why_no_run}
    state, why = _state(loaded)
    where = run.checkpoint or run.options.get("path", "")
    return {"family": run.family, "checkpoint": where, "state": state, "why": why}


def _state(loaded: LoadedCard) -> tuple[str, str]:
    settings = loaded.settings()
    family = registry.load("models", settings.family)
    missing = [name for name in family.requires if importlib.util.find_spec(name) is None]
    if missing:
        return f"needs extra {family.extra}", f'pip install "vlm-harness[{family.extra}]" brings {", ".join(missing)}'
    files = [value for value in settings.options.values() if isinstance(value, str) and value.startswith(IN_DATA)]
    if files:
        return "needs --data", f"reads {', '.join(f.removeprefix(IN_DATA) for f in files)} in the benchmarks' folder"
    try:
        family.identify(settings)
    except HarnessError as error:
        return "weights not here", str(error)
    return "runs here", ""


def datasets() -> list[Row]:
    """Every registered data set."""
    return _filled([_registered("datasets", name) for name in registry.names("datasets")])


def metrics() -> list[Row]:
    """Every registered metric with the signature of its default variant."""
    return _filled([_registered("metrics", name) for name in registry.names("metrics")])


def _registered(kind: str, name: str) -> Row:
    def describe() -> Row:
        found = registry.load(kind, name)
        if kind == "datasets":
            return {"description": (found.__doc__ or "").strip().splitlines()[0]}
        info = found("").info
        return {
            "signature": info.signature,
            "unit": info.unit,
            "better": "higher" if info.higher_is_better else "lower",
        }

    try:
        owner = registry.entry(kind, name).owner
    except HarnessError as error:
        return {"name": name, "state": "broken", "why": str(error), "owner": ""}
    return _guarded(name, owner, describe)


def tasks() -> list[Row]:
    """Every task with its question type, data set and metrics."""

    def describe(name: str) -> Row:
        spec = load_task(name).task
        return {"kind": spec.kind, "dataset": spec.dataset, "split": spec.split, "metrics": ", ".join(spec.metrics)}

    found = sorted(task_files().items())
    return _filled([_guarded(name, str(paths[0]), partial(describe, name)) for name, paths in found])


def suites() -> list[Row]:
    """Every suite with its tasks and where its data comes from."""

    def describe(name: str) -> Row:
        loaded = load_suite(name)
        return {"data": loaded.suite.data, "tasks": ", ".join(t.task.name for t in loaded.tasks)}

    found = sorted(suite_files().items())
    return _filled([_guarded(name, str(paths[0]), partial(describe, name)) for name, paths in found])
