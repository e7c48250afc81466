"""Designs: what fits together, what is refused and with which words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.errors import ModelError, UnknownNameError
from harness.models.wavelet.design import NAMED, Design, named_design
from harness.models.wavelet.front_end import FrontEnd


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_named_design_makes_tokens_at_its_own_size(name: str) -> None:
    end = FrontEnd(named_design(name), 512, 512, 896)
    assert end.tokens in (256, 4096)


def test_an_unknown_design_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownNameError, match="wavelet-v3"):
        named_design("wavelet-v33")


def test_a_wavelet_that_the_image_is_too_short_for_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match=r"db8 has filters of 16 taps.*64 x 64.*2 levels, not for 3"):
        Design(wavelet="db8").grid(64, 64)


def test_an_image_without_whole_cells_is_refused() -> None:
    with pytest.raises(ModelError, match="60 x 64 pixels has no whole cells of 8"):
        Design().grid(60, 64)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"wavelet": "no-such"}, "knows no discrete wavelet"),
        ({"wavelet": None, "layout": "comb", "projection": "dense"}, "layout block"),
        ({"wavelet": None, "projection": "pyramid"}, "no levels"),
        ({"widths": (48, 80)}, "2 entries for 3 levels"),
        ({"projection": "dense", "widths": (48, 32, 48)}, "belong to projection: block-diagonal"),
        ({"projection": "conv"}, "set wavelet: null"),
        ({"normalise": "zca"}, "zca"),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Design.model_validate(fields)


def test_widths_that_do_not_sum_to_the_network_are_refused() -> None:
    with pytest.raises(ModelError, match=r"sum to 120, not to the width 128"):
        Design(widths=(40, 32, 48)).level_widths(128)


def test_no_level_gets_less_than_an_eighth_of_the_width() -> None:
    assert min(Design().level_widths(128)) >= 16
    assert sum(Design().level_widths(128)) == 128
