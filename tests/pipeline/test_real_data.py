"""Real benchmark files end to end: controls on all samples, tiny models of the real classes on the first of each task.

All models on all samples is `harness run --suite tests/pipeline/all_real.yaml …`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.engine.run import run_suite
from harness.tasks.schema import Subset

SUITE = Path(__file__).with_name("all_real.yaml")
FAMILIES = {"llava": "llava", "blip2_opt": "blip2", "blip2_t5": "blip2", "deplot": "pix2struct"}
SAMPLES = {
    "coco-captions": 80, "coco-train": 25, "chartqa": 544, "chart-to-table": 10, "mmbench-en": 54, "mmbench-cn": 54,
    "ccbench": 40, "mmbench-scienceqa": 24, "scienceqa": 250, "nlvr1": 720, "im2latex": 800, "texteller": 35,
}  # fmt: skip
"""Samples of each task, as counted in the files."""


def test_a_control_answers_every_real_sample_or_says_why_not(shared_data: Path, tmp_path: Path) -> None:
    outcome = run_suite(SUITE, ["majority-answer"], data=shared_data, out=tmp_path)
    results = {task.plan.name: task for task in outcome.runs[0].record.tasks}
    assert {name: task.n_samples for name, task in results.items()} == SAMPLES
    for name, task in results.items():
        assert task.n_answered + sum(task.unscored.values()) == task.n_samples, name
        for value in task.values:
            assert value.n_total > 0 or value.reason, (name, value.signature)
            assert (value.estimate is None) == bool(value.reason), (name, value.signature)
    # two formulas of the published im2latex list are empty, so their pages have no reference to score against
    assert dict(results["im2latex"].unscored) == {"empty_reference": 2}
    assert all(not task.unscored for name, task in results.items() if name != "im2latex")


def test_tiny_models_of_the_real_classes_answer_real_samples(
    shared_data: Path, tmp_path: Path, tiny_checkpoints: dict[str, Path]
) -> None:
    cards = []
    for name, family in FAMILIES.items():
        card = tmp_path / f"tiny-{name.replace('_', '-')}.yaml"
        run = {"family": family, "checkpoint": str(tiny_checkpoints[name]), "generation": {"*": {"max_new_tokens": 8}}}
        card.write_text(json.dumps({"name": card.stem, "run": run}))
        cards.append(card)
    outcome = run_suite(SUITE, cards, data=shared_data, out=tmp_path / "out", subset=Subset(first=4))
    assert outcome.failures == ()
    # the tiny language models have 256 and 512 positions, so long prompts have this named reason
    allowed = {"unsupported_input", "prompt_too_long", "empty_reference"}
    for run in outcome.runs:
        for task in run.record.tasks:
            assert set(task.unscored) <= allowed, (run.record.model, task.plan.name, task.unscored)
            for value in task.values:
                assert value.n_scored > 0 or value.reason, (run.record.model, value.signature)
    answered = {task.plan.name for run in outcome.runs for task in run.record.tasks if task.n_answered}
    assert answered == set(SAMPLES)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("chartqa", "chartqa/model_outputs/qwen2.5-vl-7b-instruct_subset.json"),
            {"human": (303, 360), "augmented": (176, 184)},
        ),
        (
            ("scienceqa", "scienceqa/model_outputs/llava-v1.5-13b_subset_output.json"),
            {"all": (185, 250), "image": (99, 130)},
        ),
        (("scienceqa", "scienceqa/model_outputs/gpt3_cot_subset.json"), {"all": (180, 250), "image": (87, 130)}),
        (("mmbench", "mmbench/model_outputs/llava-v1.5-13b_subset.xlsx"), {"all": (421, 627)}),
    ],
)
def test_published_outputs_score_as_published(
    shared_data: Path, arguments: tuple[str, str], expected: dict[str, tuple[int, int]]
) -> None:
    from harness.engine.predictions import score_predictions

    result = score_predictions(arguments[0], shared_data / arguments[1], data=shared_data)
    main = {v.subset: v for v in result.values if v.signature == result.values[0].signature}
    for subset, (right, total) in expected.items():
        assert main[subset].estimate == right / total
        assert (main[subset].n_scored, main[subset].n_total) == (total, total)


def test_first_pass_of_published_mmbench_answers(shared_data: Path) -> None:
    from harness.engine.predictions import score_predictions

    path = shared_data / "mmbench/model_outputs/llava-v1.5-13b_subset.xlsx"
    values = {v.variant: v for v in score_predictions("mmbench", path).values}
    assert values["vanilla@first"].estimate == 470 / 627
