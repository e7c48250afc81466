"""Kosmos-2: agreement with the library, single requests, boxes. Evidence for boxes: by hand on the 32 x 32 grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.kosmos2 import Grounded, Kosmos2, parse_boxes
from harness.records import ModelSettings, Problem
from tests.model_inputs import GREEDY, item, items, settings

SNOWMAN = (
    "An image of<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863></object> warming himself by"
    "<phrase> a fire</phrase><object><patch_index_0005><patch_index_0911></object>."
)
"""The example of the released model card."""


@pytest.fixture(scope="module")
def model(tiny_checkpoints: dict[str, Path]) -> Kosmos2:
    loaded = Kosmos2.load(settings("kosmos2", tiny_checkpoints))
    assert isinstance(loaded, Kosmos2)
    return loaded


def test_answers_are_those_of_the_librarys_own_call(model: Kosmos2) -> None:
    for asked in items("kosmos2"):
        inputs = model.processor(
            images=asked.images[0], text=asked.request.prompt, return_tensors="pt", num_image_tokens=4
        )
        ids = model.model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        (answer,) = model.generate(model.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == model.processor.tokenizer.decode(ids, skip_special_tokens=True)


def test_the_engine_asks_one_request_at_a_time(model: Kosmos2) -> None:
    assert Kosmos2.capabilities(model.settings).batching == "single"


def test_a_padded_batch_with_cache_is_wrong_in_the_library(model: Kosmos2) -> None:
    """Why requests are generated alone; fails when the library is mended, and then `batching` can change."""
    import torch

    batch = items("kosmos2")
    tensors = model.encode(batch)[0]
    with torch.inference_mode():
        together = model.model.generate(**tensors, do_sample=False, max_new_tokens=12)[
            :, tensors["input_ids"].shape[1] :
        ]
    texts = [model.processor.tokenizer.decode(row, skip_special_tokens=True) for row in together]
    alone = [a.text for a in model.generate(model.prepare(batch), GREEDY) if isinstance(a, Generation)]
    assert texts != alone


def test_slots_of_the_image_are_counted_from_the_models_configuration(model: Kosmos2) -> None:
    tensors = model.prepare(items("kosmos2")).tensors
    assert tensors["image_embeds_position_mask"].sum(dim=1).tolist() == [4] * 4
    slots = tensors["input_ids"][tensors["image_embeds_position_mask"].bool()].reshape(4, 4)
    first = model.processor.tokenizer.convert_tokens_to_ids("<img0>")
    assert slots.tolist() == [[first, first + 1, first + 2, first + 3]] * 4


def test_grounding_is_an_option_of_the_template() -> None:
    plain = ModelSettings("k", "kosmos2")
    grounded = ModelSettings("k", "kosmos2", options={"grounding": True})
    assert Kosmos2.default_template(plain).startswith("{% if text %}Question:")
    assert Kosmos2.default_template(grounded).startswith("<grounding> {% if text %}Question:")
    assert Kosmos2.default_template(ModelSettings("k", "kosmos2", template="{{ text }}")) == "{{ text }}"


def test_a_prompt_that_places_the_image_itself_fails_alone(model: Kosmos2) -> None:
    asked = items("kosmos2")
    asked[1] = item(1, "what is <image> ?")
    answers = model.generate(model.prepare(asked), GREEDY)
    assert isinstance(answers[1], Problem)
    assert answers[1].kind == "prompt_image_mismatch"
    assert [isinstance(answer, Generation) for answer in answers] == [True, False, True, True]


def test_boxes_are_read_as_fractions_of_the_image() -> None:
    """Patch 44 is column 12 of row 1, patch 863 column 31 of row 26; a box spans the centres: 12.5 / 32 = 0.390625."""
    plain, found = parse_boxes(SNOWMAN)
    assert plain == "An image of a snowman warming himself by a fire."
    assert found == (
        Grounded("a snowman", 12, 21, ((0.390625, 0.046875, 0.984375, 0.828125),)),
        Grounded("a fire", 41, 47, ((0.171875, 0.015625, 0.484375, 0.890625),)),
    )
    assert plain[12:21] == "a snowman"


def test_boxes_agree_with_the_processors_own_reading(model: Kosmos2) -> None:
    plain, entities = model.processor.post_process_generation(SNOWMAN)
    ours, found = parse_boxes(SNOWMAN)
    assert ours == plain
    assert [(g.phrase, (g.start, g.end), list(g.boxes)) for g in found] == entities


@pytest.mark.parametrize("text", ["", "a dog", "<phrase> a dog</phrase>", "<object><patch_index_0001></object>"])
def test_text_without_whole_boxes_has_none(text: str) -> None:
    assert parse_boxes(text)[1] == ()


def test_several_boxes_of_one_phrase_are_kept_together() -> None:
    """A box of one patch spans it whole: patch 0 is from 0 to 1/32 either way, patch 33 from 1/32 to 2/32."""
    one, two = "<patch_index_0000><patch_index_0000>", "<patch_index_0033><patch_index_0033>"
    text = f"<phrase>dogs</phrase><object>{one}</delimiter_of_multi_objects/>{two}</object>"
    (dogs,) = parse_boxes(text)[1]
    assert dogs.boxes == ((0.0, 0.0, 0.03125, 0.03125), (0.03125, 0.03125, 0.0625, 0.0625))


def test_tags_stay_in_the_raw_answer(model: Kosmos2) -> None:
    tokenizer = model.processor.tokenizer
    ids = tokenizer(SNOWMAN.replace("0044", "0004").replace("0863", "0011"), add_special_tokens=False)["input_ids"]
    assert "<patch_index_0004>" in tokenizer.decode(ids, skip_special_tokens=True)


def test_a_tokenizer_of_another_vocabulary_is_refused(model: Kosmos2) -> None:
    model.processor.tokenizer.add_tokens(["<one-more>"])
    with pytest.raises(ModelError, match=r"the tokenizer has \d+ tokens and the model \d+"):
        model.check_processor()
