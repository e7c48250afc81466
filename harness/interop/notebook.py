"""Runs and comparisons as tables in Jupyter: `%load_ext harness`, then name one in a cell.

Everything that a card, a suite or a run says is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from harness.compare.comparison import Comparison, Pair
from harness.compare.words import probability, shown
from harness.interop.measurements import Measurement, measurements
from harness.records import MetricValue
from harness.store.runs import Run

_HEAD = ("model", "task", "metric", "value", "interval", "n", "signature")


def run_html(run: Run) -> str:
    """The values of a run over all samples: value, interval, counts, signature; below, where they come from."""
    record = run.record
    rows = [(m.record.model, m.place, *_cells(m)) for m in measurements(record, subsets=False)]
    commit = (record.provenance.get("commit") or {}).get("id") or "not known"
    origin = (
        f"run {record.run_id}; weights {record.identity.weights}; vlm-harness {record.harness_version}, commit {commit}"
    )
    sets = "; ".join(f"{task.plan.name}: samples sha256:{task.sample_set[:16]}" for task in record.tasks)
    notes = [origin, sets, *(f"warning: {line}" for line in (*record.identity.warnings, *record.warnings))]
    return _table(f"{record.model} on {record.suite}", _HEAD, rows, notes)


def _cells(measurement: Measurement) -> tuple[str, ...]:
    value = measurement.value
    return measurement.name, _value(value), _interval(value), f"{value.n_scored}/{value.n_total}", value.signature


def _value(value: MetricValue) -> str:
    if value.estimate is None:
        return f"not computed: {value.reason}"
    suffix = {"rate": " %", "score": ""}.get(value.unit, f" {value.unit}")
    return f"{shown(value.estimate, value.unit)}{suffix}"


def _interval(value: MetricValue) -> str:
    if value.estimate is None:
        return ""
    if value.low is None or value.high is None:
        return "no interval"
    return f"[{shown(value.low, value.unit)}, {shown(value.high, value.unit)}]"


def comparison_html(comparison: Comparison) -> str:
    """Standings with letters and ranks, and the paired differences of main metrics."""
    standings = [
        (
            s.model,
            s.task,
            s.metric,
            f"{_value(s.value)} {s.letters}",
            _interval(s.value),
            f"{s.value.n_scored}/{s.value.n_total}",
            s.signature,
        )
        for s in comparison.standings
    ]
    marks = list(dict.fromkeys(mark for s in comparison.standings for mark in s.marks))
    notes = [
        "Models that share a letter cannot be told apart.",
        *(f"not alike: {mark}" for mark in marks),
        *comparison.missing,
    ]
    head = ("task", "metric", "pair", "difference", "interval", "p (Holm)", "n", "signature")
    pairs = [_pair(pair) for pair in comparison.pairs if pair.main]
    tables = [_table("Standings", _HEAD, standings, notes)]
    if pairs:
        tables.append(
            _table("Paired differences, main metrics", head, pairs, [f"interval: {comparison.pairs[0].method}"])
        )
    return "".join(tables)


def _pair(pair: Pair) -> tuple[str, ...]:
    return (
        pair.task,
        pair.metric,
        f"{pair.first} − {pair.second}",
        shown(pair.difference, pair.unit, signed=True),
        f"[{shown(pair.low, pair.unit, signed=True)}, {shown(pair.high, pair.unit, signed=True)}]",
        probability(pair.p_holm).removeprefix("= "),
        str(pair.n_units),
        pair.signature,
    )


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str]) -> str:
    titles = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in head)
    lines = "\n".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes if note)
    return (
        f"<table><caption>{html.escape(caption)}</caption>\n<thead><tr>{titles}</tr></thead>\n"
        f"<tbody>\n{lines}\n</tbody></table>\n{below}\n"
    )


def load_ipython_extension(shell: Any) -> None:
    """Show runs and comparisons as tables from now on."""
    formatter = shell.display_formatter.formatters["text/html"]
    formatter.for_type(Run, run_html)
    formatter.for_type(Comparison, comparison_html)


def unload_ipython_extension(shell: Any) -> None:
    """Show them as plain text again."""
    formatter = shell.display_formatter.formatters["text/html"]
    for shown_type in (Run, Comparison):
        formatter.pop(shown_type, None)
