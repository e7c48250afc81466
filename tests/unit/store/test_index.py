"""The index of a results folder: what the records say, however the index came about (worked examples)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from harness.records import SCHEMA_VERSION
from harness.store import index
from harness.store.index import INDEX, IndexedResult, results
from harness.store.runs import RECORD, find_runs, read_run
from tests.conftest import Command

STORED = Path(__file__).resolve().parents[2] / "stored" / f"run-v{SCHEMA_VERSION}"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three runs of one model, the last begun first."""
    for number, hour in ((1, "10"), (2, "11"), (3, "09")):
        folder = tmp_path / "out" / f"run-{number:03d}"
        folder.mkdir(parents=True)
        change(folder, run_id=folder.name, timing={"started": f"2026-01-02T{hour}:00:00+00:00"})
    return tmp_path / "out"


def change(folder: Path, **fields: object) -> None:
    content = json.loads((STORED / RECORD).read_text()) | fields
    (folder / RECORD).write_text(json.dumps(content))


def read(out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[IndexedResult], list[str]]:
    """The results, and the runs whose records were opened for them."""
    opened: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(index, "read_run", lambda path: (opened.append(path.name), read_run(path))[1])
        return results(out), opened


def test_the_index_says_what_the_records_say(out: Path) -> None:
    expected = []
    for path in (out / "run-003", out / "run-001", out / "run-002"):
        record = read_run(path).record
        for task in record.tasks:
            value = task.main
            expected.append(
                IndexedResult(
                    *(path.name, record.model, record.suite, str(record.timing["started"]), record.harness_version),
                    *(task.plan.name, task.n_samples, task.n_answered, task.sample_set, value.name, value.signature),
                    *(value.unit, value.estimate, value.low, value.high, value.n_scored, value.higher_is_better),
                )
            )
    assert results(out) == expected


def test_a_record_is_opened_once_and_again_only_when_it_changed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, opened = read(out, monkeypatch)
    assert sorted(opened) == ["run-001", "run-002", "run-003"]
    assert read(out, monkeypatch) == (first, [])
    change(out / "run-002", model="another", timing={"started": "2026-01-02T11:00:00+00:00"})
    again, opened = read(out, monkeypatch)
    assert opened == ["run-002"]
    assert {row.model for row in again if row.run == "run-002"} == {"another"}
    assert [row for row in again if row.run != "run-002"] == [row for row in first if row.run != "run-002"]


def test_runs_come_and_go(out: Path) -> None:
    results(out)
    shutil.rmtree(out / "run-001")
    shutil.copytree(out / "run-002", out / "run-004")
    assert {row.run for row in results(out)} == {"run-002", "run-003", "run-004"}
    assert {path.name for path in find_runs(out)} == {"run-002", "run-003", "run-004"}


@pytest.mark.parametrize("content", [b"no database at all, and longer than a header of one" * 50, b""])
def test_a_damaged_index_is_made_anew(out: Path, content: bytes) -> None:
    expected = results(out)
    (out / INDEX).write_bytes(content)
    assert results(out) == expected
    assert results(out) == expected


def test_an_index_of_another_version_is_made_anew(out: Path) -> None:
    expected = results(out)
    with sqlite3.connect(out / INDEX) as connection:
        connection.execute("PRAGMA user_version=99")
        connection.execute("DELETE FROM results")
    connection.close()
    assert results(out) == expected


def test_a_folder_that_cannot_be_written_is_read_without_an_index(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = results(out)
    shutil.rmtree(out / INDEX.parent)
    (out / INDEX.parent).write_text("a file stands where the folder would be")
    assert results(out) == expected
    assert "cannot be written" in caplog.text


def test_the_list_of_runs_names_value_interval_and_samples(out: Path, harness: Command) -> None:
    code, text, _ = harness("list", "runs", "--out", out, "--last", "1")
    assert code == 0
    assert "run-002 · 2026-01-02 11:00" in text
    assert "run-001" not in text
    assert "the last 1 of 3 runs; --last 0 shows all" in text
    rows = json.loads(harness("list", "runs", "--out", out, "--last", "0", "--json")[1])
    assert len(rows) == 3 * len(read_run(STORED).record.tasks)
    assert {"run", "sample_set", "signature", "low", "high", "n_scored", "harness_version"} <= set(rows[0])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, harness: Command) -> None:
    code, _, error = harness("list", "runs", "--out", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere: no folder of runs here" in error
