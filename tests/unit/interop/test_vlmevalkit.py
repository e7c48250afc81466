"""VLMEvalKit's files become sealed runs: worked examples in each of its forms, and every bad file refused by name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from harness.compare.align import align
from harness.engine.rescore import rescore
from harness.errors import CompareError, PredictionError
from harness.interop import InteropError
from harness.interop.exporting import export
from harness.interop.imported import Imported
from harness.interop.vlmevalkit import import_vlmevalkit
from harness.records import MetricValue
from harness.store.runs import read_run
from tests.unit.interop.runs import MAJORITY

CHART: Sequence[dict[str, Any]] = (
    {"index": 0, "question": "How many?", "answer": "4", "split": "test_human", "prediction": "4"},
    {"index": 1, "question": "Which year?", "answer": "2000", "split": "test_augmented", "prediction": "1999"},
    {"index": 2, "question": "Who?", "answer": "Ann", "split": "test_human", "prediction": "Bob"},
    {
        "index": 3,
        "question": "Why?",
        "answer": "rain",
        "split": "test_human",
        "prediction": "Failed to obtain answer via API.",
    },
)
SCIENCE: Sequence[dict[str, Any]] = (
    {"index": 5, "question": "Which?", "A": "x", "B": "y", "C": None, "answer": "B", "prediction": "B", "hint": "h"},
    {"index": 6, "question": "What?", "A": "x", "B": "y", "C": "z", "answer": "C", "prediction": "The answer is A."},
    {"index": 7, "question": "Where?", "A": "x", "B": "y", "C": "z", "answer": "A", "prediction": None},
)
BENCH: Sequence[dict[str, Any]] = tuple(
    {
        "index": index,
        "question": "Which?",
        "A": "x",
        "B": "y",
        "answer": answer,
        "prediction": prediction,
        "category": "colour",
    }
    for index, answer, prediction in ((1, "A", "A"), (1_000_001, "B", "B"), (2, "A", "A"), (1_000_002, "B", "A"))
)
COCO: Sequence[dict[str, Any]] = (
    {"index": 0, "answer": "['a dog runs', \"a dog's run\"]", "prediction": "a dog runs"},
    {"index": 1, "answer": "['two cats sleep', 'cats asleep']", "prediction": "two cats sleep"},
)


def xlsx(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    workbook = Workbook()
    assert workbook.active is not None
    workbook.active.append(list(rows[0]))
    for row in rows:
        workbook.active.append([row.get(name) for name in rows[0]])
    workbook.save(path)
    return path


def tsv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_json(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    text = json.dumps([{name: float("nan") if value is None else value for name, value in row.items()} for row in rows])
    path.write_text(text, encoding="utf-8")
    return path


FORMS: dict[str, Callable[[Path, Sequence[dict[str, Any]]], Path]] = {"xlsx": xlsx, "tsv": tsv, "json": as_json}


def main_value(made: Imported, subset: str = "all") -> MetricValue:
    return next(v for v in made.run.record.tasks[0].values if v.subset == subset)


@pytest.mark.parametrize("form", FORMS)
def test_chartqa_in_every_form_of_file(form: str, tmp_path: Path) -> None:
    path = FORMS[form](tmp_path / f"Qwen2-VL_7B_ChartQA_TEST.{form}", CHART)
    (made,) = import_vlmevalkit([path], tmp_path / "runs")
    value = main_value(made)
    assert (value.estimate, value.n_scored, value.n_total) == (pytest.approx(2 / 3), 3, 4)
    assert main_value(made, "human").n_total == 3
    assert made.run.record.model == "qwen2-vl_7b"
    assert made.run.record.tasks[0].unscored == {"no_answer": 1}
    assert any("1 of 4 rows are failures of the model" in note for note in made.notes)


@pytest.mark.parametrize("form", FORMS)
def test_scienceqa_in_every_form_of_file(form: str, tmp_path: Path) -> None:
    (made,) = import_vlmevalkit([FORMS[form](tmp_path / f"m_ScienceQA_TEST.{form}", SCIENCE)], tmp_path / "runs")
    value = main_value(made)
    assert (value.estimate, value.n_scored, value.n_total) == (pytest.approx(1 / 3), 3, 3)
    samples = made.run.samples().set_index("sample_id")
    assert list(samples.loc["ScienceQA_TEST:5", "choices"]) == ["x", "y"]
    assert samples.loc["ScienceQA_TEST:5", "hint"] == "h"
    assert samples.loc["ScienceQA_TEST:7", "text"] == ""


def test_mmbench_counts_a_question_only_when_every_pass_is_right(tmp_path: Path) -> None:
    (made,) = import_vlmevalkit([xlsx(tmp_path / "m_MMBench_DEV_EN_V11.xlsx", BENCH)], tmp_path / "runs")
    plan = made.run.record.tasks[0].plan
    assert (plan.name, plan.split) == ("mmbench-en", "MMBench_DEV_EN_V11")
    assert main_value(made).estimate == 0.5
    assert main_value(made, "colour").n_total == 2


def test_captions_take_the_printed_list_as_references(tmp_path: Path) -> None:
    (made,) = import_vlmevalkit([tsv(tmp_path / "m_COCO_VAL.tsv", COCO)], tmp_path / "runs", metrics=["exact_match"])
    samples = made.run.samples()
    assert [list(found) for found in samples["references"]] == [
        ["a dog runs", "a dog's run"],
        ["two cats sleep", "cats asleep"],
    ]
    assert main_value(made).estimate == 1.0


def test_a_printed_list_is_read_and_never_run(tmp_path: Path) -> None:
    bad = [{**COCO[0], "answer": "__import__('os').getcwd()"}]
    with pytest.raises(InteropError, match=r'row 2: column "answer" is no list of captions'):
        import_vlmevalkit([tsv(tmp_path / "m_COCO_VAL.tsv", bad)], tmp_path / "runs")


def test_a_folder_gives_one_run_with_all_its_benchmarks_and_no_side_files(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "m"
    folder.mkdir(parents=True)
    xlsx(folder / "m_ChartQA_TEST.xlsx", CHART)
    xlsx(folder / "m_ScienceQA_TEST.xlsx", SCIENCE)
    xlsx(folder / "m_ScienceQA_TEST_exact_matching_result.xlsx", SCIENCE)
    xlsx(folder / "m_MMStar.xlsx", SCIENCE)
    (folder / "m_ChartQA_TEST_acc.csv").write_text("Overall\n50\n")
    (made,) = import_vlmevalkit([folder], tmp_path / "runs")
    assert [task.plan.name for task in made.run.record.tasks] == ["chartqa", "scienceqa"]
    assert sum("left out, not the answers to a known benchmark" in note for note in made.notes) == 2


def test_an_imported_run_is_marked_and_never_joined_with_one_of_ours_unasked(tmp_path: Path) -> None:
    (made,) = import_vlmevalkit([xlsx(tmp_path / "m_ChartQA_TEST.xlsx", CHART)], tmp_path / "runs")
    assert "imported from VLMEvalKit" in made.run.record.identity.warnings[0]
    with pytest.raises(CompareError, match=r"prompt differs(.|\n)*not known \(VLMEvalKit\)"):
        align([made.run, read_run(MAJORITY)])
    export([made.run.path], "every-eval-ever", str(tmp_path / "out"))
    (file,) = (tmp_path / "out").rglob("*.json")
    text = file.read_text(encoding="utf-8")
    assert "generation_config" not in text
    assert "not known (VLMEvalKit)" in text


def test_two_imported_models_compare_and_can_be_scored_again(tmp_path: Path) -> None:
    better = [{**row, "prediction": row["answer"]} for row in CHART]
    paths = [xlsx(tmp_path / "a_ChartQA_TEST.xlsx", CHART), xlsx(tmp_path / "b_ChartQA_TEST.xlsx", better)]
    first, second = import_vlmevalkit(paths, tmp_path / "runs")
    with pytest.raises(CompareError, match="data revision differs"):
        align([first.run, second.run])
    assert align([first.run, second.run], allow=True).columns[0].marks
    assert rescore(first.run.path, reason="test").record.tasks[0].values[0] == main_value(first)


@pytest.mark.parametrize(
    ("column", "name", "rows"),
    [
        ("prediction", "m_ChartQA_TEST", CHART),
        ("answer", "m_ScienceQA_VAL", SCIENCE),
        ("index", "m_COCO_VAL", COCO),
        ("A", "m_MMBench_DEV_EN", BENCH),
    ],
)
def test_a_missing_column_is_named(column: str, name: str, rows: Sequence[dict[str, Any]], tmp_path: Path) -> None:
    cut = [{key: value for key, value in row.items() if key != column} for row in rows]
    with pytest.raises(InteropError, match=rf'{name}\.xlsx: has no column "{column}"; VLMEvalKit\'s answers to'):
        import_vlmevalkit([xlsx(tmp_path / f"{name}.xlsx", cut)], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_other_faults_name_file_and_row(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(InteropError, match=r"which benchmark\? The name should be MODEL_BENCHMARK"):
        import_vlmevalkit([xlsx(tmp_path / "answers.xlsx", CHART)], runs)
    with pytest.raises(InteropError, match="there is no such file"):
        import_vlmevalkit([tmp_path / "none"], runs)
    with pytest.raises(InteropError, match='"ChartQA_TEST:0" stood before'):
        import_vlmevalkit([xlsx(tmp_path / "m_ChartQA_TEST.xlsx", [*CHART, CHART[0]])], runs)
    unkeyed = [{**row, "answer": None} for row in CHART]
    with pytest.raises(InteropError, match="no row has an answer key"):
        import_vlmevalkit([tsv(tmp_path / "m_ChartQA_TEST.tsv", unkeyed)], runs)
    wrong = [{**SCIENCE[0], "answer": "D"}]
    with pytest.raises(InteropError, match="row 2: column \"answer\" is 'D'"):
        import_vlmevalkit([xlsx(tmp_path / "m_ScienceQA_TEST.xlsx", wrong)], runs)
    (tmp_path / "n_ChartQA_TEST.tsv").write_text("index\tquestion\n1\n")
    with pytest.raises(InteropError, match="row 2 has 1 cells, the first row names 2"):
        import_vlmevalkit([tmp_path / "n_ChartQA_TEST.tsv"], runs)
    (tmp_path / "o_ChartQA_TEST.json").write_text('{"Overall": 50}')
    with pytest.raises((InteropError, PredictionError), match="o_ChartQA_TEST"):
        import_vlmevalkit([tmp_path / "o_ChartQA_TEST.json"], runs)


def test_model_and_benchmark_can_be_given(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "answers.xlsx", CHART)
    (made,) = import_vlmevalkit([path], tmp_path / "runs", model="Mine 1", benchmark="ChartQA_TEST")
    assert made.run.record.model == "mine-1"
    with pytest.raises(InteropError, match="belongs to one file, 2 are given"):
        import_vlmevalkit([path, xlsx(tmp_path / "b.xlsx", CHART)], tmp_path / "runs", benchmark="ChartQA_TEST")
