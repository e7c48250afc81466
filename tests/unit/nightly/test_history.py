"""The history of a results folder: trend by hand, what the figure holds, and what is refused."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.engine.run import run_suite
from harness.errors import NightlyError
from harness.nightly.history import Line, Point, _ticks, figure, history


def line(model: str, values: list[float]) -> Line:
    points = tuple(
        Point(f"r{n}", f"2026-01-{n + 1:02d}T00:00:00+00:00", value, value - 0.05, value + 0.05, 100, "s|v1")
        for n, value in enumerate(values)
    )
    return Line("suite", model, "task", "accuracy", "rate", True, points)


def test_the_trend_is_the_median_slope_between_pairs_of_nights() -> None:
    # slopes: 0.01 0.01 0.01 … and one wild night that the median does not follow
    assert line("m", [0.50, 0.51, 0.52, 0.53, 0.99]).trend == pytest.approx(0.01, abs=1e-9)
    assert line("m", [0.5, 0.6]).trend is None


def test_the_figure_is_well_formed_and_names_what_models_are_called() -> None:
    svg = figure((line("<b>&", [0.5, 0.6, 0.7]), line("other", [0.4])))
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{space}text")]
    assert "<b>&" in texts
    assert "task (suite): accuracy" in texts
    assert len(list(root.iter(f"{space}circle"))) == 4
    assert "2026-01-01" in texts
    assert "2026-01-03" in texts


def test_nights_of_one_folder_are_lined_up(tmp_path: Path) -> None:
    for _ in range(3):
        run_suite("smoke", ["majority-answer"], out=tmp_path)
    lines = history(tmp_path)
    assert {len(one.points) for one in lines} == {3}
    assert {one.trend for one in lines} == {0.0}
    first = lines[0]
    assert history(tmp_path, task=first.task, model=first.model, suite=first.suite) == tuple(
        one for one in lines if one.task == first.task
    )
    with pytest.raises(NightlyError, match=r"no nights of these names; there: majority-answer on"):
        history(tmp_path, model="nobody")


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NightlyError, match="no sealed runs here"):
        history(tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(19.48, 71.36, [20, 40, 60]), (0, 1, [0, 0.5, 1]), (0.612, 0.688, [0.62, 0.64, 0.66, 0.68]), (-1, 3, [0, 2])],
)
def test_the_axis_has_round_numbers(low: float, high: float, wanted: list[float]) -> None:
    assert _ticks(low, high) == pytest.approx(wanted)
