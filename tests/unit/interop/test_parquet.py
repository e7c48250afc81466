"""The Parquet folder, read by DuckDB where it is there and by pyarrow; values against the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from harness.interop import InteropError
from harness.interop.exporting import ExportOptions, export
from harness.store.runs import read_run
from tests.unit.interop.runs import MAJORITY, NEIGHBOUR, REFERENCE, changed, record


def test_values_hold_every_number_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    export([MAJORITY, NEIGHBOUR], "parquet", str(tmp_path / "out"))
    rows = pq.read_table(tmp_path / "out/values.parquet").to_pylist()
    mine = [row for row in rows if row["model"] == "majority-answer"]
    values = [(t.plan.name, t.sample_set, v) for t in record().tasks for v in t.values]
    values += [("efficiency", mine[-1]["sample_set"], v) for v in record().efficiency]
    assert len(mine) == len(values)
    for row, (task, sample_set, value) in zip(mine, values, strict=True):
        assert (row["task"], row["signature"], row["sample_set"]) == (task, value.signature, sample_set)
        assert (row["estimate"], row["low"], row["high"]) == (value.estimate, value.low, value.high)
        assert (row["n_scored"], row["n_total"], row["commit"]) == (
            value.n_scored,
            value.n_total,
            record().provenance["commit"]["id"],
        )


def test_a_partitioned_data_set_gives_names_back_that_no_folder_could_hold(tmp_path: Path) -> None:
    def rename(content: dict[str, Any]) -> None:
        content["model"] = "blank-image:a/b=c d"

    run = changed(tmp_path, rename)
    export([run, NEIGHBOUR], "parquet", str(tmp_path / "out"))
    frame = ds.dataset(tmp_path / "out/scores", partitioning="hive").to_table().to_pandas()
    assert set(frame["model"]) == {"blank-image:a/b=c d", "nearest-neighbour"}
    assert len(frame) == sum(len(read_run(path).scores()) for path in (run, NEIGHBOUR))
    assert frame["value"].isna().sum() == sum(
        read_run(path).scores()["value"].isna().sum() for path in (run, NEIGHBOUR)
    )


def test_duckdb_finds_the_estimate_again_from_the_scores(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    export([MAJORITY], "parquet", str(tmp_path / "out"))
    query = f"""
        SELECT v.task, v.estimate, avg(s.value) AS mean
        FROM '{tmp_path}/out/values.parquet' v
        JOIN read_parquet('{tmp_path}/out/scores/*/*/*.parquet', hive_partitioning = true) s
        ON s.run = v.run AND s.task = v.task AND s.signature = v.signature AND s.model = v.model
        WHERE v.subset = 'all' AND v.metric IN ('relaxed_accuracy', 'scienceqa') GROUP BY ALL
    """
    found = duckdb.sql(query).fetchall()
    assert {row[0] for row in found} == {"chartqa", "scienceqa"}
    for _, estimate, mean in found:
        assert mean == pytest.approx(estimate)


def test_a_second_run_of_a_model_is_a_second_part(tmp_path: Path) -> None:
    again = changed(tmp_path, lambda content: content.update(run_id="later"))
    export([MAJORITY, again], "parquet", str(tmp_path / "out"))
    folder = tmp_path / "out/scores/suite=mini/model=majority-answer"
    assert sorted(path.name for path in folder.iterdir()) == ["part-002.parquet", "part.parquet"]
    assert set(pq.read_table(folder / "part-002.parquet").column("run").to_pylist()) == {"later"}


def test_samples_can_stay_at_home_and_absent_ones_are_said(tmp_path: Path) -> None:
    export([MAJORITY], "parquet", str(tmp_path / "a"), ExportOptions(samples=False))
    assert not (tmp_path / "a/samples").exists()
    done = export([REFERENCE / "reading-real--rapidocr"], "parquet", str(tmp_path / "b"))
    assert any("holds no scores and samples" in note for note in done.notes)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(InteropError, match="is not an empty folder"):
        export([MAJORITY], "parquet", str(tmp_path))
