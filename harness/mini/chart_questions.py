"""Questions about charts in the two ways of ChartQA: composed ones as people ask, and plain look-ups.

Answers follow ChartQA's labels: a number, a word of the chart, or Yes/No. A question is asked only where its answer is
the only one (no ties). Yes and No are equally likely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.mini.charts import Plan
from harness.mini.streams import Dice

Subset = Literal["human", "augmented"]


@dataclass(frozen=True, slots=True)
class ChartQuestion:
    """One question with its answer."""

    query: str
    label: str
    subset: Subset


def ask(dice: Dice, chart: Plan, subset: Subset) -> ChartQuestion:
    """A random question of the subset about a chart."""
    while True:
        found = dice.pick(_ASKERS[subset])(dice, chart)
        if found is not None:
            return ChartQuestion(found[0], found[1], subset)


Found = tuple[str, str] | None


def _sum(dice: Dice, chart: Plan) -> Found:
    i, j = dice.sample(range(len(chart.values)), 2)
    return f"What is the sum of {chart.labels[i]} and {chart.labels[j]}?", str(chart.values[i] + chart.values[j])


def _difference(dice: Dice, chart: Plan) -> Found:
    i, j = dice.sample(range(len(chart.values)), 2)
    if chart.values[i] == chart.values[j]:
        return None
    query = f"What is the difference between {chart.labels[i]} and {chart.labels[j]}?"
    return query, str(abs(chart.values[i] - chart.values[j]))


def _extreme(dice: Dice, chart: Plan) -> Found:
    word, value = dice.pick((("highest", max(chart.values)), ("lowest", min(chart.values))))
    if chart.values.count(value) > 1:
        return None
    return f"Which item has the {word} value?", chart.labels[chart.values.index(value)]


def _count(_dice: Dice, chart: Plan) -> Found:
    return "How many items are shown in the chart?", str(len(chart.values))


def _count_above(dice: Dice, chart: Plan) -> Found:
    limit = dice.pick((30, 50) if chart.kind == "pie" else (chart.maximum // 4, chart.maximum // 2))
    return f"How many items have a value greater than {limit}?", str(sum(v > limit for v in chart.values))


def _greater(dice: Dice, chart: Plan) -> Found:
    i, j = dice.sample(range(len(chart.values)), 2)
    if chart.values[i] == chart.values[j]:
        return None
    query = f"Is the value of {chart.labels[i]} greater than the value of {chart.labels[j]}?"
    return query, "Yes" if chart.values[i] > chart.values[j] else "No"


def _total_of_ends(_dice: Dice, chart: Plan) -> Found:
    query = "What is the sum of the highest and the lowest value?"
    return query, str(max(chart.values) + min(chart.values))


def _of_colour(dice: Dice, chart: Plan) -> Found:
    if len(set(chart.colours)) < 2:
        return None
    i = dice.below(len(chart.values))
    noun = "slice" if chart.kind == "pie" else "bar"
    return f"What is the value of the {chart.colours[i]} {noun}?", str(chart.values[i])


def _value(dice: Dice, chart: Plan) -> Found:
    i = dice.below(len(chart.values))
    return f"What is the value of {chart.labels[i]}?", str(chart.values[i])


def _label(dice: Dice, chart: Plan) -> Found:
    i = dice.below(len(chart.values))
    if chart.values.count(chart.values[i]) > 1:
        return None
    return f"Which item has a value of {chart.values[i]}?", chart.labels[i]


def _title(_dice: Dice, chart: Plan) -> Found:
    return "What is the title of the chart?", chart.title


_ASKERS: dict[Subset, tuple[Callable[[Dice, Plan], Found], ...]] = {
    "human": (_sum, _difference, _extreme, _extreme, _count, _count_above, _greater, _total_of_ends, _of_colour),
    "augmented": (_value, _value, _value, _label, _label, _title),
}
