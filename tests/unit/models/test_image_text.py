"""The general family of chat models: agreement with the library's own calls, templates, limits, blindness."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError
from harness.models.base import Generation, ModelInput
from harness.models.image_text import ImageText
from harness.models.sight import check_sight, first_logits, pictures
from harness.records import ModelSettings, Problem
from tests.model_inputs import GREEDY, item, items, picture, settings

CHATS = ("llava_next", "llava_onevision", "idefics2", "idefics3", "qwen2_vl")
CHOICES = ("red chair", "dog", "two cats on the grass")


def loaded(given: ModelSettings) -> ImageText:
    model = ImageText.load(given)
    assert isinstance(model, ImageText)
    return model


def copied(name: str, checkpoints: dict[str, Path], folder: Path) -> Path:
    return Path(shutil.copytree(checkpoints[name], folder / name))


def changed(path: Path, **fields: Any) -> None:
    """Write fields into a JSON file; `None` takes a field out."""
    merged = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: value for name, value in merged.items() if value is not None}))


@pytest.fixture(scope="module", params=CHATS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str, tiny_checkpoints: dict[str, Path]) -> ImageText:
    return loaded(settings(name, tiny_checkpoints))


@pytest.fixture(scope="module")
def idefics3(tiny_checkpoints: dict[str, Path]) -> ImageText:
    return loaded(settings("idefics3", tiny_checkpoints))


def test_answers_are_those_of_the_librarys_own_chat_call(model: ImageText) -> None:
    for asked in items():
        message = {
            "role": "user",
            "content": [{"type": "image", "image": asked.images[0]}, {"type": "text", "text": asked.request.prompt}],
        }
        inputs = model.processor.apply_chat_template(
            [message],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt"},
        )
        ids = model.model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        (answer,) = model.generate(model.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == model.processor.tokenizer.decode(ids, skip_special_tokens=True)
        assert answer.prompt_tokens == inputs["input_ids"].shape[1]


def test_option_scores_are_the_summed_log_probabilities_of_their_tokens(model: ImageText) -> None:
    import torch

    asked = items(choices=CHOICES)[0]
    prompt = model.prompt_text(asked)
    space = "" if prompt[-1].isspace() else " "
    tensors, (start,) = model.encode_texts([asked], [prompt], "left")
    expected = []
    for choice in CHOICES:
        tensors, _ = model.encode_texts([asked], [f"{prompt}{space}{choice}"], "left")
        with torch.no_grad():
            probabilities = model.model(**tensors).logits[0].softmax(-1)
        ids = tensors["input_ids"][0].tolist()
        expected.append(sum(math.log(probabilities[at - 1, ids[at]]) for at in range(start, len(ids))))
    (chosen,) = model.choose([asked])
    assert isinstance(chosen, Generation)
    assert chosen.choice_scores == pytest.approx(expected, abs=1e-3)  # float32 softmax of some 600 words


def test_several_images_and_none_share_a_batch(model: ImageText) -> None:
    batch = items()
    batch[1] = ModelInput(batch[1].request, (picture(7), picture(8), picture(9)))
    batch[2] = ModelInput(batch[2].request, ())
    together = model.generate(model.prepare(batch), GREEDY)
    assert all(isinstance(answer, Generation) for answer in together)
    assert together == [model.generate(model.prepare([one]), GREEDY)[0] for one in batch]


def test_the_order_of_two_images_matters(model: ImageText) -> None:
    request, pair = items()[0].request, (picture(1), picture(2))
    logits = [first_logits(model, ModelInput(request, images)) for images in (pair, pair[::-1])]
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3


@pytest.mark.parametrize(("width", "height"), [(3, 50), (50, 3), (3, 3), (200, 20)])
def test_odd_image_sizes_are_read(model: ImageText, width: int, height: int) -> None:
    from PIL import Image

    asked = ModelInput(items()[0].request, (Image.new("RGB", (width, height), (200, 10, 10)),))
    (answer,) = model.generate(model.prepare([asked]), GREEDY)
    assert isinstance(answer, Generation)


def test_a_start_token_of_the_template_is_not_doubled(idefics3: ImageText) -> None:
    tensors, _ = idefics3.encode(items()[:2])
    start = idefics3.processor.tokenizer.bos_token_id
    assert idefics3.prompt_text(items()[0]).startswith("<s>")
    assert (tensors["input_ids"] == start).sum(dim=1).tolist() == [1, 1]


def test_system_text_order_and_template_are_options(tiny_checkpoints: dict[str, Path]) -> None:
    def prompt(**options: Any) -> str:
        model = loaded(settings("idefics2", tiny_checkpoints, options=options))
        return model.prompt_text(item(0, "what ?"))

    assert prompt() == "USER: <image>what ?\nASSISTANT:"
    assert prompt(images_first=False) == "USER: what ?<image>\nASSISTANT:"
    assert prompt(system="Be brief.") == "SYSTEM: Be brief.\nUSER: <image>what ?\nASSISTANT:"
    template = (
        "{% for m in messages %}{% for c in m['content'] %}{{ '<image>' if c['type'] == 'image' else c['text'] }}"
    )
    assert prompt(chat_template=template + "{% endfor %}{% endfor %} so:") == "<image>what ? so:"


def test_an_empty_prompt_is_a_message_of_images_alone(idefics3: ImageText) -> None:
    assert idefics3.prompt_text(item(0, "")) == "<s>USER: <image>\nASSISTANT:"


def test_a_template_of_the_card_takes_the_chat_templates_place(tiny_checkpoints: dict[str, Path]) -> None:
    plain = loaded(settings("idefics2", tiny_checkpoints, template="USER: <image>{{ text }}\nASSISTANT:"))
    chat = loaded(settings("idefics2", tiny_checkpoints))
    as_text = item(0, "USER: <image>what ?\nASSISTANT:")
    assert plain.generate(plain.prepare([as_text]), GREEDY) == chat.generate(chat.prepare([item(0, "what ?")]), GREEDY)
    processing = ImageText.identify(plain.settings).processing
    assert processing["prompt_by"] == "run.template"
    with pytest.raises(ModelError, match=r"run\.template takes the chat template's place"):
        loaded(dataclasses.replace(plain.settings, options={"system": "Be brief."}))


@pytest.mark.parametrize("prompt", ["what is <image> ?", "<image><image>"])
def test_a_question_that_holds_an_image_token_fails_alone(idefics3: ImageText, prompt: str) -> None:
    asked = items()
    asked[1] = item(1, prompt)
    answers = idefics3.generate(idefics3.prepare(asked), GREEDY)
    assert isinstance(answers[1], Problem)
    assert answers[1].kind == "prompt_image_mismatch"
    rest = [asked[0], *asked[2:]]
    assert [answers[0], *answers[2:]] == idefics3.generate(idefics3.prepare(rest), GREEDY)


def test_a_card_limits_the_number_of_images(tiny_checkpoints: dict[str, Path]) -> None:
    model = loaded(settings("llava_next", tiny_checkpoints, options={"max_images": 1}))
    assert ImageText.capabilities(model.settings).max_images == 1
    (answer,) = model.generate(model.prepare([ModelInput(items()[0].request, (picture(1), picture(2)))]), GREEDY)
    assert isinstance(answer, Problem)
    assert "takes 0 to 1 images; here are 2" in answer.message
    with pytest.raises(ModelError, match=r"run\.options\.max_images"):
        ImageText.identify(dataclasses.replace(model.settings, options={"max_images": 0}))


def test_right_padding_of_a_model_that_continues_its_prompt_changes_answers(tiny_checkpoints: dict[str, Path]) -> None:
    """Why the default is left: the option is there for encoder-decoders."""
    right = loaded(settings("idefics2", tiny_checkpoints, options={"padding_side": "right"}))
    together = right.generate(right.prepare(items()), GREEDY)
    assert together != [right.generate(right.prepare([one]), GREEDY)[0] for one in items()]


def test_a_checkpoint_without_chat_template_needs_one_from_the_card(tiny_checkpoints: dict[str, Path]) -> None:
    given = settings("paligemma", tiny_checkpoints)
    with pytest.raises(ModelError, match=r"has no chat template; give run\.template .*<image>.*\{\{ text \}\}"):
        loaded(dataclasses.replace(given, template=""))


def test_paligemma_reads_its_prefix_both_ways_so_options_are_not_ranked(tiny_checkpoints: dict[str, Path]) -> None:
    import torch

    model = loaded(settings("paligemma", tiny_checkpoints))
    assert not ImageText.capabilities(model.settings).can_choose
    with pytest.raises(ModelError, match="looks ahead"):
        model.choose(items("paligemma", choices=CHOICES)[:1])
    first, second = (model.encode([item(0, f"<image>answer en {q}")])[0] for q in ("how many", "how cats"))
    assert "labels" not in first
    with torch.no_grad():
        logits = [model.model(**tensors).logits[0, 20] for tensors in (first, second)]
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3


def test_a_model_that_does_not_see_is_refused(idefics3: ImageText) -> None:
    check_sight(idefics3, "what ?")
    covered = idefics3.model.model.connector.register_forward_hook(lambda module, given, features: features * 0)
    with pytest.raises(ModelError, match="runs blind: it would begin its answer alike for two different pictures"):
        check_sight(idefics3, "what ?")
    covered.remove()
    check_sight(idefics3, "what ?")


def test_loading_refuses_a_model_that_does_not_see(
    tiny_checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Idefics2ForConditionalGeneration

    generate = Idefics2ForConditionalGeneration.generate

    def blind(self: Any, **inputs: Any) -> Any:
        return generate(self, **{**inputs, "pixel_values": inputs["pixel_values"] * 0 + 0.5})

    monkeypatch.setattr(Idefics2ForConditionalGeneration, "generate", blind)
    with pytest.raises(ModelError, match="runs blind"):
        loaded(settings("idefics2", tiny_checkpoints))


def test_the_two_test_pictures_share_hardly_a_pixel() -> None:
    import numpy as np

    first, second = (np.asarray(image).astype(int) for image in pictures())
    assert float((abs(first - second).max(axis=-1) > 16).mean()) > 0.9


def test_a_chat_template_that_forgets_the_image_is_an_error_with_both_numbers(
    tiny_checkpoints: dict[str, Path],
) -> None:
    template = "{% for m in messages %}{{ m['role'] }}{% endfor %}:"
    with pytest.raises(ModelError, match="image"):
        loaded(settings("llava_next", tiny_checkpoints, options={"chat_template": template}))


def test_a_chat_template_that_cannot_be_rendered_is_an_error(tiny_checkpoints: dict[str, Path]) -> None:
    wrong = "{{ raise_exception('only text') }}"
    with pytest.raises(ModelError, match="chat template cannot write this prompt: only text"):
        loaded(settings("llava_next", tiny_checkpoints, options={"chat_template": wrong}))


def test_an_image_token_that_is_not_the_models_is_refused(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = copied("idefics2", tiny_checkpoints, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    changed(folder / "config.json", image_token_id=config["image_token_id"] + 1)
    with pytest.raises(ModelError, match=r"image token <image> is token \d+ and the model expects \d+"):
        loaded(settings("idefics2", {"idefics2": folder}))


def test_a_type_that_another_family_reads_is_refused_by_its_name(tiny_checkpoints: dict[str, Path]) -> None:
    given = dataclasses.replace(settings("kosmos2", tiny_checkpoints), family="image-text-to-text")
    for step in (ImageText.identify, ImageText.load):
        with pytest.raises(ModelError, match=r"model_type 'kosmos-2', which family kosmos2 reads"):
            step(given)


@pytest.mark.parametrize("file_name", ["processor_config.json", "tokenizer_config.json"])
def test_the_processor_class_is_found_without_its_name_in_one_file(
    tiny_checkpoints: dict[str, Path], tmp_path: Path, file_name: str
) -> None:
    folder = copied("idefics3", tiny_checkpoints, tmp_path)
    changed(folder / file_name, processor_class=None)
    assert type(loaded(settings("idefics3", {"idefics3": folder})).processor).__name__ == "Idefics3Processor"


def test_a_processor_that_the_library_does_not_have_is_named(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = copied("idefics3", tiny_checkpoints, tmp_path)
    changed(folder / "processor_config.json", processor_class="NewestProcessor")
    with pytest.raises(ModelError, match=r"names the processor 'NewestProcessor', which is none of transformers"):
        loaded(settings("idefics3", {"idefics3": folder}))


def test_the_part_for_videos_is_left_out_and_not_missed(tiny_checkpoints: dict[str, Path]) -> None:
    for name in ("qwen2_vl", "llava_onevision"):
        model = loaded(settings(name, tiny_checkpoints))
        assert type(model.processor).get_attributes() == ["image_processor", "tokenizer"]
        assert type(model.processor.image_processor).__name__.endswith("Pil")


def test_a_processor_that_cannot_do_without_torchvision_says_what_to_install(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Qwen2VLProcessor

    def needy(*_: object, **__: object) -> None:
        raise ImportError("Qwen2VLVideoProcessor requires the Torchvision library but it was not found")

    monkeypatch.setattr(Qwen2VLProcessor, "__init__", needy)
    with pytest.raises(ModelError, match=r'pip install "vlm-harness\[torchvision\]"'):
        loaded(settings("qwen2_vl", tiny_checkpoints))


def test_pickled_weights_give_the_same_answers(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = copied("idefics3", tiny_checkpoints, tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    given = settings("idefics3", {"idefics3": folder})
    with pytest.raises(ModelError, match="allow_pickle"):
        loaded(given)
    pickled, safe = (
        loaded(dataclasses.replace(given, allow_pickle=True)),
        loaded(settings("idefics3", tiny_checkpoints)),
    )
    assert pickled.generate(pickled.prepare(items()), GREEDY) == safe.generate(safe.prepare(items()), GREEDY)


def test_a_device_map_on_a_cpu_gives_the_same_answers_and_is_recorded(tiny_checkpoints: dict[str, Path]) -> None:
    given = settings("idefics3", tiny_checkpoints, options={"device_map": "auto"})
    spread, whole = loaded(given), loaded(settings("idefics3", tiny_checkpoints))
    assert spread.generate(spread.prepare(items()), GREEDY) == whole.generate(whole.prepare(items()), GREEDY)
    assert ImageText.identify(given).processing["device_map"] == "auto"
    assert spread.peak_memory_bytes() is None


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layers_laid_over_all_gpus_answer(tiny_checkpoints: dict[str, Path], dtype: str) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    given = settings("idefics3", tiny_checkpoints, device="cuda", dtype=dtype, options={"device_map": "auto"})
    model = loaded(given)
    answers = model.generate(model.prepare(items()), GREEDY)
    assert all(isinstance(answer, Generation) for answer in answers)
    assert (model.peak_memory_bytes() or 0) > 0
    model.close()
