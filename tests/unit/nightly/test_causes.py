"""Causes: each field of a record that can move a number is named by its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.engine.run import run_suite
from harness.nightly.causes import NOTHING, causes, marked
from harness.nightly.findings import Cause
from harness.records import RunRecord


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A sealed run of a control."""
    return run_suite("smoke", ["majority-answer"], out=tmp_path_factory.mktemp("out")).runs[0].record


def with_task(record: RunRecord, **changes: Any) -> RunRecord:
    first, *others = record.tasks
    return replace(record, tasks=(replace(first, **changes), *others))


def with_provenance(record: RunRecord, **changes: Any) -> RunRecord:
    return replace(record, provenance={**record.provenance, **changes})


def plan_change(**changes: Any) -> Callable[[RunRecord], RunRecord]:
    return lambda record: with_task(record, plan=replace(record.tasks[0].plan, **changes))


def identity_change(**changes: Any) -> Callable[[RunRecord], RunRecord]:
    return lambda record: replace(record, identity=replace(record.identity, **changes))


def settings_change(**changes: Any) -> Callable[[RunRecord], RunRecord]:
    return lambda r: replace(r, identity=replace(r.identity, settings=replace(r.identity.settings, **changes)))


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        (identity_change(weights="sha256:other"), "weights", "weights"),
        (settings_change(dtype="float16"), "card", "dtype"),
        (settings_change(options={"crop": 3}), "card", "options.crop"),
        (settings_change(device="cuda:1"), "hardware", "device"),
        (identity_change(processing={"size": {"height": 336}}), "processing", "size.height"),
        (plan_change(prompt_text="Say it."), "prompt", "prompt_text"),
        (plan_change(prompt_version=9), "prompt", "prompt_version"),
        (lambda r: with_task(r, data_revision="f" * 64), "data", "data revision"),
        (lambda r: with_task(r, sample_set="f" * 64), "data", "sample set"),
        (lambda r: replace(r, harness_version="99"), "harness", "version"),
        (lambda r: with_provenance(r, commit={"id": "abc", "dirty": False}), "harness", "commit"),
        (lambda r: with_provenance(r, packages={**r.provenance["packages"], "numpy": "0"}), "libraries", "numpy"),
        (lambda r: with_provenance(r, python="3.99"), "libraries", "python"),
        (lambda r: with_provenance(r, processor="abacus"), "hardware", "processor"),
    ],
)
def test_each_changed_field_is_one_cause(
    record: RunRecord, change: Callable[[RunRecord], RunRecord], kind: str, what: str
) -> None:
    found = causes(record, change(record), record.tasks[0].plan.name)
    assert (kind, what) in {(cause.kind, cause.what) for cause in found}
    assert {cause.kind for cause in found} == {kind}


def test_a_changed_signature_is_the_scorer(record: RunRecord) -> None:
    value, *others = record.tasks[0].values
    other = with_task(record, values=(replace(value, signature=f"{value.signature}9"), *others))
    (cause,) = causes(record, other, record.tasks[0].plan.name)
    assert (cause.kind, cause.what) == ("scorer", "signature")


def test_equal_records_say_that_nothing_is_recorded(record: RunRecord) -> None:
    assert causes(record, record, record.tasks[0].plan.name) == (NOTHING,)


def test_the_cause_of_the_night_of_the_step_comes_first(record: RunRecord) -> None:
    old, new = Cause("weights", "weights", 1, 2), Cause("libraries", "torch", "1", "2")
    found = marked((old, new), (new,))
    assert [(cause.what, cause.at_step) for cause in found] == [("torch", True), ("weights", False)]
    assert marked((old,), (NOTHING,)) == (old,)


def test_another_file_place_of_one_checkpoint_is_told(record: RunRecord, tmp_path: Path) -> None:
    found = causes(record, settings_change(checkpoint=str(tmp_path))(record), record.tasks[0].plan.name)
    assert [(cause.kind, cause.what) for cause in found] == [("card", "checkpoint")]
