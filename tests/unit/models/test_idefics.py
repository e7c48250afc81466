"""IDEFICS-1: agreement with the library's interleaved prompts, several images, places and addresses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError
from harness.models.base import Generation, ModelInput
from harness.models.idefics import Idefics, interleaved
from harness.models.sight import first_logits
from harness.records import Problem
from tests.model_inputs import GREEDY, item, items, picture, settings


@pytest.fixture(scope="module")
def model(tiny_checkpoints: dict[str, Path]) -> Idefics:
    loaded = Idefics.load(settings("idefics", tiny_checkpoints))
    assert isinstance(loaded, Idefics)
    return loaded


def two_images(prompt: str, *, first: int = 1, second: int = 2) -> ModelInput:
    return item(0, prompt, pictures=(picture(first), picture(second)))


def official(model: Idefics, parts: list[Any]) -> str:
    inputs = model.processor(text=[parts], return_tensors="pt", add_end_of_utterance_token=False)
    ids = model.model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
    return str(model.processor.tokenizer.decode(ids, skip_special_tokens=True))


def test_answers_are_those_of_the_librarys_interleaved_prompt(model: Idefics) -> None:
    for asked in items("idefics"):
        after = asked.request.prompt.partition("<image>")[2]
        (answer,) = model.generate(model.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == official(model, ["User:", asked.images[0], after])


def test_images_anywhere_in_the_prompt_are_those_of_the_library(model: Idefics) -> None:
    asked = two_images("a dog<image>near<image>two cats")
    (answer,) = model.generate(model.prepare([asked]), GREEDY)
    assert isinstance(answer, Generation)
    assert answer.text == official(model, ["a dog", picture(1), "near", picture(2), "two cats"])


def test_rows_with_two_images_one_and_none_share_a_batch(model: Idefics) -> None:
    batch = [two_images("<image><image>what ?"), *items("idefics")[1:3], item(3, "yes or no", pictures=())]
    together = model.generate(model.prepare(batch), GREEDY)
    assert all(isinstance(answer, Generation) for answer in together)
    assert together == [model.generate(model.prepare([one]), GREEDY)[0] for one in batch]


def test_the_picture_before_the_question_is_seen(model: Idefics) -> None:
    """Each word attends to the last image before it, so the order of two images matters."""
    prompt = "<image>dog<image>what ?"
    logits = [first_logits(model, two_images(prompt, first=a, second=b)) for a, b in ((1, 2), (2, 1))]
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3


def test_parts_between_places_are_kept_in_order_and_empty_ones_left_out() -> None:
    assert interleaved("<image>a dog <image><image>", ("A", "B", "C")) == ["A", "a dog ", "B", "C"]
    assert interleaved("yes or no", ()) == ["yes or no"]
    assert interleaved("", ()) == []


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("what ?", "prompt_image_mismatch"),
        ("<image>what is <image> ?", "prompt_image_mismatch"),
        ("<image>https://example.org/dog.png", "unsupported_input"),
    ],
)
def test_a_prompt_that_cannot_be_asked_fails_alone(model: Idefics, prompt: str, kind: str) -> None:
    asked = items("idefics")
    asked[1] = item(1, prompt)
    answers = model.generate(model.prepare(asked), GREEDY)
    assert isinstance(answers[1], Problem)
    assert answers[1].kind == kind
    rest = [asked[0], *asked[2:]]
    assert [answers[0], *answers[2:]] == model.generate(model.prepare(rest), GREEDY)


def test_an_address_inside_a_sentence_is_only_text(model: Idefics) -> None:
    (answer,) = model.generate(model.prepare([item(0, "<image>what is https://example.org ?")]), GREEDY)
    assert isinstance(answer, Generation)


def test_a_picture_size_that_is_not_the_models_is_refused(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints["idefics"], tmp_path / "idefics"))
    stored = json.loads((folder / "processor_config.json").read_text())
    stored["image_processor"]["image_size"] = 14
    stored["image_processor"]["size"] = {"height": 14, "width": 14}
    (folder / "processor_config.json").write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=r"makes 14 pixels a side and the model reads 28"):
        Idefics.load(settings("idefics", {"idefics": folder}))


def test_the_template_places_the_images_before_the_question() -> None:
    import jinja2

    template = jinja2.Environment(autoescape=False).from_string(Idefics.template)
    assert template.render(text="what ?", images=2) == "<image><image>Question: what ? Answer:"
    assert template.render(text="", images=1) == "<image>An image of"
