"""Errors of two-stage chart models put down to reading or reasoning. Evidence: a case by hand, and real classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engine.rescore import rescore
from harness.engine.run import run_suite
from harness.engine.two_stage import OUTCOMES, Attribution, attribute_errors
from harness.errors import ModelError, StoreError
from harness.metrics.tables import rms
from harness.stats.intervals import wilson
from harness.store.runs import Run, read_run
from harness.tasks.schema import Subset

GOLD, READ, LABEL = (3, 4, 5, 6, 7), (3, 9, 5, 8, None), (3, 4, 7, 8, 7)
"""Five charts: the true value, the one that the reader writes (`None`: it fails), and the right answer."""
EXPECTED = ("both right", "reading error", "reasoning error", "right on the read table only", "unscored")


def table(value: int) -> str:
    return f"Year | Value <0x0A> 2001 | {value}"


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    from PIL import Image

    test = tmp_path / "data" / "chartqa" / "ChartQA Dataset" / "test"
    (test / "png").mkdir(parents=True)
    (test / "tables").mkdir()
    for n, value in enumerate(GOLD):
        Image.new("RGB", (20 + n, 20)).save(test / "png" / f"c{n}.png")
        (test / "tables" / f"c{n}.csv").write_text(f"Year,Value\n2001,{value}\n")
    rows = [{"imgname": f"c{n}.png", "query": f"Value in {n}?", "label": str(v)} for n, v in enumerate(LABEL)]
    (test / "test_human.json").write_text(json.dumps(rows))
    return tmp_path / "data"


def cards(folder: Path, **runs: dict[str, Any]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, run in runs.items():
        (folder / f"{name}.yaml").write_text(json.dumps({"name": name, "run": run}))
    return [folder / f"{name}.yaml" for name in runs]


@pytest.fixture
def scripted_parts(installed: Callable[..., Path]) -> None:
    places = {"width-reader": "tests.two_stage_parts:WidthReader", "last-cell": "tests.two_stage_parts:LastCell"}
    installed("two-stage-parts", {"harness.models": places})


PARTS = {"reader": "eye", "reasoner": "mind"}
EYE = {
    "family": "width-reader",
    "options": {"tables": {str(20 + n): table(v) if v is not None else None for n, v in enumerate(READ)}},
}


@pytest.fixture
def runs(tmp_path: Path, charts: Path, scripted_parts: None) -> dict[str, Run]:
    paths = cards(
        tmp_path / "cards",
        two={"family": "pipeline", "parts": PARTS},
        given={"family": "pipeline", "parts": PARTS, "options": {"table": "given"}},
        shots={
            "family": "pipeline",
            "parts": PARTS,
            "options": {"few_shot": [{"table": "a | b", "question": "q", "answer": "b"}]},
        },
        long={"family": "pipeline", "parts": PARTS, "generation": {"chartqa": {"max_new_tokens": 99}}},
        worded={"family": "pipeline", "parts": PARTS, "prompts": {"chartqa": "{{ question }}"}},
        mind={"family": "last-cell"},
        other={"family": "last-cell", "options": {"weights": "other"}},
        eye=EYE,
    )
    outcome = run_suite("two-stage", paths[:-1], data=charts, out=tmp_path / "out")
    assert outcome.failures == ()
    return {run.record.model: run for run in outcome.runs}


def outcomes(found: Attribution) -> list[str]:
    return list(found.samples["outcome"])


def test_every_outcome_is_told_apart_and_counted_with_its_interval(runs: dict[str, Run]) -> None:
    found = attribute_errors(runs["two"], runs["mind"])
    assert tuple(outcomes(found)) == EXPECTED
    assert list(found.samples["table_f1"])[:4] == [1.0, 0.0, 1.0, 0.0]
    assert found.samples["table_f1"].isna().tolist()[4]
    low, high = wilson(1, 4)
    for name in OUTCOMES:
        row = found.summary.loc[name]
        assert (row["count"], row["share"], row["n_scored"], row["n_total"]) == (1, 0.25, 4, 5)
        assert (row["low"], row["high"], row["method"]) == (low, high, "wilson")
    assert found.summary.loc["unscored", "count"] == 1
    assert found.summary.loc["reading error", "mean_table_f1"] == 0.0
    assert found.signature.startswith("relaxed_accuracy|pix2struct|")


def test_the_same_pipeline_on_given_tables_says_the_same_as_its_reasoner(runs: dict[str, Run]) -> None:
    assert outcomes(attribute_errors(runs["two"], runs["given"])) == list(EXPECTED)


@pytest.mark.parametrize(
    ("pipeline", "gold", "message"),
    [
        ("two", "other", "other differs from the reasoner of two"),
        ("shots", "mind", "worked examples"),
        ("shots", "given", "worked examples"),
        ("long", "mind", "the runs generate differently"),
        ("worded", "mind", "worded differently"),
        ("mind", "mind", "has no reasoner; give a run of family pipeline"),
    ],
)
def test_runs_that_differ_in_more_than_the_table_are_refused(
    runs: dict[str, Run], pipeline: str, gold: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        attribute_errors(runs[pipeline], runs[gold])


def test_a_missing_task_or_metric_is_named_with_those_that_are_there(runs: dict[str, Run]) -> None:
    with pytest.raises(StoreError, match="has no task charts; its tasks: chartqa, chartqa-gold-table"):
        attribute_errors(runs["two"], runs["mind"], task="charts")
    with pytest.raises(StoreError, match="one metric must begin with 'cider'; there: none"):
        attribute_errors(runs["two"], runs["mind"], signature="cider")


def test_the_table_is_in_journal_samples_cache_and_rescoring(
    runs: dict[str, Run], tmp_path: Path, charts: Path
) -> None:
    run = runs["two"]
    steps = json.dumps([["table", table(3)]])
    assert run.samples()["steps"][0] == steps
    line = json.loads((run.path / "journal" / "chartqa.jsonl").read_text().splitlines()[0])
    assert line["steps"][0][0] == "table"
    again = run_suite("two-stage", [tmp_path / "cards" / "two.yaml"], data=charts, out=tmp_path / "out").runs[0]
    assert again.record.timing["requests_asked"] == 1  # the chart that could not be read
    assert again.samples()["steps"][0] == steps
    rescored = rescore(run.path, reason="to see the steps stay")
    assert rescored.samples()["steps"][0] == steps


def test_a_sealed_run_keeps_the_parts_of_its_model(runs: dict[str, Run]) -> None:
    parts = read_run(runs["two"].path).record.identity.settings.parts
    assert {name: part.family for name, part in parts.items()} == {"reader": "width-reader", "reasoner": "last-cell"}


def test_questions_on_true_tables_show_no_image_even_where_it_is_missing(
    tmp_path: Path, charts: Path, scripted_parts: None
) -> None:
    test = charts / "chartqa" / "ChartQA Dataset" / "test"
    (test / "png" / "c0.png").unlink()
    (test / "tables" / "c1.csv").unlink()
    (path,) = cards(tmp_path / "cards", mind={"family": "last-cell"})
    (run,) = run_suite("two-stage", [path], data=charts, out=tmp_path / "out").runs
    plain, gold = run.record.tasks
    assert plain.unscored == {"missing_image": 1, "unsupported_input": 4}
    assert gold.unscored == {"missing_table": 1}
    samples = run.samples().set_index("task").loc["chartqa-gold-table"]
    assert all(len(images) == 0 for images in samples["image_locators"])
    assert samples["text"].tolist()[0] == "3"


def test_real_classes_run_on_the_mini_charts_and_are_attributed(
    tmp_path: Path, tiny_checkpoints: dict[str, Path]
) -> None:
    places = {name: str(tiny_checkpoints[name]) for name in ("deplot", "qwen2")}
    reader = {"family": "pix2struct", "checkpoint": places["deplot"], "generation": {"*": {"max_new_tokens": 16}}}
    two, mind, _ = cards(
        tmp_path / "cards",
        two={"family": "pipeline", "parts": PARTS, "generation": {"*": {"max_new_tokens": 4}}},
        mind={"family": "text", "checkpoint": places["qwen2"], "generation": {"*": {"max_new_tokens": 4}}},
        eye=reader,
    )
    outcome = run_suite("two-stage", [two, mind], out=tmp_path / "out", subset=Subset(first=6), device="cpu")
    pipeline, gold = outcome.runs
    assert pipeline.record.tasks[0].n_answered == gold.record.tasks[1].n_answered == 6
    found = attribute_errors(pipeline, gold)
    assert found.summary["count"].sum() == 6
    samples = gold.samples()
    samples = samples[samples["task"] == "chartqa-gold-table"].reset_index(drop=True)
    asked = pipeline.samples()
    for n, row in found.samples.iterrows():
        ((_, read),) = json.loads(asked["steps"][n])
        assert row["table_f1"] == rms(read, json.loads(samples["metadata"][n])["table"]).f1


def test_the_command_prints_outcomes_with_intervals(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli.main import main

    def call(*more: str) -> str:
        arguments = ["attribute", str(runs["two"].path), str(runs["mind"].path), *more]
        monkeypatch.setattr("sys.argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        return capsys.readouterr().out

    out = call()
    assert all(name in out for name in OUTCOMES)
    assert "4/5 samples scored in both runs" in out
    content = json.loads(call("--json"))
    assert [row["outcome"] for row in content["summary"]] == [*OUTCOMES, "unscored"]
    assert [row["outcome"] for row in content["samples"]] == list(EXPECTED)
