"""Findings in sentences."""

from __future__ import annotations

from harness.compare.words import probability, shown
from harness.nightly.cells import Cell, night_of
from harness.nightly.judge import HistoryTest, PairedTest
from harness.store.runs import Run


def moved_sentence(
    cell: Cell,
    paired: PairedTest | None,
    history: HistoryTest | None,
    *,
    moved: float,
    by_baseline: bool,
    p_corrected: float,
    since: Run | None,
    tonight: Run,
) -> str:
    """What moved, by how much and since when, without model and task."""
    unit = cell.value.unit
    points = " points" if unit == "rate" else ""
    better = (moved > 0) == cell.value.higher_is_better
    if since is None:
        when = "since a night that the changed scorer hides"
    else:
        night = "tonight" if since is tonight else f"the night of {night_of(since)} ({since.record.run_id})"
        when = f"since {night}"
    text = f"{cell.metric_name} is {'better' if better else 'worse'} by {shown(abs(moved), unit)}{points}"
    against = ""
    if by_baseline and paired is not None:
        ends = f"{shown(paired.low, unit, signed=True)} to {shown(paired.high, unit, signed=True)}"
        text += " than the baseline"
        against = f"{shown(paired.before, unit)} → {shown(paired.after, unit)}, 95 % {ends}"
    elif history is not None:
        nights = "tonight" if history.window == 1 else f"the last {history.window} nights"
        against = f"{nights} against the {history.nights - history.window} before"
    return f"{text} ({against}, corrected p {probability(p_corrected)}), {when}."


def scorer_sentence(before: float | None, after: float, unit: str, *, same_signature: bool) -> str:
    """How another scorer reads the baseline's stored answers."""
    how = "under the same signature: raise the metric's version" if same_signature else "the definition changed"
    was = "nothing" if before is None else shown(before, unit)
    return (
        f"the scorer gives the baseline's stored answers another value ({was} → {shown(after, unit)}; {how}). "
        "Changes of the model are judged without this effect; accept a new baseline."
    )
