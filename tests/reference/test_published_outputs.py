"""Published answers of real models, scored to the exact counts that their sources give (shared_data/README.md)."""

from __future__ import annotations

import json

import pytest

from harness.metrics.base import ScoringContext
from harness.metrics.charts import relaxed_accuracy_metric
from harness.metrics.choice import mmbench_metric, multiple_choice_metric, scienceqa_metric
from harness.predictions.reading import read_predictions
from harness.records import Case, Sample

CHARTQA = "chartqa/model_outputs/qwen2.5-vl-7b-instruct_subset.json"
LLAVA = "scienceqa/model_outputs/llava-v1.5-13b_subset_output.json"
GPT3 = "scienceqa/model_outputs/gpt3_cot_subset.json"
MMBENCH = "mmbench/model_outputs/llava-v1.5-13b_subset.xlsx"
MMBENCH_LINES = "mmbench/model_outputs/llava-v1.5-13b_subset.jsonl"


def counts(metric, cases):
    scores = metric.score(cases, ScoringContext())
    assert all(score.unscored is None for score in scores)
    return sum(score.value for score in scores), len(scores)


def gold_cases(path, field="", value=""):
    return [
        Case(prediction.gold, prediction.text)
        for prediction in read_predictions(path).predictions
        if not field or prediction.gold.metadata[field] == value
    ]


@pytest.fixture(scope="module")
def problems(shared_data):
    return json.loads((shared_data / "scienceqa" / "problems.json").read_text())


@pytest.mark.parametrize(("subset", "right", "total"), [("human", 303, 360), ("augmented", 176, 184)])
def test_chartqa_qwen(shared_data, subset, right, total):
    cases = gold_cases(shared_data / CHARTQA, "subset", subset)
    assert counts(relaxed_accuracy_metric(), cases) == (right, total)


@pytest.mark.parametrize(("modality", "right", "total"), [("", 185, 250), ("image", 99, 130)])
def test_scienceqa_llava(shared_data, modality, right, total):
    cases = gold_cases(shared_data / LLAVA, "modality" if modality else "", modality)
    assert counts(scienceqa_metric(), cases) == (right, total)


def test_scienceqa_llava_verdicts_are_those_of_the_file_itself(shared_data):
    published = json.loads((shared_data / LLAVA).read_text())
    right = {entry["question_id"] for entry in published["correct"]}
    scores = scienceqa_metric().score(gold_cases(shared_data / LLAVA), ScoringContext())
    assert {score.unit for score in scores if score.value == 1.0} == right
    parsed = {entry["question_id"]: entry["parsed_ans"] for part in published.values() for entry in part}
    assert {score.unit: score.extracted for score in scores} == parsed


def test_scienceqa_prompts_take_apart_into_the_published_problems(shared_data, problems):
    for prediction in read_predictions(shared_data / LLAVA).predictions:
        problem, gold = problems[prediction.sample_id], prediction.gold
        assert (gold.question, gold.hint, list(gold.choices)) == (
            problem["question"],
            problem["hint"],
            problem["choices"],
        )


@pytest.mark.parametrize(("only_images", "right", "total"), [(False, 180, 250), (True, 87, 130)])
def test_scienceqa_gpt3(shared_data, problems, only_images, right, total):
    cases = []
    for prediction in read_predictions(shared_data / GPT3).predictions:
        problem = problems[prediction.sample_id]
        sample = Sample(
            prediction.sample_id, references=("ABCDE"[problem["answer"]],), choices=tuple(problem["choices"])
        )
        if problem["image"] or not only_images:
            cases.append(Case(sample, prediction.text))
    assert counts(scienceqa_metric(), cases) == (right, total)


@pytest.mark.parametrize(
    ("variant", "right", "total"), [("circular", 421, 627), ("vanilla-first", 470, 627), ("vanilla-all", 1782, 2348)]
)
def test_mmbench_llava(shared_data, variant, right, total):
    cases = gold_cases(shared_data / MMBENCH)
    assert counts(mmbench_metric(variant), cases) == (right, total)


@pytest.mark.parametrize("variant", ["letter", "vlmevalkit"])
def test_mmbench_single_letters_read_alike_by_both_rules(shared_data, variant):
    assert counts(multiple_choice_metric(variant), gold_cases(shared_data / MMBENCH)) == (1782, 2348)


def test_both_mmbench_files_hold_the_same_answers_under_the_same_ids(shared_data):
    sheet = {p.sample_id: p.text for p in read_predictions(shared_data / MMBENCH).predictions}
    lines = {p.sample_id: p.text for p in read_predictions(shared_data / MMBENCH_LINES).predictions}
    assert sheet == lines
    assert len(sheet) == 2348


def test_caption_results_are_recognised(shared_data):
    folder = shared_data / "coco" / "flickr30k_metric_test" / "results"
    for path in sorted(folder.glob("*_results.json")):
        found = read_predictions(path)
        assert (found.format, len(found.predictions)) == ("coco", 1000)
