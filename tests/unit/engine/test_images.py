"""Image steps: worked examples on drawn pictures."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from harness.engine.images import STEPS, crop_margins, side_by_side


def test_margins_are_cut_to_the_ink_plus_sixteen_pixels() -> None:
    page = Image.new("RGB", (400, 600), "white")
    ImageDraw.Draw(page).rectangle((100, 200, 149, 219), fill="black")
    (cut,) = crop_margins((page,))
    assert cut.size == (50 + 32, 20 + 32)
    assert cut.getpixel((16, 16)) == (0, 0, 0)
    assert cut.getpixel((15, 15)) == (255, 255, 255)


def test_a_page_without_ink_stays_whole() -> None:
    assert crop_margins((Image.new("RGB", (40, 30), "white"),))[0].size == (40, 30)


def test_ink_at_the_edge_is_not_padded() -> None:
    page = Image.new("RGB", (40, 30), "black")
    assert crop_margins((page,))[0].size == (40, 30)


def test_two_images_are_joined_left_to_right_at_the_smaller_height() -> None:
    left, right = Image.new("RGB", (10, 20), "red"), Image.new("RGB", (30, 40), "blue")
    (joined,) = side_by_side((left, right))
    assert joined.size == (10 + 20 + 15, 20)
    assert joined.getpixel((0, 0)) == (255, 0, 0)
    assert joined.getpixel((20, 10)) == (255, 255, 255)
    assert joined.getpixel((44, 19)) == (0, 0, 255)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_are_left_alone(count: int) -> None:
    images = tuple(Image.new("RGB", (5, 5)) for _ in range(count))
    assert side_by_side(images) == images


def test_a_task_in_words_alone_shows_no_image() -> None:
    assert STEPS["no_images"]((Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4)))) == ()
