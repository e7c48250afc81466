"""The family `wavelet` beside the contract tests: what depends on a long neighbour, images beyond the limit, sizes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.wavelet.checkpoint import DecoderConfig, WaveletConfig
from harness.models.wavelet.design import Design
from harness.models.wavelet.family import Wavelet, fitted
from harness.records import GenerationSettings, Problem
from tests.model_inputs import item, picture, settings

LONG = GenerationSettings(max_new_tokens=200, min_new_tokens=200)


@pytest.fixture(scope="module")
def model(tiny_checkpoints: dict[str, Path]) -> Wavelet:
    return Wavelet.load(settings("wavelet", tiny_checkpoints))


def test_an_answer_ends_at_the_last_position_whatever_its_neighbours_ask(model: Wavelet) -> None:
    short, long = (
        item(0, "what colour ?"),
        item(1, "what colour is the largest bar in the chart of sales per year ?" * 2),
    )
    together = model.generate(model.prepare([short, long]), LONG)
    alone = [model.generate(model.prepare([one]), LONG)[0] for one in (short, long)]
    assert together == alone
    for given, one in zip(together, (short, long), strict=True):
        assert isinstance(given, Generation)
        (prompt,) = model.prepare([one]).prompts
        assert given.output_tokens == model.config.decoder.positions - len(prompt) + 1


def test_a_prompt_that_fills_the_positions_is_a_problem(model: Wavelet) -> None:
    (given,) = model.generate(model.prepare([item(0, "chart " * 100)]), GenerationSettings())
    assert isinstance(given, Problem)
    assert given.kind == "prompt_too_long"


def test_more_images_than_it_was_trained_with_is_a_problem(model: Wavelet) -> None:
    asked = item(0, "yes ?", pictures=(picture(0), picture(1), picture(2)))
    (given,) = model.generate(model.prepare([asked]), GenerationSettings())
    assert isinstance(given, Problem)
    assert given.kind == "unsupported_input"


def test_beams_and_sampling_are_refused(model: Wavelet) -> None:
    prepared = model.prepare([item(0, "yes ?")])
    for wrong in ({"num_beams": 3}, {"do_sample": True}, {"repetition_penalty": 1.2}):
        with pytest.raises(ModelError, match=next(iter(wrong))):
            model.generate(prepared, dataclasses.replace(GenerationSettings(), **wrong))


def config(**fields: object) -> WaveletConfig:
    return WaveletConfig.model_validate({"design": Design(), "decoder": DecoderConfig(vocabulary=64), **fields})


def test_an_image_that_fits_is_placed_without_a_change_of_its_pixels() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    placed = fitted(image, config(height=48, width_px=128, fit="place"))
    assert placed.shape == (3, 48, 128)
    assert (placed[:, 14:34, :30] == np.asarray(image).transpose(2, 0, 1)).all()
    assert (placed[:, :, 30:] == 255).all()


def test_a_large_image_is_shrunk_with_its_aspect() -> None:
    placed = fitted(Image.new("RGB", (512, 96), "black"), config(height=48, width_px=128, fit="place"))
    assert (placed[0, 12:36] < 10).all()
    assert (placed[0, :11] > 245).all()


def test_squash_fills_the_size() -> None:
    assert fitted(Image.new("RGB", (10, 90), "black"), config()).max() == 0
