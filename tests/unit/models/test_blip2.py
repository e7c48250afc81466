"""BLIP-2 over OPT and T5: agreement with the library's own calls, the blind processor, padding, ranking of options."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.blip2 import Blip2
from harness.records import ModelSettings, Problem
from tests.model_inputs import GREEDY, item, items, settings

CHOICES = ("red chair", "dog", "two cats on the grass")
NAMES = ("blip2_opt", "blip2_t5")


def loaded(given: ModelSettings) -> Blip2:
    model = Blip2.load(given)
    assert isinstance(model, Blip2)
    return model


def official(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    processor = Blip2Processor.from_pretrained(folder, backend="pil")
    return Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval(), processor


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_the_librarys_own_example(name: str, tiny_checkpoints: dict[str, Path]) -> None:
    reference, processor = official(tiny_checkpoints[name])
    model = loaded(settings(name, tiny_checkpoints))
    for asked in items(name):
        inputs = processor(images=asked.images[0], text=asked.request.prompt, return_tensors="pt")
        ids = reference.generate(**inputs, do_sample=False, max_new_tokens=12)[0]
        ids = ids[inputs["input_ids"].shape[1] :] if name == "blip2_opt" else ids
        (answer,) = model.generate(model.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == processor.decode(ids, skip_special_tokens=True)


def test_an_empty_prompt_captions_as_the_library_does_without_text(tiny_checkpoints: dict[str, Path]) -> None:
    reference, processor = official(tiny_checkpoints["blip2_opt"])
    model = loaded(settings("blip2_opt", tiny_checkpoints))
    for number in range(4):
        asked = item(number, "")
        ids = reference.generate(**processor(images=asked.images[0], return_tensors="pt"), max_new_tokens=12)[0]
        (answer,) = model.generate(model.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == processor.decode(ids[4 + 1 :], skip_special_tokens=True)  # 4 queries and the start token


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_is_no_part_of_the_answer(name: str, tiny_checkpoints: dict[str, Path]) -> None:
    model = loaded(settings(name, tiny_checkpoints))
    for answer in model.generate(model.prepare(items(name)), GREEDY):
        assert isinstance(answer, Generation)
        assert "Question" not in answer.text
        assert answer.output_tokens is not None
        assert answer.output_tokens <= 12


@pytest.mark.parametrize("name", NAMES)
def test_a_processor_that_would_leave_the_model_blind_is_refused_and_the_card_can_correct_it(
    name: str, tiny_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints[name], tmp_path / name))
    stored = json.loads((folder / "processor_config.json").read_text())
    del stored["num_query_tokens"]
    (folder / "processor_config.json").write_text(json.dumps(stored))
    given = settings(name, {name: folder})
    with pytest.raises(ModelError, match="num_query_tokens of the processor is None, must be 4"):
        Blip2.load(given)
    corrected = loaded(dataclasses.replace(given, options={"processor": {"num_query_tokens": 4}}))
    whole = loaded(settings(name, tiny_checkpoints))
    batch = items(name)
    assert corrected.generate(corrected.prepare(batch), GREEDY) == whole.generate(whole.prepare(batch), GREEDY)


def test_a_wrong_count_of_image_tokens_is_an_error_with_both_numbers(tiny_checkpoints: dict[str, Path]) -> None:
    model = loaded(settings("blip2_opt", tiny_checkpoints))
    model.processor.num_query_tokens = None
    with pytest.raises(ModelError, match="0 image tokens where the model makes 4; set num_query_tokens"):
        model.prepare(items("blip2_opt")[:1])


def test_an_image_token_of_another_number_is_refused(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints["blip2_t5"], tmp_path / "blip2_t5"))
    config = json.loads((folder / "config.json").read_text())
    config["image_token_index"] = config.get("image_token_index", config.get("image_token_id")) - 1
    config.pop("image_token_id", None)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"<image> is token .* and the model expects"):
        Blip2.load(settings("blip2_t5", {"blip2_t5": folder}))


@pytest.mark.parametrize(("name", "side"), [("blip2_opt", "left"), ("blip2_t5", "right")])
def test_padding_on_the_other_side_would_change_answers(
    name: str, side: str, tiny_checkpoints: dict[str, Path]
) -> None:
    model = loaded(settings(name, tiny_checkpoints))
    assert model.padding_side() == side
    batch = items(name)
    right = model.generate(model.prepare(batch), GREEDY)
    other = {"left": "right", "right": "left"}[side]
    model.padding_side = lambda: other  # type: ignore[method-assign]
    assert model.generate(model.prepare(batch), GREEDY) != right


def test_opt_pads_stand_between_image_and_text(tiny_checkpoints: dict[str, Path]) -> None:
    model = loaded(settings("blip2_opt", tiny_checkpoints))
    mask = model.prepare(items("blip2_opt")).tensors["attention_mask"]
    shortest = mask.sum(dim=1).argmin()
    assert mask[shortest, :4].tolist() == [1, 1, 1, 1]
    assert mask[shortest, 4] == 0
    assert mask[shortest, -1] == 1


def test_an_image_token_in_the_prompt_fails_alone(tiny_checkpoints: dict[str, Path]) -> None:
    model = loaded(settings("blip2_t5", tiny_checkpoints))
    answers = model.generate(model.prepare([item(0, "what is <image> ?"), item(1, "dog")]), GREEDY)
    assert isinstance(answers[0], Problem)
    assert answers[0].kind == "prompt_image_mismatch"
    assert isinstance(answers[1], Generation)


def test_opt_beyond_its_positions_fails_alone_and_t5_has_no_limit(tiny_checkpoints: dict[str, Path]) -> None:
    batch = [item(0, "dog"), item(1, "dog " * 300)]
    opt = loaded(settings("blip2_opt", tiny_checkpoints))
    kinds = [getattr(answer, "kind", None) for answer in opt.generate(opt.prepare(batch), GREEDY)]
    assert kinds == [None, "prompt_too_long"]
    t5 = loaded(settings("blip2_t5", tiny_checkpoints))
    assert all(isinstance(answer, Generation) for answer in t5.generate(t5.prepare(batch), GREEDY))


@pytest.mark.parametrize("name", NAMES)
def test_option_scores_are_the_summed_log_probabilities_of_their_tokens(
    name: str, tiny_checkpoints: dict[str, Path]
) -> None:
    import torch

    reference, processor = official(tiny_checkpoints[name])
    model = loaded(settings(name, tiny_checkpoints))
    asked = items(name, choices=CHOICES)[0]
    expected = []
    prompt = processor(images=asked.images[0], text=asked.request.prompt, return_tensors="pt")
    start = prompt["input_ids"].shape[1]
    for choice in CHOICES:
        with torch.no_grad():
            if name == "blip2_opt":
                inputs = processor(images=asked.images[0], text=f"{asked.request.prompt} {choice}", return_tensors="pt")
                logits, targets = reference(**inputs).logits[0, start - 1 : -1], inputs["input_ids"][0, start:]
            else:
                targets = torch.tensor(processor.tokenizer(choice)["input_ids"][:-1])  # without </s>
                decoder = torch.cat([torch.tensor([0]), targets[:-1]])[None]
                logits = reference(**prompt, decoder_input_ids=decoder).logits[0]
        rows = logits.log_softmax(-1)
        expected.append(sum(float(rows[at, token]) for at, token in enumerate(targets)))
    (chosen,) = model.choose([asked])
    assert isinstance(chosen, Generation)
    assert chosen.choice_scores == pytest.approx(expected, abs=1e-4)
    assert chosen.text == "ABC"[expected.index(max(expected))]
