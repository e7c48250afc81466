"""What a run of tonight is held against: its cells, the nights since the baseline, and what may not be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.compare.align import align
from harness.nightly.cells import Cell, metric_of, night_of, night_row, read_cell, score_frame, task_of, unlike
from harness.store.runs import Run


@dataclass(frozen=True, slots=True)
class Series:
    """The nights of one cell that can stand beside each other, tonight last."""

    runs: tuple[Run, ...]
    values: np.ndarray
    """(nights, clusters)"""


def since_baseline(baseline: Run | None, earlier: Sequence[Run]) -> tuple[Run, ...]:
    """The nights from the accepted one on, oldest first; all of them without a baseline.

    Nights before an accepted change would alarm for ever; `harness history` still shows them.
    """
    if baseline is None:
        return tuple(earlier)
    ids = [night.record.run_id for night in earlier]
    if baseline.record.run_id in ids:
        return tuple(earlier[ids.index(baseline.record.run_id) :])
    return (baseline, *(night for night in earlier if night_of(night) > night_of(baseline)))


def tonights_cells(run: Run) -> dict[str, Cell]:
    """The tasks of a run whose main metric has a value over two clusters or more."""
    frame = score_frame(run)
    cells = {result.plan.name: read_cell(frame, result) for result in run.record.tasks}
    return {name: cell for name, cell in cells.items() if cell is not None and len(set(cell.clusters)) > 1}


def series_of(run: Run, cells: dict[str, Cell], earlier: Sequence[Run]) -> dict[str, Series]:
    """Each cell with those earlier nights that asked and scored the same; a night's scores are read once."""
    rows: dict[str, list[tuple[Run, np.ndarray]]] = {name: [] for name in cells}
    for night in earlier:
        alike = [
            (name, then)
            for name in cells
            if (then := task_of(night, name)) is not None
            and (now := task_of(run, name)) is not None
            and not unlike(then, now)
        ]
        if not alike:
            continue
        frame = score_frame(night)
        for name, then in alike:
            cell = read_cell(frame, then)
            if cell is not None:
                rows[name].append((night, night_row(cell, cells[name], metric_of(cell.value))))
    for name, cell in cells.items():
        rows[name].append((run, night_row(cell, cell, metric_of(cell.value))))
    return {name: Series(tuple(r for r, _ in held), np.array([v for _, v in held])) for name, held in rows.items()}


def refusals(baseline: Run, run: Run) -> dict[str, str]:
    """Task → why it cannot be compared with the baseline, in the words of the comparison.

    Another metric signature is no reason: the baseline's answers are then scored again.
    """
    mine, theirs = ({task.plan.name for task in one.record.tasks} for one in (run, baseline))
    refused = dict.fromkeys(mine - theirs, "is not in the accepted baseline; accept a run that has it")
    found: dict[str, list[str]] = {}
    if mine & theirs:
        for mismatch in align([_asked(baseline), _asked(run)], allow=True).mismatches:
            found.setdefault(mismatch.task, []).append(str(mismatch))
    for name, lines in found.items():
        refused[name] = "; ".join(lines) + "; run it as the baseline was run, or accept a new baseline"
    return refused


def _asked(run: Run) -> Run:
    """The run without its values: only what was asked, and how, is held side by side."""
    tasks = tuple(replace(task, values=()) for task in run.record.tasks)
    return replace(run, record=replace(run.record, tasks=tasks))
