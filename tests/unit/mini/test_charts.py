"""Charts agree with measurements on their pixels; questions with answers worked out from the table alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from harness.mini import chart_questions, charts
from harness.mini.streams import Dice, stream

N = 600


@pytest.fixture(scope="module")
def drawn() -> list[charts.Chart]:
    rng = stream(11, "charts", "validation")
    return [charts.draw(rng) for _ in range(N)]


def of_kind(drawn: list[charts.Chart], kind: str) -> Iterator[tuple[np.ndarray, charts.Plan]]:
    return ((c.image, c.plan) for c in drawn if c.plan.kind == kind)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of each stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def is_colour(image: np.ndarray, name: str) -> np.ndarray:
    return (image == np.array(charts.COLOURS[name], np.uint8)).all(axis=-1)


@pytest.mark.parametrize(("kind", "along"), [("bar", 1), ("hbar", 0)])
def test_lengths_of_bars_are_the_values_in_table_order(drawn, kind, along):
    for image, plan in of_kind(drawn, kind):
        filled = np.any([is_colour(image, c) for c in set(plan.colours)], axis=0)
        # Bars in order of place; each line of pixels across the bars belongs to one of them.
        stretches = runs(filled.any(axis=1 - along))
        assert len(stretches) == len(plan.values)
        unit = (86 if kind == "bar" else 78) / plan.maximum
        for (start, end), value, colour in zip(stretches, plan.values, plan.colours, strict=True):
            strip = filled[:, start:end] if along == 1 else filled[start:end]
            assert strip.any(axis=along).sum() == pytest.approx(value * unit, abs=1.0)
            middle = (start + end) // 2
            line = is_colour(image, colour)[:, middle] if along == 1 else is_colour(image, colour)[middle]
            assert line.any()


def test_markers_of_a_line_stand_at_the_values(drawn):
    for image, plan in of_kind(drawn, "line"):
        strong = is_colour(image, plan.colours[0])
        left, bottom = 16 + plan.shift[0], 112 + plan.shift[1]
        pitch = (126 - left) / len(plan.values)
        for i, value in enumerate(plan.values):
            column, row = int(left + pitch * (i + 0.5)), bottom - value * 86 / plan.maximum
            assert strong[round(row) - 1 : round(row) + 2, column - 1 : column + 2].mean() > 0.6


def test_slices_cover_their_share_of_the_disc_clockwise(drawn):
    for image, plan in of_kind(drawn, "pie"):
        top, left = 30 + plan.shift[1], 3 + plan.shift[0]
        middle = charts.PIE_RADIUS_PX + 1
        start = 0
        for value, colour in zip(plan.values, plan.colours, strict=True):
            for tenth in range(start, start + value, 10):
                angle = 2 * np.pi * (tenth + 5) / 100
                x, y = left + middle + 34 * np.sin(angle), top + middle - 34 * np.cos(angle)
                assert is_colour(image, colour)[int(y), int(x)]
            start += value
        assert start == 100


def test_legend_has_the_order_of_the_table(drawn):
    for image, plan in of_kind(drawn, "pie"):
        column = image[:, 89 + plan.shift[0]]
        order = [
            next(name for name, value in charts.COLOURS.items() if (column[(a + b) // 2] == value).all())
            for a, b in runs((column != np.array(plan.ground)).any(axis=-1))
            if a > 20  # below the title
        ]
        assert order == list(plan.colours)


def test_words_keep_clear_of_the_border_and_of_each_other():
    # Drawing refuses ink outside the picture, so every combination of extremes must be drawable.
    rng = stream(12, "charts", "validation")
    for _ in range(400):
        plan = charts.plan(Dice(rng), counts=(4,))
        image = charts.render(plan)
        assert (image[0] == np.array(plan.ground)).all()
    widest = max(charts._mask(word, 10).width for word in charts.LABELS)
    assert widest <= (126 - 18) / 4  # place of one of four categories
    assert widest <= 128 - 98  # room beside a legend's swatch
    assert widest <= 29  # room left of a horizontal axis


def test_labels_are_different_words_and_pies_sum_to_100(drawn):
    for chart in drawn:
        assert len(set(chart.plan.labels)) == len(chart.plan.labels) == len(chart.plan.values)
        if chart.plan.kind == "pie":
            assert sum(chart.plan.values) == 100
            assert len(set(chart.plan.colours)) == len(chart.plan.colours)
        else:
            assert all(1 <= v <= chart.plan.maximum for v in chart.plan.values)


def test_half_of_the_charts_print_their_values(drawn):
    assert 0.4 < np.mean([c.plan.printed for c in drawn]) < 0.6


def test_table_rows_are_header_then_labels_with_values():
    plan = charts.plan(Dice(stream(1, "charts", "train")))
    rows = charts.table(plan)
    assert rows[0] == ("Entity", plan.title)
    assert rows[1:] == [(a, str(b)) for a, b in zip(plan.labels, plan.values, strict=True)]


def answer_from_table(query: str, title: str, rows: dict[str, int], colours: dict[str, str] | None) -> str:
    """The only answer to a question, worked out from the table (and the colours of its rows, where told)."""
    values = list(rows.values())
    if match := re.fullmatch(r"What is the sum of (\w+) and (\w+)\?", query):
        return str(rows[match[1]] + rows[match[2]])
    if match := re.fullmatch(r"What is the difference between (\w+) and (\w+)\?", query):
        return str(abs(rows[match[1]] - rows[match[2]]))
    if match := re.fullmatch(r"Which item has the (highest|lowest) value\?", query):
        best = max(values) if match[1] == "highest" else min(values)
        return only(label for label, value in rows.items() if value == best)
    if query == "How many items are shown in the chart?":
        return str(len(rows))
    if match := re.fullmatch(r"How many items have a value greater than (\d+)\?", query):
        return str(len([v for v in values if v > int(match[1])]))
    if match := re.fullmatch(r"Is the value of (\w+) greater than the value of (\w+)\?", query):
        assert rows[match[1]] != rows[match[2]]
        return "Yes" if rows[match[1]] > rows[match[2]] else "No"
    if query == "What is the sum of the highest and the lowest value?":
        ordered = sorted(values)
        return str(ordered[0] + ordered[-1])
    if match := re.fullmatch(r"What is the value of the (\w+) (?:bar|slice)\?", query):
        return "" if colours is None else str(rows[only(k for k, c in colours.items() if c == match[1])])
    if match := re.fullmatch(r"What is the value of (\w+)\?", query):
        return str(rows[match[1]])
    if match := re.fullmatch(r"Which item has a value of (\d+)\?", query):
        return only(label for label, value in rows.items() if value == int(match[1]))
    if query == "What is the title of the chart?":
        return title
    raise AssertionError(f"no rule reads {query!r}")


def only(found: Iterator[str]) -> str:
    values = list(found)
    assert len(values) == 1, values
    return values[0]


@pytest.mark.parametrize("subset", ["human", "augmented"])
def test_answers_follow_from_the_table(drawn, subset):
    dice = Dice(stream(4, "charts", "validation"))
    forms = set()
    for chart in drawn:
        plan = chart.plan
        asked = chart_questions.ask(dice, plan, subset)
        rows = dict(zip(plan.labels, plan.values, strict=True))
        colours = dict(zip(plan.labels, plan.colours, strict=True))
        assert asked.label == answer_from_table(asked.query, plan.title, rows, colours), asked
        forms.add(re.sub("|".join((*charts.LABELS, *charts.COLOURS, r"\d+")), "_", asked.query))
    assert len(forms) >= (10 if subset == "human" else 3)


def test_yes_and_no_are_about_equally_common(drawn):
    dice = Dice(stream(5, "charts", "validation"))
    labels = [chart_questions.ask(dice, c.plan, "human").label for c in drawn * 3]
    yes, no = labels.count("Yes"), labels.count("No")
    assert yes + no > 100
    assert 0.4 < yes / (yes + no) < 0.6
