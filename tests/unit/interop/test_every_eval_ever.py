"""Every Eval Ever files against the coalition's own schemas (copies in `schemas/`), and numbers by hand."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from harness.interop.exporting import ExportOptions, HubDataset, export
from harness.store.runs import read_run
from tests.unit.interop.runs import MAJORITY, NEIGHBOUR, record

SCHEMAS = Path(__file__).parent / "schemas"


def valid(content: Any, schema: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator = jsonschema.Draft7Validator(json.loads((SCHEMAS / schema).read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(content)] == []


def read(files: tuple[str, ...], task: str) -> tuple[Path, dict[str, Any]]:
    path = next(Path(f) for f in files if f"/data/{task}/" in f and f.endswith(".json"))
    return path, json.loads(path.read_text(encoding="utf-8"))


def samples_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_samples.jsonl")


def test_aggregates_are_valid_and_carry_everything(tmp_path: Path) -> None:
    hub = {"scienceqa": HubDataset("org/ScienceQA", revision="abc")}
    options = ExportOptions(now=1_760_000_000.5, hub=hub, organisation="Us", relationship="third_party")
    done = export([MAJORITY], "every-eval-ever", str(tmp_path / "out"), options)
    assert len(done.files) == len(record().tasks)
    for file in done.files:
        valid(json.loads(Path(file).read_text(encoding="utf-8")), "eval.schema.json")
    path, content = read(done.files, "chartqa")
    assert uuid.UUID(path.stem).version == 4
    assert path.parts[-4:-1] == ("chartqa", "unknown", "majority-answer")
    assert content["evaluation_id"] == "chartqa/majority-answer/1760000000.500"
    assert content["eval_library"]["additional_details"]["commit"] == record().provenance["commit"]["id"]
    task = next(t for t in record().tasks if t.plan.name == "chartqa")
    assert len(content["evaluation_results"]) == len(task.values)
    for result, value in zip(content["evaluation_results"], task.values, strict=True):
        interval = result["score_details"]["uncertainty"]["confidence_interval"]
        assert result["score_details"]["score"] == value.estimate
        assert (interval["lower"], interval["upper"], interval["method"]) == (value.low, value.high, value.method)
        assert result["score_details"]["uncertainty"]["num_samples"] == value.n_scored
        assert result["metric_config"]["metric_parameters"]["signature"] == value.signature
        assert result["score_details"]["details"]["sample_set"] == task.sample_set
        assert result["source_data"]["source_version"] == f"sha256:{task.data_revision}"
        assert result["generation_config"]["generation_args"]["prompt_template"] == task.plan.prompt_text
    _, science = read(done.files, "scienceqa")
    assert science["evaluation_results"][0]["source_data"]["hf_repo"] == "org/ScienceQA"


def test_samples_are_valid_and_repeat_the_score(tmp_path: Path) -> None:
    done = export([NEIGHBOUR], "every-eval-ever", str(tmp_path / "out"), ExportOptions(samples=True))
    path, content = read(done.files, "mmbench-mini")
    lines = samples_of(path).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in lines.splitlines()]
    for row in rows[:100]:
        valid(row, "instance_level_eval.schema.json")
    details = content["detailed_evaluation_results"]
    assert details["checksum"] == hashlib.sha256(lines.encode("utf-8")).hexdigest()
    assert details["total_rows"] == len(rows) > 0
    valid(content, "eval.schema.json")
    for result in (r for r in content["evaluation_results"] if "/" not in r["evaluation_name"]):
        mine = [r for r in rows if r["evaluation_result_id"] == result["evaluation_result_id"]]
        assert len(mine) == result["score_details"]["uncertainty"]["num_samples"]
        share = sum(r["evaluation"]["is_correct"] for r in mine) / len(mine)
        assert share == pytest.approx(result["score_details"]["score"])


def test_what_has_no_verdict_or_no_score_is_left_out_and_said(tmp_path: Path) -> None:
    done = export([NEIGHBOUR], "every-eval-ever", str(tmp_path / "out"), ExportOptions(samples=True))
    assert any("coco-captions: no samples of cider@subset-idf" in note for note in done.notes)
    assert any("scienceqa: scienceqa: 80 of 200 samples are unscored, left out" in note for note in done.notes)
    scores = read_run(NEIGHBOUR).scores()
    scored = int(((scores["task"] == "scienceqa") & scores["value"].notna()).sum())
    path, _ = read(done.files, "scienceqa")
    assert len(samples_of(path).read_text(encoding="utf-8").splitlines()) == scored


def test_samples_stay_at_home_unless_asked_for(tmp_path: Path) -> None:
    done = export([MAJORITY], "every-eval-ever", str(tmp_path / "out"))
    assert not list((tmp_path / "out").rglob("*.jsonl"))
    assert any("--organisation" in note for note in done.notes)
