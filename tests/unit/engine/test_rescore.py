"""Scoring again: equal numbers from the same answers, a new record each time, the old one untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.engine.rescore import rescore
from harness.engine.run import run_suite
from harness.errors import StoreError
from harness.store.runs import read_run

pytestmark = pytest.mark.usefixtures("scripted")


def test_rescoring_gives_the_same_values_and_overwrites_nothing(
    chart_suite: Path, chart_data: Path, card: Callable[..., Path], tmp_path: Path
) -> None:
    run = run_suite(chart_suite, [card("m", says="2")], data=chart_data, out=tmp_path / "out").runs[0]
    before = {p: p.read_bytes() for p in run.path.iterdir() if p.is_file()}
    again = rescore(run.path, reason="a test")
    third = rescore(run.path, reason="another", metrics=["relaxed_accuracy@strict"])
    assert [t.values for t in again.record.tasks] == [t.values for t in run.record.tasks]
    assert {p: p.read_bytes() for p in before} == before
    assert (again.path.name, third.path.name) == ("rescore-001", "rescore-002")
    assert (again.record.rescored_from, again.record.reason) == (run.record.run_id, "a test")
    assert {v.variant for v in third.record.tasks[0].values} == {"strict"}
    assert read_run(again.path).samples().equals(run.samples())


def test_a_rescoring_is_not_rescored(
    chart_suite: Path, chart_data: Path, card: Callable[..., Path], tmp_path: Path
) -> None:
    run = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "out").runs[0]
    again = rescore(run.path, reason="a test")
    with pytest.raises(StoreError, match="is itself a rescoring"):
        rescore(again.path, reason="once more")
