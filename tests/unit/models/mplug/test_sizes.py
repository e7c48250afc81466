"""Sizes and counts of the released models. Evidence: published figures, counted on the meta device without memory."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from harness.errors import ModelError
from harness.models.mplug.sizes import Settings, published, sizes_of, stored_side_px
from tests.unit.models.mplug import layout
from tests.unit.models.mplug.layout import live, released

CLIP_WIDTH = {"base": 512, "large": 768}
Size = Literal["base", "large"]


@pytest.mark.parametrize(
    ("size", "stored", "vqa", "caption"), [("base", 491.4, 347.0, 224.0), ("large", 770.2, 565.3, 442.2)]
)
def test_parameters_stored_and_live_are_the_published_ones(
    size: Size, stored: float, vqa: float, caption: float
) -> None:
    def millions(number: int) -> float:
        return round(number / 1e6, 1)

    assert millions(layout.stored(published(size, "vqa"), CLIP_WIDTH[size])) == stored
    assert millions(layout.count(live(published(size, "vqa")))) == vqa
    assert millions(layout.count(live(published(size, "caption")))) == caption


def test_a_retrieval_model_of_the_large_size_has_no_decoder_and_three_heads() -> None:
    shapes = live(published("large", "retrieval"))
    assert layout.count(shapes) == 427_766_530
    assert not any(key.startswith("text_decoder.") for key in shapes)
    assert shapes["vision_proj.weight"] == shapes["text_proj.weight"] == (256, 768)
    assert shapes["itm_head.weight"] == (2, 768)


@pytest.mark.parametrize(
    ("size", "task", "keys"),
    [
        ("base", "caption", 1047),
        ("base", "vqa", 1047),
        ("large", "caption", 1195),
        ("large", "vqa", 1195),
        ("large", "retrieval", 881),
    ],
)
def test_live_keys_are_among_those_of_the_released_files_with_their_shapes(size: Size, task: Any, keys: int) -> None:
    sizes = published(size, task)
    everything = released(sizes, CLIP_WIDTH[size])
    assert len(everything) == keys
    assert live(sizes).items() <= everything.items()


@pytest.mark.parametrize("task", ["vqa", "retrieval"])
@pytest.mark.parametrize("size", ["base", "large"])
def test_sizes_are_read_back_from_the_shapes_of_a_released_file(size: Size, task: Any) -> None:
    sizes = published(size, task)
    everything = released(sizes, CLIP_WIDTH[size])
    assert sizes_of(everything, task, sizes.settings) == sizes
    assert stored_side_px(everything) == sizes.settings.image_px


def test_one_odd_weight_does_not_change_the_sizes() -> None:
    sizes = published("base", "vqa")
    everything = released(sizes, 512)
    for key in (
        "text_decoder.bert.embeddings.word_embeddings.weight",
        "text_decoder.bert.embeddings.LayerNorm.weight",
        "text_decoder.bert.encoder.layer.0.intermediate.dense.weight",
        "visual_encoder.visual.ln_pre.weight",
    ):
        odd = {**everything, key: (everything[key][0] - 1, *everything[key][1:])}
        assert sizes_of(odd, "vqa", sizes.settings) == sizes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(7, 384, 6, 3), "heads is 7; give a divisor of the hidden width 768"),
        (Settings(12, 380, 6, 3), "image_px is 380; give a multiple of the patch, 16"),
        (Settings(12, 384, 13, 3), "fusion_layers is 13; give 1 to 12"),
        (Settings(12, 384, None, 3), "fusion_layers is None"),
        (Settings(12, 384, 6, 0), "stride_layer is 0; give an integer >= 1"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: Settings, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        sizes_of(released(published("base", "vqa"), 512), "vqa", settings)


def test_a_file_of_another_task_or_model_is_refused() -> None:
    retrieval = released(published("large", "retrieval"), 768)
    with pytest.raises(ModelError, match=r"no weight whose name matches|lacks text_decoder"):
        sizes_of(retrieval, "vqa", Settings(12, 336, 6, 6))
    with pytest.raises(ModelError, match="none of mPLUG"):
        sizes_of({"model.embed_tokens.weight": (10, 4)}, "caption", Settings(12, 336))


@pytest.mark.parametrize("rows", [1, 0, 578])
def test_positions_that_are_no_square_grid_are_refused(rows: int) -> None:
    shapes = {
        "visual_encoder.visual.positional_embedding": (rows, 8),
        "visual_encoder.visual.conv1.weight": (8, 3, 16, 16),
    }
    with pytest.raises(ModelError, match=f"positional_embedding: expected a square grid .* found {rows} rows"):
        stored_side_px(shapes)
