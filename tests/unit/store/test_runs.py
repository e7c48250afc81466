"""Sealed runs: a stored run of each schema version stays readable, and damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.engine.rescore import rescore
from harness.errors import StoreError
from harness.records import SCHEMA_VERSION
from harness.store.runs import find_runs, read_run, run_name

STORED = Path(__file__).resolve().parents[2] / "stored"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A copy of the stored run of version 1, to be damaged."""
    return Path(shutil.copytree(STORED / "run-v1", tmp_path / "run"))


def test_there_is_a_stored_run_of_every_schema_version() -> None:
    assert sorted(p.name for p in STORED.iterdir()) == [f"run-v{v}" for v in range(1, SCHEMA_VERSION + 1)]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_stored_run_is_still_read_with_all_its_tables(version: int) -> None:
    run = read_run(STORED / f"run-v{version}")
    assert run.record.schema_version == version
    assert run.record.model == "majority-answer"
    assert {task.plan.name for task in run.record.tasks} >= {"coco-captions", "chartqa", "mmbench-mini", "nlvr2"}
    assert len(run.samples()) == sum(task.n_samples for task in run.record.tasks)
    assert set(run.scores()["task"]) == {task.plan.name for task in run.record.tasks}
    assert len(run.values()) == sum(len(task.values) for task in run.record.tasks)
    assert read_run(run.path / "rescore-001").record.rescored_from == run.record.run_id


def test_a_stored_run_can_still_be_scored_again(stored: Path) -> None:
    again = rescore(stored, reason="a test", metrics=["relaxed_accuracy"])
    before = next(t for t in read_run(stored).record.tasks if t.plan.name == "chartqa")
    after = next(t for t in again.record.tasks if t.plan.name == "chartqa")
    assert again.path.name == "rescore-002"
    assert [v.estimate for v in after.values] == [v.estimate for v in before.values if v.variant == "pix2struct"]


def test_a_later_version_is_refused(stored: Path) -> None:
    file = stored / "record.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(StoreError, match=r"schema version \d+ is later than \d+; update the harness"):
        read_run(stored)


def test_an_unsealed_run_says_how_to_finish_it(stored: Path) -> None:
    (stored / "record.json").unlink()
    with pytest.raises(StoreError, match="is not sealed; start it again with the same command"):
        read_run(stored)


@pytest.mark.parametrize("name", ["samples.parquet", "scores.parquet"])
def test_a_damaged_table_is_named(stored: Path, name: str) -> None:
    (stored / name).write_bytes(b"PAR1 nothing good")
    run = read_run(stored)
    with pytest.raises(StoreError, match=rf"{name}: is damaged"):
        _ = run.samples() if name.startswith("samples") else run.scores()


def test_a_record_with_a_foreign_field_is_named(stored: Path) -> None:
    file = stored / "record.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": 1}))
    with pytest.raises(StoreError, match=r"record\.json: RunRecord: unknown field 'colour'"):
        read_run(stored)


def test_runs_are_found_below_a_folder_and_by_themselves(stored: Path) -> None:
    assert find_runs(stored) == find_runs(stored.parent) == [stored]


def test_a_run_name_has_no_character_that_a_file_system_minds() -> None:
    assert run_name("mini", "blank-image:my model", "0123456789ab", 3) == "mini--blank-image+my+model--01234567--003"
