"""Kinds of tasks done: worked examples with records made by hand, then real runs of the controls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.compare.universality import measured, read_records
from harness.engine.run import run_suite
from harness.errors import StoreError
from harness.records import (
    GenerationSettings,
    MetricValue,
    ModelIdentity,
    ModelSettings,
    RunRecord,
    TaskPlan,
    TaskResult,
)


def value(
    estimate: float | None, metric: str = "relaxed_accuracy", variant: str = "pix2struct", **other: object
) -> MetricValue:
    made = MetricValue(
        metric=metric, variant=variant, signature=f"{metric}|{variant}|v1", subset="all", estimate=estimate,
        low=None, high=None, n_scored=10, n_total=10,
    )  # fmt: skip
    return replace(made, **other)  # type: ignore[arg-type]


def record(model: str, *values: MetricValue, family: str = "llava", samples: str = "s", inner: str = "") -> RunRecord:
    plan = TaskPlan(
        name="chartqa", kind="chart-qa", version=1, dataset="chartqa", split="test", form="official", data="bundled",
        prompt_name="p", prompt_version=1, prompt_text="", template="", generation=GenerationSettings(),
        answer_by="generate", metrics=("relaxed_accuracy@pix2struct", "relaxed_accuracy@strict"),
        breakdown=(), subset={},
    )  # fmt: skip
    task = TaskResult(plan, samples, "r", 10, 10, {}, values)
    wrapped = ModelSettings(name=inner, family="llava") if inner else None
    identity = ModelIdentity(ModelSettings(name=model, family=family, inner=wrapped), "no weights")
    return RunRecord(f"run-{model}", 1, "0", model, {}, identity, "charts", 1, "k", (task,), (), {})


def test_a_model_is_held_against_the_best_control() -> None:
    runs = [
        record("mine", value(0.5)),
        record("majority", value(0.2), family="majority-answer"),
        record("neighbour", value(0.4), family="nearest-neighbour"),
    ]
    (row,) = measured(runs, "mine")
    assert (row.kind, row.beats, row.control, row.control_value) == ("chart-qa", True, "neighbour", 0.4)


def test_a_tie_with_a_control_is_no_win() -> None:
    (row,) = measured([record("mine", value(0.4)), record("c", value(0.4), family="random-choice")], "mine")
    assert row.beats is False


def test_where_lower_is_better_the_lower_value_wins() -> None:
    low = {"higher_is_better": False}
    (row,) = measured(
        [record("mine", value(0.2, **low)), record("c", value(0.9, **low), family="random-choice")], "mine"
    )
    assert row.beats is True


@pytest.mark.parametrize(
    "other",
    [
        record("c", value(0.1), family="random-choice", samples="other samples"),
        record("c", value(0.1, signature="relaxed_accuracy|pix2struct|v2"), family="random-choice"),
        record("c", value(0.1), family="blip2"),
        record("blank-image:theirs", value(0.1), family="blank-image", inner="theirs"),
    ],
)
def test_other_samples_other_signatures_and_other_models_are_no_control(other: RunRecord) -> None:
    (row,) = measured([record("mine", value(0.5)), other], "mine")
    assert (row.beats, row.control) == (None, "")


def test_a_wrapper_is_a_control_of_the_model_it_wraps() -> None:
    blank = record("blank-image:mine", value(0.1), family="blank-image", inner="mine")
    (row,) = measured([record("mine", value(0.5)), blank], "mine")
    assert row.control == "blank-image:mine"


def test_only_the_main_metric_of_a_task_counts() -> None:
    strict = value(0.9, variant="strict")
    assert measured([record("mine", value(None, reason="no Java"), strict)], "mine") == []
    assert measured([record("mine", strict)], "mine") == []


def test_runs_are_read_from_their_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no sealed run here"):
        read_records(tmp_path)
    run_suite("smoke", ["majority-answer", "random-choice"], out=tmp_path)
    records = read_records(tmp_path)
    assert {r.model for r in records} == {"majority-answer", "random-choice"}
    rows = measured(records, "random-choice")
    assert rows
    assert all(row.beats is not None for row in rows)
