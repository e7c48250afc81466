"""`model-index` and `.eval_results`: read back by huggingface_hub's own readers where it is there, fields by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.interop import InteropError
from harness.interop.exporting import ExportOptions, HubDataset, export
from tests.unit.interop.runs import MAJORITY, NEIGHBOUR, REFERENCE, changed, record

HUB = {"chartqa": HubDataset("org/ChartQA", "human", "abc123"), "chart-to-table": HubDataset("org/ChartQA", "tables")}


def index_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8").strip("-\n"))["model-index"]
    return found


def computed() -> int:
    return sum(v.subset == "all" and v.estimate is not None for task in record().tasks for v in task.values)


def test_model_index_has_one_result_for_each_task_and_metric(tmp_path: Path) -> None:
    done = export([MAJORITY], "model-index", str(tmp_path / "card.md"))
    (model,) = index_of(tmp_path / "card.md")
    assert model["name"] == "majority-answer"
    assert [r["task"]["name"] for r in model["results"]] == [task.plan.name for task in record().tasks]
    assert sum(len(r["metrics"]) for r in model["results"]) == computed()
    assert any("spice is left out" in note for note in done.notes)


def test_every_number_of_a_model_index_keeps_signature_samples_interval_and_origin(tmp_path: Path) -> None:
    export([MAJORITY], "model-index", str(tmp_path / "card.md"))
    values = {(t.plan.name, v.signature): (t, v) for t in record().tasks for v in t.values if v.subset == "all"}
    for result in index_of(tmp_path / "card.md")[0]["results"]:
        for metric in result["metrics"]:
            held = metric["args"]
            task, value = values[result["task"]["name"], held["signature"]]
            assert metric["value"] == value.estimate
            assert (held["low"], held["high"], held["interval_method"]) == (value.low, value.high, value.method)
            assert (held["n_scored"], held["n_total"]) == (value.n_scored, value.n_total)
            assert (held["sample_set"], held["data_revision"]) == (task.sample_set, task.data_revision)
            assert (held["run"], held["commit"]) == (record().run_id, record().provenance["commit"]["id"])


def test_the_hubs_own_reader_takes_the_model_index(tmp_path: Path) -> None:
    cards = pytest.importorskip("huggingface_hub", reason="huggingface_hub comes with the models extra")
    export([MAJORITY], "model-index", str(tmp_path / "card.md"), ExportOptions(source_url="https://example.org/runs"))
    card = cards.ModelCard.load(tmp_path / "card.md", ignore_metadata_errors=False)
    results = card.data.eval_results
    assert len(results) == computed()
    chart = next(r for r in results if r.task_name == "chartqa" and r.metric_config == "pix2struct")
    assert chart.metric_args["signature"] == "relaxed_accuracy|pix2struct|tol=0.05|zero=text|v1"
    assert (chart.task_type, chart.dataset_split) == ("visual-question-answering", "test")
    assert (chart.source_url, chart.source_name) == ("https://example.org/runs", f"vlm-harness run {record().run_id}")


def test_two_models_are_two_entries_and_cannot_share_an_id(tmp_path: Path) -> None:
    export([MAJORITY, NEIGHBOUR], "model-index", str(tmp_path / "card.md"))
    assert [m["name"] for m in index_of(tmp_path / "card.md")] == ["majority-answer", "nearest-neighbour"]
    with pytest.raises(InteropError, match=r"--model-id me/it: the runs are of majority-answer, nearest-neighbour"):
        export([MAJORITY, NEIGHBOUR], "model-index", str(tmp_path / "two.md"), ExportOptions(model_id="me/it"))


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InteropError, match=r"README\.md: exists already; remove it or give another --out"):
        export([MAJORITY], "model-index", str(tmp_path / "README.md"))
    assert (tmp_path / "README.md").read_text() == "mine"


def test_secrets_of_a_record_are_not_in_a_model_index(tmp_path: Path) -> None:
    def plant(content: dict[str, Any]) -> None:
        content["warnings"] = ["https://me:hunter2@host/v1 answered late", f"key hf_{'x' * 30}"]
        content["identity"]["settings"]["checkpoint"] = "/home/someone/secret/llava"

    run = changed(tmp_path, plant)
    export([run], "model-index", str(tmp_path / "card.md"))
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "answered late" in text
    assert "llava" in text
    assert not [word for word in ("hunter2", "hf_xxx", "someone") if word in text]


def test_eval_results_are_one_file_for_each_task_with_everything_in_its_notes(tmp_path: Path) -> None:
    options = ExportOptions(hub=HUB, source_url="https://example.org/runs")
    done = export([MAJORITY], "eval-results", str(tmp_path / "out"), options)
    assert [Path(f).name for f in done.files] == ["chartqa.yaml", "chart-to-table.yaml"]
    (entry,) = yaml.safe_load((tmp_path / "out/.eval_results/chartqa.yaml").read_text(encoding="utf-8"))
    task = next(t for t in record().tasks if t.plan.name == "chartqa")
    value = task.values[0]
    assert entry["dataset"] == {"id": "org/ChartQA", "task_id": "human", "revision": "abc123"}
    assert entry["value"] == value.estimate
    assert entry["date"] == record().timing["started"]
    assert set(entry) == {"dataset", "value", "date", "source", "notes"}
    for fact in (
        value.signature,
        value.method,
        f"{value.high:.6g}",
        f"n = {value.n_scored}/{value.n_total}",
        task.sample_set,
        task.data_revision,
        record().run_id,
        record().provenance["commit"]["id"],
    ):
        assert fact in entry["notes"]
    assert any("relaxed_accuracy@strict is left out" in note for note in done.notes)
    assert any("scienceqa (scienceqa) is left out" in note for note in done.notes)


def test_the_hubs_own_reader_takes_eval_results(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub comes with the models extra")
    if not hasattr(hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub does not know .eval_results")
    export([MAJORITY], "eval-results", str(tmp_path / "out"), ExportOptions(hub=HUB, percent=True))
    content = yaml.safe_load((tmp_path / "out/.eval_results/chartqa.yaml").read_text(encoding="utf-8"))
    (entry,) = hub.parse_eval_result_entries(content)
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("org/ChartQA", "human", "abc123")
    assert entry.value == pytest.approx(100 * record().tasks[1].values[0].estimate)
    assert "value in per cent" in entry.notes
    assert hub.eval_result_entries_to_yaml([entry]) == content


def test_eval_results_refuse_what_the_form_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(InteropError, match=r"no task can be named on the hub: .*chartqa \(chartqa\).*--hub-dataset"):
        export([MAJORITY], "eval-results", str(tmp_path / "a"))
    with pytest.raises(InteropError, match=r"one model's repository; the runs are of majority-answer, nearest"):
        export([MAJORITY, NEIGHBOUR], "eval-results", str(tmp_path / "b"), ExportOptions(hub=HUB))
    both = ExportOptions(hub={"chartqa": HubDataset("org/ChartQA", "test")})
    with pytest.raises(InteropError, match=r"chartqa and chart-to-table would both be org/ChartQA:test"):
        export([MAJORITY], "eval-results", str(tmp_path / "c"), both)


@pytest.mark.parametrize("text", ["chartqa", "chartqa=ChartQA", "=a/b", "chartqa=a/b/c", "chartqa=/b"])
def test_a_hub_dataset_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InteropError, match="NAME=OWNER/REPO"):
        HubDataset.parse(text)
    assert HubDataset.parse("chartqa=a/b:c@d") == ("chartqa", HubDataset("a/b", "c", "d"))


def test_runs_are_named_when_missing_or_doubled(tmp_path: Path) -> None:
    with pytest.raises(InteropError, match="no sealed run here"):
        export([tmp_path], "model-index", str(tmp_path / "x.md"))
    with pytest.raises(InteropError, match="is given twice, in two folders"):
        export([MAJORITY, changed(tmp_path, lambda content: None)], "model-index", str(tmp_path / "x.md"))
    assert export([MAJORITY, MAJORITY], "model-index", str(tmp_path / "x.md")).files


def test_runs_without_their_samples_are_exported_too(tmp_path: Path) -> None:
    export([REFERENCE / "reading-real--rapidocr"], "model-index", str(tmp_path / "card.md"))
    assert index_of(tmp_path / "card.md")[0]["name"] == "rapidocr"
