"""Perturbed images and options: properties of every step, and worked examples of the drop they cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from harness.compare.drops import drops
from harness.engine.images import STEPS
from harness.engine.option_order import reordered
from harness.engine.perturbations import PERTURBATIONS
from harness.engine.run import run_suite
from harness.errors import CompareError, SuiteError
from harness.records import Sample
from harness.tasks.loading import load_suite
from harness.vocabulary import IMAGE_STEPS


def picture(side: int = 96) -> Image.Image:
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((10, 10, 50, 80), fill="red")
    draw.ellipse((40, 30, 90, 70), fill="navy")
    return image


def distance(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other.resize(one.size), dtype=float)).mean())


def test_the_vocabulary_names_exactly_the_steps_there_are() -> None:
    assert set(IMAGE_STEPS) == set(STEPS)


@pytest.mark.parametrize("name", sorted(PERTURBATIONS))
def test_a_perturbation_is_the_same_every_time_and_leaves_its_input_alone(name: str) -> None:
    image = picture()
    before = image.tobytes()
    (one,), (two,) = PERTURBATIONS[name]((image,)), PERTURBATIONS[name]((picture(),))
    assert image.tobytes() == before
    assert one.tobytes() == two.tobytes()
    assert one.mode == "RGB"
    assert one.tobytes() != before


@pytest.mark.parametrize("kind", ["jpeg", "blur", "noise", "downscale", "contrast"])
def test_a_higher_level_is_further_from_the_picture(kind: str) -> None:
    image = picture()
    far = [distance(image, PERTURBATIONS[f"{kind}-{level}"]((image,))[0]) for level in range(1, 6)]
    assert far == sorted(far)
    assert far[4] > 2 * far[0]


def test_rotation_keeps_the_whole_picture() -> None:
    (turned,) = PERTURBATIONS["rotate-5"]((picture(100),))
    assert turned.size == (142, 142)
    assert turned.getpixel((0, 0)) == (255, 255, 255)


def test_the_letter_moves_with_its_option() -> None:
    sample = Sample("7", references=("B",), choices=("red", "blue", "green", "black"))
    orders = {reordered(sample, seed).choices for seed in range(40)}
    assert len(orders) > 10
    for seed in range(40):
        moved = reordered(sample, seed)
        assert moved.choices["ABCD".index(moved.references[0])] == "blue"
        assert sorted(moved.choices) == sorted(sample.choices)
        assert moved == reordered(sample, seed)


TRUTH, OPEN = Sample("1", references=("True",), choices=("True", "False")), Sample("2", references=("x",))


@pytest.mark.parametrize("sample", [TRUTH, OPEN])
def test_what_has_no_letter_keeps_its_order(sample: Sample) -> None:
    assert reordered(sample, 3) == sample


def test_the_robustness_suite_names_an_unchanged_task_for_every_form() -> None:
    tasks = {t.task.name: t.task for t in load_suite("robustness").tasks}
    forms = [task for task in tasks.values() if task.variant_of]
    assert len(forms) == 18
    assert all(tasks[str(task.variant_of)].variant_of is None for task in forms)


def test_a_form_of_a_task_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\nversion: 1\ndescription: d\ndata: bundled\ntasks:\n  - scienceqa\n"
        "  - {task: chartqa, variant_of: chartqs, image_steps: [grey]}\n"
    )
    with pytest.raises(SuiteError, match=r's\.yaml:7: tasks\.1\.variant_of: no unchanged task "chartqs".*scienceqa'):
        load_suite(path)
    path.write_text(path.read_text().replace("grey", "gray"))
    with pytest.raises(SuiteError, match=r'no image step named "gray"; did you mean "grey"'):
        load_suite(path)


@pytest.mark.usefixtures("scripted")
def test_a_drop_is_the_paired_difference_to_the_unchanged_task(card: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "data" / "chartqa" / "ChartQA Dataset" / "test"
    (root / "png").mkdir(parents=True)
    questions = []
    for number in range(40):
        Image.new("RGB", (16, 16), (200, number, 3 * number)).save(root / "png" / f"c{number}.png")
        questions.append({"imgname": f"c{number}.png", "query": f"Colour {number}?", "label": "red"})
    (root / "test_human.json").write_text(json.dumps(questions))
    (root / "test_augmented.json").write_text("[]")
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\nversion: 1\ndescription: d\ndata: folder\ntasks:\n  - chartqa\n"
        "  - {task: chartqa, name: grey, variant_of: chartqa, image_steps: [grey]}\n"
        "  - {task: chartqa, name: again, variant_of: chartqa, prompt: chartqa-terse}\n"
    )
    run = run_suite(suite, [card("m", sees="red")], data=tmp_path / "data", out=tmp_path / "out").runs[0]
    grey, again = drops(run)
    assert (grey.unchanged, grey.perturbed, grey.difference) == (1.0, 0.0, -1.0)
    assert grey.change == "grey"
    assert grey.low == grey.high == -1.0
    assert grey.p_holm == pytest.approx(2 / 10_001)
    assert (again.difference, again.p_holm) == (0.0, 1.0)
    assert again.change == "prompt chartqa-terse v1"


def test_a_run_without_perturbed_tasks_says_so(tmp_path: Path) -> None:
    run = run_suite("smoke", ["majority-answer"], out=tmp_path).runs[0]
    with pytest.raises(CompareError, match="run the suite `robustness`"):
        drops(run)
