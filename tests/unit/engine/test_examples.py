"""What a model reads before it is asked: images after the task's steps, prompts, and candidates that cannot be read."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.cards.loading import load_card
from harness.engine.examples import examples, examples_checksum, reads_examples
from harness.engine.plan import ModelPlan, OpenTask, open_tasks, plan_model
from harness.engine.run import run_suite
from harness.records import TaskPlan
from harness.tasks.loading import load_suite

SUITE = "name: s\nversion: 1\ndescription: of a test\ndata: folder\ntasks: [{task}]\n"


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Three images with two captions each, black on white; the last image is missing."""
    root = tmp_path / "data" / "coco"
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    images = [{"id": n, "file_name": f"{n}.png"} for n in (1, 2, 3)]
    notes = [{"image_id": n, "caption": f"caption {k} of {n}"} for n in (1, 2, 3) for k in range(2)]
    (root / "annotations/captions_val2017.json").write_text(json.dumps({"images": images, "annotations": notes}))
    for n in (1, 2):
        page = Image.new("RGB", (100, 80), "white")
        page.paste((0, 0, 0), (40, 40, 50 + n, 50))
        page.save(root / f"val2017/{n}.png")
    return tmp_path / "data"


def planned(tmp_path: Path, data: Path, task: str, card: str = "random-choice") -> tuple[ModelPlan, OpenTask, TaskPlan]:
    (tmp_path / "s.yaml").write_text(SUITE.format(task=task))
    suite = load_suite(tmp_path / "s.yaml")
    loaded = load_card(card)
    plan = plan_model(loaded, suite, open_tasks(suite, data, None), loaded.settings())
    ((opened, described),) = plan.tasks
    return plan, opened, described


def test_candidates_have_ids_prompts_and_the_number_of_their_images(tmp_path: Path, coco: Path) -> None:
    plan, opened, task = planned(tmp_path, coco, "coco-retrieval")
    found = [(e.sample_id, e.prompt, e.n_images) for e in examples(plan, opened, task)]
    assert found[:3] == [("1", "", 1), ("1#0", "caption 0 of 1", 0), ("1#1", "caption 1 of 1", 0)]
    assert len(found) == 9


def test_images_have_passed_the_tasks_steps(tmp_path: Path, coco: Path) -> None:
    plan, opened, task = planned(tmp_path, coco, "coco-captions")
    cropped = dataclasses.replace(task, image_steps=("crop_margins",))
    whole, cut = next(examples(plan, opened, task)), next(examples(plan, opened, cropped))
    assert whole.load_images()[0].size == (100, 80)
    assert cut.load_images()[0].size == (11 + 32, 10 + 32)  # ink and 16 px around it


@pytest.mark.parametrize(
    "changes", [{"prompt_text": "a photo of {{ question }}"}, {"template": "{{ text }}!"}, {"image_steps": ("x",)}]
)
def test_the_checksum_of_the_candidates_knows_how_they_are_read(
    changes: dict[str, Any], tmp_path: Path, coco: Path
) -> None:
    _, opened, task = planned(tmp_path, coco, "coco-retrieval")
    assert examples_checksum(opened, task) != examples_checksum(opened, dataclasses.replace(task, **changes))


def test_the_checksum_knows_the_pixels(tmp_path: Path, coco: Path) -> None:
    _, opened, task = planned(tmp_path, coco, "coco-retrieval")
    before = examples_checksum(opened, task)
    Image.new("RGB", (100, 80), "red").save(coco / "coco/val2017/2.png")
    assert examples_checksum(opened, task) != before


def test_a_model_reads_the_samples_first_only_where_it_learns_or_ranks(tmp_path: Path, coco: Path) -> None:
    plan, _, captions = planned(tmp_path, coco, "coco-captions")
    assert reads_examples(plan, captions)
    bare = dataclasses.replace(plan, capabilities=dataclasses.replace(plan.capabilities, needs_examples=False))
    assert not reads_examples(bare, captions)
    assert reads_examples(bare, dataclasses.replace(captions, answer_by="retrieve"))


def test_a_missing_candidate_takes_the_queries_of_its_image_alone(
    tmp_path: Path, coco: Path, tiny_checkpoints: dict[str, Path]
) -> None:
    (tmp_path / "s.yaml").write_text(SUITE.format(task="coco-retrieval"))
    card = tmp_path / "tiny-clip.yaml"
    card.write_text(f"name: tiny-clip\nrun: {{family: clip, checkpoint: {tiny_checkpoints['clip']}}}\n")
    (run,) = run_suite(tmp_path / "s.yaml", [card], data=coco, out=tmp_path / "out", device="cpu").runs
    (task,) = run.record.tasks
    assert task.unscored == {"missing_image": 1, "unreadable_candidate": 2}
    failed = run.samples().set_index("sample_id")["failure_kind"].dropna()
    assert dict(failed) == {"3": "missing_image", "3#0": "unreadable_candidate", "3#1": "unreadable_candidate"}
    ranked = run.samples().dropna(subset="text").set_index("sample_id")["text"].map(json.loads)
    assert Counter(name for names in ranked[["1#0", "2#0"]] for name in names) == {"1": 2, "2": 2}
