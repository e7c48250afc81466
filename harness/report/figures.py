"""The figures of a report: SVG for light and for dark paper, with words for those who cannot see them.

Colours are seaborn's colour-blind palette; models also differ in their markers. No text is read as mathematics.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.compare.comparison import Comparison, Pair, Standing
from harness.compare.words import shown
from harness.errors import CompareError
from harness.records import MetricValue

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

INKS = {"light": "#1b1b1b", "dark": "#e8e8e8"}
_FAINT = {"light": "#8a8a8a", "dark": "#8f8f8f"}
_LEFT_OUT = ("Date", "Creator", "Format", "Type")
"""Metadata that would make two equal drawings differ."""
_MARKERS = "osD^vPX*<>hp"
_LUMINANCE = (0.2126, 0.7152, 0.0722)
_EVEN = 0.179
"""Relative luminance (WCAG 2.1) on which black and white have equal contrast."""
_MOST_PAIRS = 15
"""Pairs of one task in the forest; 6 models have 15."""
_MOST_CATEGORIES = 40


@dataclass(frozen=True, slots=True)
class Figure:
    """One drawing in a report."""

    name: str
    """`figures/NAME-light.svg` and `figures/NAME-dark.svg`."""
    title: str
    alt: str
    caption: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What a drawing function gets beside the comparison."""

    theme: str
    colours: Mapping[str, Any]
    markers: Mapping[str, str]

    @property
    def ink(self) -> str:
        return INKS[self.theme]

    @property
    def faint(self) -> str:
        return _FAINT[self.theme]


@dataclass(frozen=True, slots=True)
class _Drawing:
    name: str
    title: str
    alt: str
    caption: str
    draw: Callable[[_Sheet], Canvas]


def draw_figures(comparison: Comparison, seconds: Mapping[tuple[str, str], float], folder: Path) -> list[Figure]:
    """The figures that the comparison has data for, written to `folder`.

    Args:
        seconds: (task, model) → seconds per sample.

    Raises:
        CompareError: matplotlib or seaborn is not installed.
    """
    try:
        import matplotlib as mpl
        import seaborn as sns
    except ImportError as error:
        raise CompareError(f'figures need {error.name}; install it with: pip install "vlm-harness[report]"') from error

    models = list(dict.fromkeys(s.model for s in comparison.standings))
    palette = sns.color_palette("colorblind", len(models))
    drawings = [
        _intervals(comparison),
        _forest(comparison),
        _frontier(comparison, seconds),
        _categories(comparison),
        _ranks(comparison),
    ]
    figures = []
    for drawing in drawings:
        if drawing is None:
            continue
        for theme, ink in INKS.items():
            sheet = _Sheet(
                theme,
                dict(zip(models, palette, strict=True)),
                {model: _MARKERS[n % len(_MARKERS)] for n, model in enumerate(models)},
            )
            style: dict[str, Any] = {
                "svg.hashsalt": drawing.name,
                "svg.fonttype": "none",
                "font.family": "sans-serif",
                "font.sans-serif": ["DejaVu Sans"],
                "font.size": 9.5,
                "axes.titlesize": 10.5,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "text.parse_math": False,
                **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), ink),
                "axes.facecolor": "none",
                "figure.facecolor": "none",
                "legend.frameon": False,
                "axes.spines.top": False,
                "axes.spines.right": False,
            }
            with mpl.rc_context(cast(Any, style)):
                canvas = drawing.draw(sheet)
                out = io.StringIO()
                canvas.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(_LEFT_OUT))
                (folder / f"{drawing.name}-{theme}.svg").write_text(
                    re.sub(r"\n\s*", " ", out.getvalue()) + "\n", encoding="utf-8", newline="\n"
                )
                width, height = (round(96 * inches) for inches in canvas.get_size_inches())
        figures.append(Figure(drawing.name, drawing.title, drawing.alt, drawing.caption, width, height))
    return figures


def _grid(count: int, heights: list[float], *, columns: int = 2) -> tuple[Canvas, list[Any]]:
    """A canvas with `count` panels in `columns` columns, rows as high (in inches) as their panels need."""
    from matplotlib.figure import Figure as New

    columns = min(columns, count)
    rows = -(-count // columns)
    high = [max(heights[row * columns : (row + 1) * columns]) for row in range(rows)]
    canvas = New(figsize=(9.6, sum(high) + 0.3), layout="constrained")
    axes = canvas.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": high}).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    return canvas, axes[:count]


def plain(text: str) -> str:
    """Text in characters that the drawing font has; others as `[U+XXXX]`."""
    return "".join(c if c.isprintable() and ord(c) < 0x530 else f"[U+{ord(c):04X}]" for c in text)


def _scaled(value: float, unit: str) -> float:
    return 100 * value if unit == "rate" else value


def _label(metric: str, unit: str) -> str:
    return f"{metric} (%)" if unit == "rate" else metric


def _by_task(comparison: Comparison) -> dict[str, list[Standing]]:
    """Task → its models on the main metric."""
    held: dict[str, list[Standing]] = {}
    for standing in comparison.standings:
        if standing.main:
            held.setdefault(standing.task, []).append(standing)
    return held


def _intervals(comparison: Comparison) -> _Drawing | None:
    tasks = {task: [s for s in held if s.value.estimate is not None] for task, held in _by_task(comparison).items()}
    tasks = {task: held for task, held in tasks.items() if held}
    if not tasks:
        return None

    def draw(sheet: _Sheet) -> Canvas:
        canvas, axes = _grid(len(tasks), [0.27 * len(held) + 0.85 for held in tasks.values()])
        for axis, (task, held) in zip(axes, tasks.items(), strict=True):
            for row, s in enumerate(held):
                _interval(axis, sheet, s.model, row, s.value)
            axis.set_yticks(range(len(held)), [f"{plain(s.model)}  {s.letters}" for s in held])
            axis.set_ylim(len(held) - 0.4, -0.6)
            axis.set_title(plain(task))
            axis.set_xlabel(plain(_label(held[0].metric, held[0].value.unit)))
            axis.grid(axis="x", color=sheet.faint, alpha=0.3, linewidth=0.6)
        return canvas

    best = "; ".join(f"{task}: {_leaders(held)}" for task, held in tasks.items())
    return _Drawing(
        "intervals",
        "Scores with 95 % intervals",
        f"Value and interval of every model on each task's main metric. Highest: {best}.",
        "Main metric of each task. Models of one task that share a letter cannot be told apart.",
        draw,
    )


def _leaders(held: list[Standing]) -> str:
    def estimate(s: Standing) -> float:
        return (s.value.estimate or 0.0) * (1 if s.value.higher_is_better else -1)

    top = max(held, key=estimate)
    return f"{top.model} {shown(top.value.estimate or 0.0, top.value.unit)}"


def _interval(axis: Any, sheet: _Sheet, model: str, row: int, value: MetricValue) -> None:
    if value.estimate is None:
        return
    colour = sheet.colours[model]
    if value.low is not None and value.high is not None:
        axis.plot([_scaled(value.low, value.unit), _scaled(value.high, value.unit)], [row, row], color=colour, lw=2.4)
    axis.plot(
        [_scaled(value.estimate, value.unit)],
        [row],
        sheet.markers[model],
        color=colour,
        markersize=7,
        markeredgecolor=sheet.ink,
        markeredgewidth=0.6,
    )


def _forest(comparison: Comparison) -> _Drawing | None:
    tasks: dict[str, list[Pair]] = {}
    for pair in comparison.pairs:
        if pair.main:
            tasks.setdefault(pair.task, []).append(pair)
    if not tasks:
        return None
    cut = {task: sorted(held, key=lambda p: p.p_holm)[:_MOST_PAIRS] for task, held in tasks.items()}

    def draw(sheet: _Sheet) -> Canvas:
        blue, grey = sheet.ink, sheet.faint
        canvas, axes = _grid(len(cut), [0.25 * len(held) + 0.85 for held in cut.values()], columns=1)
        for axis, (task, held) in zip(axes, cut.items(), strict=True):
            for row, pair in enumerate(held):
                colour = blue if pair.differs else grey
                low, middle, high = (_scaled(v, pair.unit) for v in (pair.low, pair.difference, pair.high))
                axis.plot([low, high], [row, row], color=colour, lw=2.2)
                axis.plot(
                    [middle],
                    [row],
                    "o",
                    markersize=6.5,
                    color=colour,
                    markerfacecolor=colour if pair.differs else "none",
                )
            axis.axvline(0, color=sheet.ink, lw=0.8, linestyle=(0, (4, 3)))
            axis.set_yticks(range(len(held)), [f"{plain(p.first)} − {plain(p.second)}" for p in held])
            axis.set_ylim(len(held) - 0.4, -0.6)
            axis.set_title(plain(task))
            points = "percentage points of " if held[0].unit == "rate" else ""
            axis.set_xlabel(plain(f"difference in {points}{held[0].metric}"))
            axis.grid(axis="x", color=sheet.faint, alpha=0.3, linewidth=0.6)
        return canvas

    found = sum(pair.differs for held in tasks.values() for pair in held)
    total = sum(len(held) for held in tasks.values())
    left = (
        f" Of more than {_MOST_PAIRS} pairs of a task those with the smallest p are drawn."
        if cut != tasks and any(len(held) > _MOST_PAIRS for held in tasks.values())
        else ""
    )
    return _Drawing(
        "forest",
        "Paired differences",
        f"Difference of every pair of models with its interval; {found} of {total} differ after correction.",
        "First minus second, on the samples that both have scored, with 95 % intervals. Filled and dark: differs after "
        f"Holm's correction; hollow and grey: no difference found.{left}",
        draw,
    )


def _frontier(comparison: Comparison, seconds: Mapping[tuple[str, str], float]) -> _Drawing | None:
    tasks = {
        task: [s for s in held if s.value.estimate is not None and seconds.get((task, s.model), 0.0) > 0]
        for task, held in _by_task(comparison).items()
    }
    tasks = {task: held for task, held in tasks.items() if held}
    if not tasks:
        return None
    models = list(dict.fromkeys(s.model for held in tasks.values() for s in held))

    def draw(sheet: _Sheet) -> Canvas:
        from matplotlib.lines import Line2D
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        canvas, axes = _grid(len(tasks), [2.5] * len(tasks))
        for axis, (task, held) in zip(axes, tasks.items(), strict=True):
            unit, higher = held[0].value.unit, held[0].value.higher_is_better
            points = [(seconds[task, s.model], _scaled(s.value.estimate or 0.0, unit), s.model) for s in held]
            for x, y, model in points:
                axis.plot(
                    [x], [y], sheet.markers[model], color=sheet.colours[model], markersize=8,
                    markeredgecolor=sheet.ink, markeredgewidth=0.6,
                )  # fmt: skip
            edge = frontier([(x, y if higher else -y) for x, y, _ in points])
            axis.step(
                [x for x, _ in edge], [y if higher else -y for _, y in edge], where="post", color=sheet.faint, lw=1.2,
                zorder=0,
            )  # fmt: skip
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(numticks=5))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.margins(0.12)
            axis.set_title(plain(f"{task}: {_label(held[0].metric, unit)}"))
            axis.set_xlabel("seconds per sample")
            axis.grid(color=sheet.faint, alpha=0.3, linewidth=0.6)
        handles = [
            Line2D([], [], marker=sheet.markers[m], color=sheet.colours[m], linestyle="", markersize=8, label=plain(m))
            for m in models
        ]
        canvas.legend(handles=handles, loc="outside upper left", ncols=min(4, len(models)))
        return canvas

    return _Drawing(
        "frontier",
        "Score against cost",
        f"Score and seconds per sample of {', '.join(models)} on each task; the values are in the tables.",
        "Seconds per sample: mean share of the batch's wall time, answers from the cache left out. The line "
        "joins models that no other beats in both score and time.",
        draw,
    )


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, score) points that no other point beats in both, by cost; lower cost and higher score are better."""
    kept: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or score > kept[-1][1]:
            kept.append((cost, score))
    return kept


def _categories(comparison: Comparison) -> _Drawing | None:
    main = {(s.task, s.signature): s for s in comparison.standings if s.main and s.value.unit == "rate"}
    models = list(dict.fromkeys(s.model for s in comparison.standings))
    names = {s.run: s.model for s in comparison.standings}
    held: dict[str, dict[str, float]] = {}
    for run in comparison.runs:
        for task in run.record.tasks:
            for value in task.values:
                if value.subset != "all" and (task.plan.name, value.signature) in main and value.estimate is not None:
                    heading = f"{task.plan.name}: {value.subset}"
                    held.setdefault(heading, {})[names[run.record.run_id]] = 100 * value.estimate
    if not held:
        return None
    spread = {name: max(values.values()) - min(values.values()) for name, values in held.items()}
    kept = sorted(held, key=lambda name: -spread[name])[:_MOST_CATEGORIES]
    rows = [name for name in held if name in kept]

    def draw(sheet: _Sheet) -> Canvas:
        import numpy as np
        import seaborn as sns

        canvas, (axis,) = _grid(1, [0.3 * len(rows) + 1.3])
        table = np.array([[held[name].get(model, np.nan) for model in models] for name in rows])
        sns.heatmap(
            table, ax=axis, cmap="cividis", annot=True, fmt=".0f", linewidths=0.5,
            linecolor="none", annot_kws={"size": 9}, cbar_kws={"label": "% of the main metric"},
            xticklabels=[plain(m) for m in models], yticklabels=[plain(name) for name in rows],
        )  # fmt: skip
        faces = axis.collections[0].get_facecolors()[~np.isnan(table).ravel()]  # (cells with a number, RGBA)
        for text, face in zip(axis.texts, faces, strict=True):
            linear = np.where(face[:3] <= 0.04045, face[:3] / 12.92, ((face[:3] + 0.055) / 1.055) ** 2.4)
            light = float(np.dot(linear, _LUMINANCE))
            text.set_color("#000000" if light > _EVEN else "#ffffff")
        axis.tick_params(axis="x", rotation=20 if len(models) > 3 else 0, length=0)
        axis.tick_params(axis="y", rotation=0, length=0)
        return canvas

    widest = max(rows, key=lambda name: spread[name])
    left = f" The {_MOST_CATEGORIES} of {len(held)} with the widest spread." if len(held) > len(rows) else ""
    return _Drawing(
        "categories",
        "By category",
        f"Main metric of every model in each category; the models are furthest apart on {widest}.",
        f"Rates in per cent; the table “By category” has the intervals, which are wide for small categories.{left}",
        draw,
    )


def _ranks(comparison: Comparison) -> _Drawing | None:
    tasks = _by_task(comparison)
    if not tasks:
        return None

    def draw(sheet: _Sheet) -> Canvas:
        canvas, axes = _grid(len(tasks), [0.27 * len(held) + 0.85 for held in tasks.values()])
        for axis, (task, held) in zip(axes, tasks.items(), strict=True):
            for row, s in enumerate(held):
                axis.plot([s.rank_low, s.rank_high], [row, row], "-", lw=7, alpha=0.85, color=sheet.colours[s.model],
                          solid_capstyle="round")  # fmt: skip
                for rank in {s.rank_low, s.rank_high}:
                    axis.plot([rank], [row], sheet.markers[s.model], markersize=7, color=sheet.colours[s.model],
                              markeredgecolor=sheet.ink, markeredgewidth=0.6)  # fmt: skip
            axis.set_yticks(range(len(held)), [plain(s.model) for s in held])
            axis.set_ylim(len(held) - 0.4, -0.6)
            axis.set_xticks(range(1, len(held) + 1))
            axis.set_xlim(0.6, len(held) + 0.4)
            axis.set_title(plain(task))
            axis.set_xlabel("rank (1 is best)")
            axis.grid(axis="x", color=sheet.faint, alpha=0.3, linewidth=0.6)
        return canvas

    sure = [f"{s.model} on {t}" for t, held in tasks.items() for s in held if s.rank_low == s.rank_high == 1]
    return _Drawing(
        "ranks",
        "Rank intervals",
        f"Interval of each model's rank on each task. Surely first: {', '.join(sure) or 'none'}.",
        "Where 95 % of resampled sets put a model. A single mark is a rank that hardly ever changes.",
        draw,
    )
