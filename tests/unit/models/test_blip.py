"""BLIP captions and answers. Evidence: the library's own `generate`, one sample at a time, and its known faults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.blip import BlipCaption, BlipVqa
from harness.records import Problem
from tests.model_inputs import GREEDY, item, items, picture, settings

torch = pytest.importorskip("torch", reason="the models extra is not installed")
Checkpoints = Mapping[str, Path]


@pytest.fixture(scope="module")
def vqa(tiny_checkpoints: Checkpoints) -> Iterator[BlipVqa]:
    model = BlipVqa.load(settings("blip_vqa", tiny_checkpoints))
    assert isinstance(model, BlipVqa)
    yield model
    model.close()


@pytest.fixture(scope="module")
def caption(tiny_checkpoints: Checkpoints) -> Iterator[BlipCaption]:
    model = BlipCaption.load(settings("blip_caption", tiny_checkpoints))
    assert isinstance(model, BlipCaption)
    yield model
    model.close()


def test_answers_are_those_of_the_library_alone(vqa: BlipVqa) -> None:
    for one in items("blip_vqa"):
        given = vqa.processor(images=one.images[0], text=one.request.prompt, return_tensors="pt")
        given = {k: given[k] for k in ("input_ids", "attention_mask", "pixel_values")}
        with torch.inference_mode():
            ids = vqa.model.generate(**given, do_sample=False, num_beams=1, max_new_tokens=12)
        expected = vqa.processor.tokenizer.decode(ids[0, 1:], skip_special_tokens=True)  # without the start token
        (answer,) = vqa.generate(vqa.prepare([one]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == expected != ""


def test_questions_of_unlike_length_are_in_buckets_of_their_own_and_refused_together(vqa: BlipVqa) -> None:
    short, long = item(0, "how many people ?"), item(1, "how many people are in the picture ?")
    assert vqa.bucket(short) != vqa.bucket(long)
    assert vqa.bucket(short) == vqa.bucket(item(2, "how many cats ?"))
    with pytest.raises(ModelError, match="cannot share a batch"):
        vqa.prepare([short, long])


def test_padding_would_change_an_answer_so_buckets_are_needed(vqa: BlipVqa) -> None:
    short, long = items("blip_vqa")[1], items("blip_vqa")[2]
    given = vqa.processor(
        images=[short.images[0], long.images[0]],
        text=[short.request.prompt, long.request.prompt],
        padding=True,
        return_tensors="pt",
    )
    given = {k: given[k] for k in ("input_ids", "attention_mask", "pixel_values")}
    with torch.inference_mode():
        ids = vqa.model.generate(**given, do_sample=False, num_beams=1, max_new_tokens=12)
    padded = vqa.processor.tokenizer.decode(ids[0, 1:], skip_special_tokens=True)
    (alone,) = vqa.generate(vqa.prepare([short]), GREEDY)
    assert isinstance(alone, Generation)
    assert padded != alone.text, "the library's fault is gone: BLIP can be batched with padding now"


def test_equal_lengths_share_a_batch_without_changing_an_answer(vqa: BlipVqa) -> None:
    batch = [item(n, f"how many {word} ?") for n, word in enumerate(("people", "cats", "bar"))]
    together = vqa.generate(vqa.prepare(batch), GREEDY)
    assert together == [vqa.generate(vqa.prepare([one]), GREEDY)[0] for one in batch]
    assert len({answer.text for answer in together if isinstance(answer, Generation)}) > 1


def test_an_empty_question_is_a_problem(vqa: BlipVqa) -> None:
    (answer,) = vqa.generate(vqa.prepare([item(0, " ")]), GREEDY)
    assert isinstance(answer, Problem)
    assert answer.kind == "no_prompt"


def test_the_encoder_token_changes_answers_and_the_identity(tiny_checkpoints: Checkpoints, vqa: BlipVqa) -> None:
    given = settings("blip_vqa", tiny_checkpoints, options={"encoder_token": True})
    other = BlipVqa.load(given)
    batch = items("blip_vqa")
    assert [other.generate(other.prepare([i]), GREEDY) for i in batch] != [
        vqa.generate(vqa.prepare([i]), GREEDY) for i in batch
    ]
    assert BlipVqa.identify(given).processing["encoder_token"] is True
    assert BlipVqa.identify(vqa.settings).processing["encoder_token"] is False
    other.close()


def test_a_caption_without_prompt_is_the_librarys_and_takes_a_batch(caption: BlipCaption) -> None:
    batch = [item(n, "") for n in range(4)]
    together = caption.generate(caption.prepare(batch), GREEDY)
    for one, answer in zip(batch, together, strict=True):
        pixels = caption.processor.image_processor(one.images[0], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            ids = caption.model.generate(pixel_values=pixels, do_sample=False, num_beams=1, max_new_tokens=12)
        assert isinstance(answer, Generation)
        assert answer.text == caption.processor.tokenizer.decode(ids[0, 1:], skip_special_tokens=True)


def test_a_caption_is_what_follows_the_prompt(caption: BlipCaption) -> None:
    one = item(0, "a photo of")
    given = caption.processor(images=one.images[0], text="a photo of", return_tensors="pt")
    given = {k: given[k] for k in ("input_ids", "attention_mask", "pixel_values")}
    with torch.inference_mode():
        ids = caption.model.generate(**given, do_sample=False, num_beams=1, max_new_tokens=12)
    tokenizer = caption.processor.tokenizer
    assert tokenizer.decode(ids[0, 1:4]) == "a photo of"
    (answer,) = caption.generate(caption.prepare([one]), GREEDY)
    assert isinstance(answer, Generation)
    assert answer.text == tokenizer.decode(ids[0, 4:], skip_special_tokens=True) != ""


def test_another_attention_kernel_is_refused_before_loading(tiny_checkpoints: Checkpoints) -> None:
    with pytest.raises(ModelError, match=r"run\.options\.attention"):
        BlipVqa.identify(settings("blip_vqa", tiny_checkpoints, options={"attention": "sdpa"}))


def test_a_processor_of_another_picture_size_is_refused(tiny_checkpoints: Checkpoints) -> None:
    wrong = {"processor": {"size": {"height": 14, "width": 14}}}
    with pytest.raises(ModelError, match="14 x 14 pixels and the model reads 28 x 28"):
        BlipVqa.load(settings("blip_vqa", tiny_checkpoints, options=wrong))


def test_a_prompt_beyond_the_positions_is_a_problem_of_that_input(caption: BlipCaption) -> None:
    long = item(1, "people " * 80, pictures=(picture(1),))
    (answer,) = caption.generate(caption.prepare([long]), GREEDY)
    assert isinstance(answer, Problem)
    assert answer.kind == "prompt_too_long"
    many = dataclasses.replace(GREEDY, max_new_tokens=60)
    request = dataclasses.replace(item(0, "a photo of").request, generation=many)
    (other,) = caption.prepare([dataclasses.replace(item(0), request=request)]).problems.values()
    assert other.kind == "prompt_too_long"
