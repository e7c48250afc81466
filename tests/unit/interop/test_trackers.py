"""MLflow and Weights & Biases: what was logged is read back with their own readers."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.interop import InteropError
from harness.interop.exporting import export
from harness.interop.measurements import Measurement, measurements
from harness.interop.mlflow_runs import RUN_TAG, metric_path, paths_of
from tests.unit.interop.runs import MAJORITY, record

CHART = "chartqa/relaxed_accuracy.pix2struct/all"


def chart() -> Measurement:
    return next(m for m in measurements(record()) if metric_path(m) == CHART)


def test_names_of_values_are_unlike_and_plain() -> None:
    paths = paths_of(measurements(record()))
    assert len(set(paths)) == len(paths)
    assert all(
        set(path) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./- ") for path in paths
    )
    with pytest.raises(InteropError, match="would both be named"):
        paths_of([chart(), chart()])


@pytest.mark.parametrize(("package", "to"), [("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_missing_package_is_named_with_its_extra(
    package: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"harness.interop.{to}_runs.find_spec", lambda name: None)
    with pytest.raises(InteropError, match=rf"vlm-harness\[{package}\]"):
        export([MAJORITY], to, str(tmp_path / "out"))


@pytest.mark.filterwarnings("ignore")  # both libraries warn of their own dependencies
def test_mlflow_reads_back_values_bounds_signature_and_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the mlflow extra is not installed")
    from mlflow.tracking import MlflowClient

    export([MAJORITY], "mlflow", str(tmp_path / "runs"))
    with pytest.raises(InteropError, match="is in MLflow already"):
        export([MAJORITY], "mlflow", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(tracking_uri=(tmp_path / "runs").as_uri())
    experiment = client.get_experiment_by_name("vlm-harness/mini")
    (run,) = client.search_runs([experiment.experiment_id])
    value = chart().value
    held = {name: run.data.metrics[f"{CHART}/{name}"] for name in ("estimate", "low", "high", "n_scored", "n_total")}
    assert held == {name: float(getattr(value, name)) for name in held}
    assert run.data.tags[f"signature/{CHART}"] == value.signature
    assert run.data.tags[RUN_TAG] == record().run_id
    assert run.data.params["sample_set/chartqa"] == chart().sample_set
    assert run.data.params["commit"] == record().provenance["commit"]["id"]
    artifact = next((tmp_path / "runs").rglob("measurements.json"))
    facts = json.loads(artifact.read_text(encoding="utf-8"))
    assert len(facts) == len(measurements(record()))


@pytest.mark.filterwarnings("ignore")
def test_wandb_reads_back_values_bounds_signature_and_origin(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    (file,) = export([MAJORITY], "wandb", str(tmp_path / "runs")).files
    config, summary = logged(Path(file))
    value = chart().value
    held = {name: summary[f"{CHART}/{name}"] for name in ("estimate", "low", "high", "n_scored", "n_total")}
    assert held == {name: getattr(value, name) for name in held}
    assert config["values"][CHART]["signature"] == value.signature
    assert config["values"][CHART]["sample_set"] == chart().sample_set
    assert (config["run"], config["commit"]) == (record().run_id, record().provenance["commit"]["id"])
    assert not [
        path for path in (tmp_path / "runs").rglob("*") if path.suffix == ".log" or path.name == "wandb-metadata.json"
    ]
    assert str(tmp_path).encode() not in Path(file).read_bytes()
    assert sys.executable.encode() not in Path(file).read_bytes()


def records(data: bytes) -> Iterator[bytes]:
    """The records of an offline file: LevelDB's log format (blocks of 32 KiB) behind a header of 7 bytes."""
    parts: list[bytes] = []
    place = 7
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        parts.append(data[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def logged(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and summary of an offline run."""
    from wandb.proto import wandb_internal_pb2

    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for data in records(file.read_bytes()):
        entry = wandb_internal_pb2.Record()
        entry.ParseFromString(data)
        for item in [*entry.run.config.update, *entry.config.update]:
            config[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        for item in [*entry.run.summary.update, *entry.summary.update]:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return config, summary
