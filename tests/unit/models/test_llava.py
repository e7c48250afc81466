"""LLaVA: agreement with the library's own calls, traps of its processor, ranking of options."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.llava import Llava
from harness.records import Problem
from tests.model_inputs import GREEDY, item, items, settings

CHOICES = ("red chair", "dog", "two cats on the grass")


@pytest.fixture(scope="module")
def model(tiny_checkpoints: dict[str, Path]) -> Llava:
    loaded = Llava.load(settings("llava", tiny_checkpoints))
    assert isinstance(loaded, Llava)
    return loaded


def official(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    processor = LlavaProcessor.from_pretrained(folder, backend="pil")
    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval(), processor


def test_answers_are_those_of_the_librarys_own_example(model: Llava, tiny_checkpoints: dict[str, Path]) -> None:
    reference, processor = official(tiny_checkpoints["llava"])
    for asked in items("llava"):
        inputs = processor(images=asked.images[0], text=asked.request.prompt, return_tensors="pt")
        ids = reference.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        (answer,) = model.generate(model.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == processor.decode(ids, skip_special_tokens=True)
        assert answer.prompt_tokens == inputs["input_ids"].shape[1]


def test_option_scores_are_the_summed_log_probabilities_of_their_tokens(
    model: Llava, tiny_checkpoints: dict[str, Path]
) -> None:
    import torch

    reference, processor = official(tiny_checkpoints["llava"])
    asked = items("llava", choices=CHOICES)[0]
    expected = []
    start = processor(images=asked.images[0], text=asked.request.prompt, return_tensors="pt")["input_ids"].shape[1]
    for choice in CHOICES:
        inputs = processor(images=asked.images[0], text=f"{asked.request.prompt} {choice}", return_tensors="pt")
        with torch.no_grad():
            probabilities = reference(**inputs).logits[0].softmax(-1)
        ids = inputs["input_ids"][0].tolist()
        expected.append(sum(math.log(probabilities[at - 1, ids[at]]) for at in range(start, len(ids))))
    (chosen,) = model.choose([asked])
    assert isinstance(chosen, Generation)
    assert chosen.choice_scores == pytest.approx(expected, abs=1e-3)  # float32 softmax of some 600 words
    assert chosen.text == "ABC"[expected.index(max(expected))]


def test_scores_can_be_scaled_by_the_number_of_tokens(model: Llava, tiny_checkpoints: dict[str, Path]) -> None:
    scaled = Llava.load(settings("llava", tiny_checkpoints, options={"normalise": "tokens"}))
    asked = items("llava", choices=("dog", "dog dog"))[0]
    (total,), (mean,) = model.choose([asked]), scaled.choose([asked])
    assert isinstance(total, Generation)
    assert isinstance(mean, Generation)
    assert mean.choice_scores[0] == pytest.approx(total.choice_scores[0])
    assert mean.choice_scores[1] == pytest.approx(total.choice_scores[1] / 2)


@pytest.mark.parametrize("choices", [(), ("one",), ("one", " "), tuple("abcdefghijklmnopqrstuvwxyzA")])
def test_options_without_text_or_letters_cannot_be_ranked(model: Llava, choices: tuple[str, ...]) -> None:
    (answer,) = model.choose([item(0, "USER: <image>\nwhat ? ASSISTANT:", choices=choices)])
    assert isinstance(answer, Problem)
    assert answer.kind == "unsupported_input"


def test_image_tokens_are_the_squared_ratio_of_image_and_patch(model: Llava) -> None:
    prepared = model.prepare(items("llava"))
    counts = (prepared.tensors["input_ids"] == model.model.config.image_token_id).sum(dim=1).tolist()
    assert counts == [(28 // 7) ** 2] * 4


def test_rows_are_padded_on_the_left(model: Llava) -> None:
    mask = model.prepare(items("llava")).tensors["attention_mask"]
    assert bool((mask[:, -1] == 1).all())
    assert bool((mask[:, 0] == 0).any())


def test_text_alone_and_text_with_image_share_a_batch(model: Llava) -> None:
    asked = items("llava")
    asked[2] = item(2, "USER: yes or no ASSISTANT:", pictures=())
    together = model.generate(model.prepare(asked), GREEDY)
    assert together == [model.generate(model.prepare([one]), GREEDY)[0] for one in asked]
    assert all(isinstance(answer, Generation) for answer in together)


@pytest.mark.parametrize(
    ("prompt", "pictures"),
    [("USER: what ? ASSISTANT:", None), ("USER: <image>\nwhat is <image> ? ASSISTANT:", None), ("<image>\nwhat ?", ())],
)
def test_a_prompt_with_a_wrong_number_of_image_places_fails_alone(
    model: Llava, prompt: str, pictures: tuple[Any, ...] | None
) -> None:
    asked = items("llava")
    asked[1] = item(1, prompt) if pictures is None else item(1, prompt, pictures=pictures)
    answers = model.generate(model.prepare(asked), GREEDY)
    assert isinstance(answers[1], Problem)
    assert answers[1].kind == "prompt_image_mismatch"
    rest = [asked[0], *asked[2:]]
    assert [answers[0], *answers[2:]] == model.generate(model.prepare(rest), GREEDY)


def test_two_images_are_refused_because_the_model_was_trained_with_one(model: Llava) -> None:
    pictures = (item(0).images[0], item(1).images[0])
    (answer,) = model.generate(model.prepare([item(0, "<image><image> ASSISTANT:", pictures=pictures)]), GREEDY)
    assert isinstance(answer, Problem)
    assert "takes 0 to 1 images; here are 2" in answer.message


def test_a_prompt_beyond_the_last_position_fails_alone(model: Llava) -> None:
    asked = items("llava")
    asked[3] = item(3, "USER: <image>\n" + "dog " * 600 + "ASSISTANT:")
    answers = model.generate(model.prepare(asked), GREEDY)
    assert isinstance(answers[3], Problem)
    assert answers[3].kind == "prompt_too_long"
    assert answers[:3] == model.generate(model.prepare(asked[:3]), GREEDY)


def test_a_batch_of_nothing_but_problems_is_answered_with_them(model: Llava) -> None:
    answers = model.generate(model.prepare([item(0, "no place")]), GREEDY)
    assert [a.kind for a in answers if isinstance(a, Problem)] == ["prompt_image_mismatch"]
    assert model.generate(model.prepare([]), GREEDY) == []


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 3), (1, 50), (400, 3)])
def test_odd_image_sizes_are_read(model: Llava, width: int, height: int) -> None:
    from PIL import Image

    asked = item(0, "USER: <image>\nwhat ? ASSISTANT:", pictures=(Image.new("RGB", (width, height), (200, 10, 10)),))
    (answer,) = model.generate(model.prepare([asked]), GREEDY)
    assert isinstance(answer, Generation)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("patch_size", None),
        ("patch_size", 14),
        ("vision_feature_select_strategy", None),
        ("vision_feature_select_strategy", "full"),
        ("num_additional_image_tokens", 0),
    ],
)
def test_a_processor_that_disagrees_with_the_model_is_refused_and_the_card_can_correct_it(
    tiny_checkpoints: dict[str, Path], tmp_path: Path, field: str, value: object
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints["llava"], tmp_path / "llava"))
    stored = json.loads((folder / "processor_config.json").read_text())
    right = stored[field]
    (folder / "processor_config.json").write_text(json.dumps({**stored, field: value}))
    given = settings("llava", {"llava": folder})
    with pytest.raises(ModelError, match=f"{field} is {value!r}, must be {right!r}"):
        Llava.load(given)
    Llava.load(dataclasses.replace(given, options={"processor": {field: right}}))


def test_a_picture_size_that_is_not_the_models_is_refused(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints["llava"], tmp_path / "llava"))
    stored = json.loads((folder / "processor_config.json").read_text())
    stored["image_processor"]["crop_size"] = {"height": 14, "width": 14}
    (folder / "processor_config.json").write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=r"crop_size of the image processor gives 14 x 14 pixels .* reads 28 x 28"):
        Llava.load(settings("llava", {"llava": folder}))


def test_a_siglip_tower_has_no_class_token(tiny_checkpoints: dict[str, Path]) -> None:
    model = Llava.load(settings("llava", tiny_checkpoints))
    assert isinstance(model, Llava)
    assert model.tokens_per_image() == 16
    model.model.config.vision_feature_select_strategy = "full"
    assert model.tokens_per_image() == 17
    model.model.config.vision_config.model_type = "siglip_vision_model"
    assert model.tokens_per_image() == 16


def test_questions_about_one_image_read_it_once_and_are_answered_alike(
    model: Llava, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, *_ = items("llava")
    texts = [f"USER: <image>\n{q} ASSISTANT:" for q in ("what ?", "which bar is the largest of all ?", "how many ?")]
    asked = [
        dataclasses.replace(shown, request=dataclasses.replace(shown.request, prompt=text))
        for shown in (one, two)
        for text in texts
    ]
    alone = [model.generate(model.prepare([a]), GREEDY)[0] for a in asked]
    seen: list[int] = []
    tower = type(model.model.model).get_image_features

    def counted(self: Any, pixel_values: Any, **given: Any) -> Any:
        seen.append(len(pixel_values))
        return tower(self, pixel_values=pixel_values, **given)

    monkeypatch.setattr(type(model.model.model), "get_image_features", counted)
    assert model.generate(model.prepare(asked), GREEDY) == alone
    assert seen == [2]
    assert len({a.text for a in alone if isinstance(a, Generation)}) > 2


@pytest.mark.parametrize("template", ["<image>\n{}{}", "{}: <image>\n{}"])
def test_prompts_that_differ_before_the_image_are_answered_as_alone(model: Llava, template: str) -> None:
    shown = items("llava")[0]
    prompts = [template.format("a", " what ?"), template.format("a table", ""), template.format("one", " or two ?")]
    asked = [dataclasses.replace(shown, request=dataclasses.replace(shown.request, prompt=p)) for p in prompts]
    alone = [model.generate(model.prepare([a]), GREEDY)[0] for a in asked]
    assert model.generate(model.prepare(asked), GREEDY) == alone


def test_the_template_places_the_images_before_the_text() -> None:
    import jinja2

    template = jinja2.Environment(autoescape=False).from_string(Llava.template)
    assert template.render(text="what ?", images=1) == "USER: <image>\nwhat ? ASSISTANT:"
    assert template.render(text="what ?", images=0) == "USER: what ? ASSISTANT:"


def test_images_given_are_not_changed(model: Llava) -> None:
    asked = items("llava")
    before = [one.images[0].tobytes() for one in asked]
    model.generate(model.prepare(asked), GREEDY)
    assert [one.images[0].tobytes() for one in asked] == before
