"""What a comparison says in sentences: what differs, by how much, and what could not have been seen."""

from __future__ import annotations

from collections.abc import Iterable

from harness.compare.comparison import Comparison, Pair


def shown(value: float, unit: str, *, signed: bool = False) -> str:
    """A value as tables print it: a rate in per cent, anything else with four digits."""
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}" if unit == "rate" else f"{value:{sign}.4f}"


def probability(p: float) -> str:
    """A p-value to two digits; very small ones as a bound."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def _points(unit: str) -> str:
    return " points" if unit == "rate" else ""


def sentence(pair: Pair) -> str:
    """One pair in words, with interval and corrected p-value; or the smallest difference that would have been seen."""
    unit = _points(pair.unit)
    n = f"n = {pair.n_units}"
    if pair.difference == pair.low == pair.high == 0:
        return f"{pair.first} and {pair.second} score alike on every resampled set ({n})."
    if pair.differs:
        better = (pair.difference > 0) == pair.higher_is_better
        winner, loser = (pair.first, pair.second) if better else (pair.second, pair.first)
        ends = sorted(abs(end) if pair.low * pair.high > 0 else end for end in (pair.low, pair.high))
        flips = ""
        if pair.only_first is not None and pair.only_second is not None:
            flips = f"; only {pair.first} is right on {pair.only_first}, only {pair.second} on {pair.only_second}"
        return (
            f"{winner} is better than {loser} by {shown(abs(pair.difference), pair.unit)}{unit} (95 % interval "
            f"{shown(ends[0], pair.unit)} to {shown(ends[1], pair.unit)}, corrected p {probability(pair.p_holm)}, "
            f"{n}{flips})."
        )
    low, high = (shown(end, pair.unit, signed=True) for end in (pair.low, pair.high))
    if pair.equivalent and pair.margin is not None and pair.p_equivalent is not None:
        return (
            f"{pair.first} and {pair.second} are as good as each other within {shown(pair.margin, pair.unit)}{unit}: "
            f"{shown(pair.difference, pair.unit, signed=True)}{unit} (95 % interval {low} to {high}, p of equivalence "
            f"{probability(pair.p_equivalent)}, {n})."
        )
    return (
        f"No difference found between {pair.first} and {pair.second}: {shown(pair.difference, pair.unit, signed=True)}"
        f"{unit} (95 % interval {low} to {high}, corrected p {probability(pair.p_holm)}, {n}). A true difference of "
        f"{shown(pair.detectable, pair.unit)}{unit} would be found in 80 % of such comparisons, uncorrected."
    )


def leader(comparison: Comparison, task: str, metric: str) -> str:
    """Who is first by a metric and who cannot be told apart from it; empty where only a baseline's pairs are tested."""
    held = [
        (standing, standing.value.estimate)
        for standing in comparison.standings
        if (standing.task, standing.metric) == (task, metric) and standing.value.estimate is not None
    ]
    if not held or comparison.baseline is not None:
        return ""
    best, estimate = max(held, key=lambda item: item[1] if item[0].value.higher_is_better else -item[1])
    value, unit = best.value, best.value.unit
    percent = " %" if unit == "rate" else ""
    interval = ""
    if value.low is not None and value.high is not None:
        interval = f" [{shown(value.low, unit)}, {shown(value.high, unit)}]"
    like = [
        standing.model for standing, _ in held if standing is not best and set(standing.letters) & set(best.letters)
    ]
    others = f"not told apart from it: {', '.join(like)}" if like else "every other model differs from it"
    return f"First: {best.model}, {shown(estimate, unit)}{percent}{interval}; {others}."


def overview(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """(task and metric, sentences) for every main metric, differences first."""
    found: list[tuple[str, list[str]]] = []
    for task in dict.fromkeys(pair.task for pair in comparison.pairs if pair.main):
        pairs = [pair for pair in comparison.pairs if pair.main and pair.task == task]
        ordered = sorted(pairs, key=lambda pair: (not pair.differs, pair.p_holm, -abs(pair.difference)))
        found.append((f"{task}: {pairs[0].metric}", [sentence(pair) for pair in ordered]))
    return found


def caveats(comparison: Comparison) -> list[str]:
    """What the reader must know before believing a number; `comparison.missing` says what there is no number for."""
    lines = [f"NOT ALIKE, allowed by hand: {mismatch}" for mismatch in comparison.mismatches]
    for run in comparison.runs:
        lines += [f"{run.record.model}: {warning}" for warning in run.record.warnings]
        commit = run.record.provenance.get("commit") or {}
        if commit.get("dirty"):
            lines.append(f"{run.record.model}: run from a checkout with uncommitted changes.")
    return list(dict.fromkeys(lines))


def joined(lines: Iterable[str]) -> str:
    """Sentences as one table cell, a line each."""
    return " | ".join(lines)
