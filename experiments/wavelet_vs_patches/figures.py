"""The figures of the report as inline SVG: one drawing for light and dark paper, in the ink of the page's text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from analysis import Analysis, Estimate, mean_curve
from arms import FRONT_ENDS, TASKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_INK = "#1b1b1b"
_MARKERS = "osD^vPX*<>"
_AXES = (
    ("samples", "training pictures, thousands", 1e3),
    ("cpu_s", "CPU seconds, validation included", 1.0),
    ("multiply_adds", "multiply-adds of training, 10¹²", 1e12),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its words."""

    title: str
    svg: str
    alt: str
    caption: str


def _styles() -> dict[str, tuple[Any, str]]:
    """Arm → colour and marker, the same in every figure."""
    import seaborn as sns

    palette = [*sns.color_palette("colorblind", 10)]
    palette[8] = (0.62, 0.54, 0.0)  # the palette's yellow is too light for white paper
    return {arm: (palette[n % 10], _MARKERS[n % len(_MARKERS)]) for n, arm in enumerate(FRONT_ENDS)}


def _drawn(name: str, alt: str, draw: Callable[[], Canvas]) -> str:
    """The SVG of a drawing, without what two of them on one page would have in common."""
    import matplotlib as mpl

    style: dict[str, Any] = {
        "svg.hashsalt": name,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 11,
        "text.parse_math": False,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK),
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(cast(Any, style)):
        out = io.StringIO()
        draw().savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r' id="[A-Za-z]+[\w.]*_\d+"', "", text)
    text = re.sub(r"\b((?:id=\"|url\(#|href=\"#))", rf"\g<1>{name}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{alt}" ', 1)
    return re.sub(r"\n\s*", " ", text).strip()


def curves_figure(curves: pd.DataFrame, task: str) -> Figure | None:
    """Held-out exact answers against three kinds of cost: the mean over seeds, single seeds thin behind it."""
    own = curves[curves["task"] == task] if len(curves) else curves
    arms = [arm for arm in FRONT_ENDS if len(own) and (own["arm"] == arm).any()]
    if not arms:
        return None
    styles = _styles()

    def draw() -> Canvas:
        from matplotlib.figure import Figure as New

        canvas = New(figsize=(12.5, 4.6), layout="constrained")
        panels = canvas.subplots(1, 3, sharey=True)
        for panel, (axis, words, scale) in zip(panels, _AXES, strict=True):
            for arm in arms:
                colour, marker = styles[arm]
                for _, single in own[own["arm"] == arm].groupby("seed"):
                    panel.plot(single[axis] / scale, 100 * single["exact"], color=colour, lw=0.7, alpha=0.35)
                curve = mean_curve(curves, task, arm)
                panel.plot(
                    curve[axis] / scale, 100 * curve["exact"], color=colour, marker=marker, ms=5, lw=2, label=arm
                )  # fmt: skip
            panel.set_xlabel(words)
            panel.grid(alpha=0.25)
            panel.set_xlim(left=0)
        panels[0].set_ylabel("held-out exact, %")
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
        return canvas

    alt = f"Held-out exact answers on {task} against training pictures, CPU seconds and multiply-adds"
    return Figure(
        f"Learning curves, {task}",
        _drawn(f"curves-{task}", alt, draw),
        alt,
        "Share of validation answers that are exactly right. Thick: mean over seeds; thin: single seeds. "
        "CPU seconds are of a shared machine and are the least repeatable of the three.",
    )


def scores_figure(analysis: Analysis) -> Figure | None:
    """Scores with intervals, and the blind scores, all tasks side by side."""
    tasks = [task for task in TASKS if any(row.task == task for row in analysis.rows)]
    if not tasks:
        return None
    styles = _styles()

    def draw() -> Canvas:
        from matplotlib.figure import Figure as New

        most = max(sum(row.task == task for row in analysis.rows) for task in tasks)
        canvas = New(figsize=(12.5, 1.6 + 0.38 * most), layout="constrained")
        panels: Sequence[Any] = canvas.subplots(1, len(tasks), squeeze=False)[0]
        for panel, task in zip(panels, tasks, strict=True):
            rows = [row for row in analysis.rows if row.task == task][::-1]
            for height, row in enumerate(rows):
                colour, marker = styles.get(row.arm, (_INK, "|"))
                _bar(panel, row.score, height, colour, marker)
                if row.blind is not None:
                    panel.plot(100 * row.blind.value, height, marker="x", color=_INK, ms=6, ls="none")
            panel.set_yticks(range(len(rows)), [row.arm for row in rows])
            panel.set_xlabel(f"{task}: {TASKS[task].metric.replace('_', ' ')}, %")
            panel.grid(axis="x", alpha=0.25)
        return canvas

    alt = (
        "Test scores of every front end with 95 % intervals, and blind scores as crosses; the numbers are in the tables"
    )
    return Figure(
        "Scores on fresh pictures",
        _drawn("scores", alt, draw),
        alt,
        "Mean over seeds with its 95 % interval for new pictures and new seeds. Crosses: the same networks shown the "
        "pictures of other samples.",
    )


def _bar(panel: Any, found: Estimate, height: int, colour: Any, marker: str) -> None:
    if found.low is not None and found.high is not None:
        panel.plot([100 * found.low, 100 * found.high], [height, height], color=colour, lw=2.5, solid_capstyle="round")
    panel.plot(100 * found.value, height, marker=marker, color=colour, ms=8, ls="none")
