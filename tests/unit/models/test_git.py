"""GIT: agreement with the library's own captioning and question answering."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.git import Git
from harness.records import Problem
from tests.model_inputs import GREEDY, item, items, picture, settings


@pytest.fixture(scope="module")
def model(tiny_checkpoints: dict[str, Path]) -> Git:
    loaded = Git.load(settings("git", tiny_checkpoints))
    assert isinstance(loaded, Git)
    return loaded


def test_captions_are_those_of_the_librarys_own_example(model: Git) -> None:
    pixels = model.processor(images=[picture(n) for n in range(4)], return_tensors="pt").pixel_values
    ids = model.model.generate(pixel_values=pixels, do_sample=False, max_new_tokens=12)
    official = model.processor.batch_decode(ids, skip_special_tokens=True)
    answers = model.generate(model.prepare([item(n, "") for n in range(4)]), GREEDY)
    assert [a.text for a in answers if isinstance(a, Generation)] == official
    assert len(set(official)) > 1


def test_answers_are_those_of_the_librarys_own_question_example(model: Git) -> None:
    import torch

    tokenizer = model.processor.tokenizer
    for asked in items("git"):
        pixels = model.processor(images=asked.images[0], return_tensors="pt").pixel_values
        words = tokenizer(asked.request.prompt, add_special_tokens=False).input_ids
        inputs = torch.tensor([[tokenizer.cls_token_id, *words]])
        ids = model.model.generate(pixel_values=pixels, input_ids=inputs, do_sample=False, max_new_tokens=12)
        (answer,) = model.generate(model.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == tokenizer.decode(ids[0, inputs.shape[1] :], skip_special_tokens=True)
        assert answer.prompt_tokens == inputs.shape[1]


def test_captions_and_questions_share_a_batch(model: Git) -> None:
    batch = [item(0, ""), *items("git")[1:]]
    together = model.generate(model.prepare(batch), GREEDY)
    assert together == [model.generate(model.prepare([one]), GREEDY)[0] for one in batch]


def test_a_prompt_beyond_the_last_position_fails_alone(model: Git) -> None:
    batch = items("git")
    batch[1] = item(1, "dog " * 90)
    answers = model.generate(model.prepare(batch), GREEDY)
    assert isinstance(answers[1], Problem)
    assert answers[1].kind == "prompt_too_long"
    assert [isinstance(answer, Generation) for answer in answers] == [True, False, True, True]


def test_a_picture_size_that_is_not_the_models_is_refused(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints["git"], tmp_path / "git"))
    stored = json.loads((folder / "processor_config.json").read_text())
    stored["image_processor"]["crop_size"] = {"height": 14, "width": 14}
    (folder / "processor_config.json").write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=r"gives 14 x 14 pixels and the model reads 28 x 28"):
        Git.load(settings("git", {"git": folder}))
