"""How each model did on each task night after night: a table with its trend, and a figure. Reads records only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from harness.errors import NightlyError
from harness.store.index import results

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#A68A00")
"""Okabe and Ito 2008, told apart by colour-blind readers; yellow and black replaced, for light and dark grounds."""
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 220, 60, 34, 34
_LEGEND_ROW = 18


@dataclass(frozen=True, slots=True)
class Point:
    """One night of one model on one task."""

    run: str
    night: str
    value: float
    low: float | None
    high: float | None
    n_scored: int
    signature: str


@dataclass(frozen=True, slots=True)
class Line:
    """All nights of one model on one task whose main metric has one name."""

    suite: str
    model: str
    task: str
    metric: str
    unit: str
    higher_is_better: bool
    points: tuple[Point, ...]
    """Oldest first."""

    @property
    def trend(self) -> float | None:
        """Change per night: the median slope between all pairs of nights (Theil 1950, Sen 1968); `None` below three."""
        values = np.array([point.value for point in self.points])
        if len(values) < 3:
            return None
        first, second = np.triu_indices(len(values), k=1)
        return float(np.median((values[second] - values[first]) / (second - first)))

    @property
    def definitions(self) -> int:
        """How many definitions of the metric the nights were scored with; the trend crosses them."""
        return len({point.signature for point in self.points})


def history(
    out: Path, *, suite: str | None = None, model: str | None = None, task: str | None = None
) -> tuple[Line, ...]:
    """The nights of every model × task in a results folder, narrowed by name where given.

    Raises:
        NightlyError: no sealed run is there, or none of these names.
    """
    nights = results(out)
    if not nights:
        raise NightlyError(f"{out}: no sealed runs here; give the `out` folder of the nightly configuration")
    lines: dict[tuple[str, str, str, str], list[Point]] = {}
    units: dict[tuple[str, str, str, str], tuple[str, bool]] = {}
    for night in nights:
        if night.estimate is None:
            continue
        key = (night.suite, night.task, night.model, night.metric)
        units[key] = (night.unit, night.higher_is_better)
        lines.setdefault(key, []).append(
            Point(night.run, night.started, night.estimate, night.low, night.high, night.n_scored, night.signature)
        )
    found = tuple(
        Line(key[0], key[2], key[1], key[3], *units[key], tuple(points))
        for key, points in sorted(lines.items())
        if suite in (None, key[0]) and task in (None, key[1]) and model in (None, key[2])
    )
    if not found:
        known = "; ".join(f"{key[2]} on {key[1]} of {key[0]}" for key in sorted(lines))
        raise NightlyError(f"{out}: no nights of these names; there: {known or 'no computed main metric'}")
    return found


def figure(lines: tuple[Line, ...]) -> str:
    """The lines as one SVG: a panel for each task, a line with its 95 % intervals for each model.

    Nights stand at equal distances, whatever the gap between them.
    """
    panels: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        panels.setdefault((line.suite, line.task, line.metric), []).append(line)
    models = sorted({line.model for line in lines})
    styles = {
        name: (_COLOURS[n % len(_COLOURS)], _DASHES[n // len(_COLOURS) % len(_DASHES)]) for n, name in enumerate(models)
    }
    legend = _LEGEND_ROW * len(models) + 10
    height = _HEIGHT * len(panels) + legend
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title" font-family="sans-serif" font-size="12">',
        '<title id="title">Main metric of each task by night</title>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, ((suite, task, metric), members) in enumerate(panels.items()):
        parts += _panel(f"{task} ({suite}): {metric}", members, styles, _HEIGHT * number)
    for number, name in enumerate(models):
        y = _HEIGHT * len(panels) + _LEGEND_ROW * number + 10
        colour, dash = styles[name]
        parts.append(f'<path d="M{_LEFT} {y}h30" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        parts.append(f'<text x="{_LEFT + 38}" y="{y + 4}" fill="#222222">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(title: str, lines: list[Line], styles: dict[str, tuple[str, str]], top: int) -> list[str]:
    nights = sorted({point.night for line in lines for point in line.points})
    ends = [end for line in lines for p in line.points for end in (p.value, p.low, p.high) if end is not None]
    low, high = min(ends), max(ends)
    margin = (high - low) * 0.05 or 0.01
    low, high = low - margin, high + margin
    percent = 100 if lines[0].unit == "rate" else 1

    def x(night: str) -> float:
        share = nights.index(night) / (len(nights) - 1) if len(nights) > 1 else 0.5
        return round(_LEFT + share * (_WIDTH - _LEFT - 20), 1)

    def y(value: float) -> float:
        return round(top + _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = [f'<text x="{_LEFT}" y="{top + 20}" font-weight="bold" fill="#222222">{escape(title)}</text>']
    for tick in _ticks(percent * low, percent * high):
        height = y(tick / percent)
        parts.append(f'<path d="M{_LEFT} {height}H{_WIDTH - 20}" stroke="#cccccc" stroke-width="1"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{height + 4}" text-anchor="end" fill="#444444">{tick:g}</text>')
    for night, anchor in ((nights[0], "start"), (nights[-1], "end")):
        text = escape(night[:10])
        parts.append(
            f'<text x="{x(night)}" y="{top + _HEIGHT - 14}" text-anchor="{anchor}" fill="#444444">{text}</text>'
        )
        if len(nights) == 1:
            break
    for line in lines:
        colour, dash = styles[line.model]
        path = "L".join(f"{x(p.night)} {y(p.value)}" for p in line.points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        for p in line.points:
            text = f"{line.model}, {p.night}: {percent * p.value:.4g} ({p.n_scored} scored)"
            if p.low is not None and p.high is not None:
                bar = f"M{x(p.night)} {y(p.low)}V{y(p.high)}"
                parts.append(f'<path d="{bar}" stroke="{colour}" stroke-width="1" opacity="0.5"/>')
            place = f'cx="{x(p.night)}" cy="{y(p.value)}" r="3"'
            parts.append(f'<circle {place} fill="{colour}"><title>{escape(text)}</title></circle>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers between `low` and `high`."""
    power = 10 ** math.floor(math.log10((high - low) / 2))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= (high - low) / 2)
    return [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
