"""Pix2Struct and DePlot: header and font, patches, captions. Evidence: agreement with the library, bad input."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError
from harness.mini.fonts import dejavu_sans, math_regular
from harness.models.base import Generation
from harness.models.pix2struct import Pix2Struct
from harness.records import ModelSettings, Problem
from tests.model_inputs import GREEDY, item, items, settings


def loaded(given: ModelSettings) -> Pix2Struct:
    model = Pix2Struct.load(given)
    assert isinstance(model, Pix2Struct)
    return model


@pytest.fixture(scope="module")
def deplot(tiny_checkpoints: dict[str, Path]) -> Pix2Struct:
    return loaded(settings("deplot", tiny_checkpoints))


@pytest.fixture(scope="module")
def captioner(tiny_checkpoints: dict[str, Path]) -> Pix2Struct:
    return loaded(settings("pix2struct_caption", tiny_checkpoints))


def official(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import Pix2StructForConditionalGeneration, Pix2StructProcessor

    processor = Pix2StructProcessor.from_pretrained(folder, backend="pil")
    return Pix2StructForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval(), processor


class FontHub:
    """Stands for the hub from which the library would fetch Arial."""

    def hf_hub_download(self, *_: object) -> str:
        return str(dejavu_sans())


def test_answers_are_those_of_the_librarys_own_example_with_the_same_font(
    deplot: Pix2Struct, tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers.models.pix2struct.image_processing_pil_pix2struct as library

    monkeypatch.setattr(library, "hf_api", FontHub)
    reference, processor = official(tiny_checkpoints["deplot"])
    for asked in items("deplot"):
        inputs = processor(images=asked.images[0], text=asked.request.prompt, return_tensors="pt", max_patches=96)
        prepared = deplot.prepare([asked])
        assert bool((inputs["flattened_patches"] == prepared.tensors["flattened_patches"]).all())
        ids = reference.generate(**inputs, do_sample=False, max_new_tokens=12)[0]
        (answer,) = deplot.generate(prepared, GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == processor.decode(ids, skip_special_tokens=True)


def test_captions_are_those_of_the_librarys_own_example(
    captioner: Pix2Struct, tiny_checkpoints: dict[str, Path]
) -> None:
    reference, processor = official(tiny_checkpoints["pix2struct_caption"])
    for number in range(4):
        asked = item(number, "")
        inputs = processor(images=asked.images[0], return_tensors="pt", max_patches=96)
        ids = reference.generate(**inputs, do_sample=False, max_new_tokens=12)[0]
        (answer,) = captioner.generate(captioner.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == processor.decode(ids, skip_special_tokens=True)


def test_the_prompt_reaches_the_model_through_the_header(deplot: Pix2Struct) -> None:
    first, second = deplot.prepare([item(0, "what colour ?")]), deplot.prepare([item(0, "how many people ?")])
    assert not bool((first.tensors["flattened_patches"] == second.tensors["flattened_patches"]).all())


def test_a_captioning_checkpoint_takes_no_header_and_says_so(
    captioner: Pix2Struct, tiny_checkpoints: dict[str, Path]
) -> None:
    bare, worded = captioner.prepare([item(0, "")]), captioner.prepare([item(0, "what colour ?")])
    assert bool((bare.tensors["flattened_patches"] == worded.tensors["flattened_patches"]).all())
    given = settings("pix2struct_caption", tiny_checkpoints)
    assert "takes no text" in Pix2Struct.identify(given).warnings[0]
    assert Pix2Struct.default_template(given).startswith("{#")
    assert Pix2Struct.default_template(settings("deplot", tiny_checkpoints)) == "{{ text }}"
    assert Pix2Struct.default_template(dataclasses.replace(given, template="own {{ text }}")) == "own {{ text }}"


def test_the_font_is_part_of_the_identity_with_a_warning_unless_it_is_arial(
    tiny_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    bundled = Pix2Struct.identify(settings("deplot", tiny_checkpoints))
    assert bundled.processing["header_font"]["name"] == "DejaVuSans.ttf"
    assert "run.options.font is not set; the model was trained with Arial" in bundled.warnings[0]
    arial = tmp_path / "Arial.TTF"
    shutil.copy(math_regular(), arial)
    chosen = Pix2Struct.identify(settings("deplot", tiny_checkpoints, options={"font": str(arial)}))
    assert chosen.processing["header_font"]["sha256"] != bundled.processing["header_font"]["sha256"]
    assert chosen.warnings == ()


def test_another_font_is_another_input(deplot: Pix2Struct, tiny_checkpoints: dict[str, Path]) -> None:
    other = loaded(settings("deplot", tiny_checkpoints, options={"font": str(math_regular())}))
    first, second = deplot.prepare([item(0, "bar ?")]), other.prepare([item(0, "bar ?")])
    assert not bool((first.tensors["flattened_patches"] == second.tensors["flattened_patches"]).all())


def test_a_font_that_is_not_there_is_named(tiny_checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match=r"run\.options\.font: there is no file absent\.ttf"):
        Pix2Struct.identify(settings("deplot", tiny_checkpoints, options={"font": "absent.ttf"}))


def test_the_stored_number_of_patches_is_used_not_the_librarys_default(deplot: Pix2Struct) -> None:
    assert deplot.prepare(items()).tensors["flattened_patches"].shape == (4, 96, 2 + 16 * 16 * 3)


def test_the_card_can_set_the_patches_up_to_the_models_places(tiny_checkpoints: dict[str, Path]) -> None:
    given = settings("deplot", tiny_checkpoints, options={"max_patches": 40})
    assert loaded(given).prepare(items()).tensors["flattened_patches"].shape[1] == 40
    assert Pix2Struct.identify(given).processing["max_patches"] == 40
    for count in (128, 0):
        wrong = settings("deplot", tiny_checkpoints, options={"processor": {"max_patches": count}})
        with pytest.raises(ModelError, match=f"max_patches is {count}; the model has places for 1 to 127"):
            Pix2Struct.load(wrong)


def test_an_empty_question_and_a_missing_image_fail_alone(deplot: Pix2Struct) -> None:
    batch = [item(0, " "), item(1, "how many ?"), item(2, "how many ?", pictures=())]
    answers = deplot.generate(deplot.prepare(batch), GREEDY)
    assert [getattr(answer, "kind", None) for answer in answers] == ["no_prompt", None, "unsupported_input"]


def test_an_image_too_narrow_for_a_header_is_a_problem_and_not_gigabytes(deplot: Pix2Struct) -> None:
    from PIL import Image

    narrow = item(0, "how many ?", pictures=(Image.new("RGB", (1, 2000)),))
    (answer,) = deplot.generate(deplot.prepare([narrow]), GREEDY)
    assert isinstance(answer, Problem)
    assert answer.kind == "image_too_narrow"


def test_row_separators_stay_in_the_raw_answer(deplot: Pix2Struct, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    ids = deplot.processor.tokenizer("TITLE | sales <0x0A> 2001 | 10")["input_ids"]
    monkeypatch.setattr(deplot.model, "generate", lambda **_: torch.tensor([[0, *ids]]))
    (answer,) = deplot.generate(deplot.prepare([item(0, "table ?")]), GREEDY)
    assert isinstance(answer, Generation)
    assert "<0x0A>" in answer.text
    assert "\n" not in answer.text


def test_row_and_column_numbers_are_not_rounded_in_bfloat16(tiny_checkpoints: dict[str, Path]) -> None:
    import torch

    model = loaded(settings("deplot", tiny_checkpoints, dtype="bfloat16"))
    tensors = model.on_device(model.prepare(items()).tensors)
    assert tensors["flattened_patches"].dtype == torch.float32
    embeddings = model.model.encoder.embeddings
    assert embeddings.patch_projection.weight.dtype == torch.bfloat16
    assert embeddings(tensors["flattened_patches"]).dtype == torch.bfloat16
    assert all(isinstance(a, Generation) for a in model.generate(model.prepare(items()), GREEDY))
