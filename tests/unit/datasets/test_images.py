"""Decoding: worked examples for every mode, and properties under damaged bytes."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.datasets.base import ImageError
from harness.datasets.images import MAX_PIXELS, decode
from tests.unit.datasets.builders import jpeg, png, png_header


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def kind_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, "folder/x.png")
    assert str(caught.value).startswith("folder/x.png: ")
    return caught.value.kind


def test_rgb_pixels_are_unchanged() -> None:
    image = decode(png((1, 2, 3)), "x")
    assert image.mode == "RGB"
    assert image.size == (8, 6)
    assert image.getpixel((0, 0)) == (1, 2, 3)


def test_transparency_lies_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    shown = decode(encoded(image), "x")
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 0)]


def test_half_transparent_black_on_white_is_grey() -> None:
    shown = decode(encoded(Image.new("LA", (1, 1), (0, 128))), "x")
    assert shown.getpixel((0, 0)) == (127, 127, 127)


def test_palette_with_transparency_warns_of_nothing_and_lies_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((1, 0), 1)
    shown = decode(encoded(image, transparency=b"\x00\xff"), "x")
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (10, 20, 30)]


def test_grey_of_16_bits_is_scaled_not_cut() -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    shown = decode(encoded(Image.fromarray(values)), "x")
    assert [shown.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


def test_one_bit_and_cmyk_become_rgb() -> None:
    assert decode(encoded(Image.new("1", (1, 1), 1)), "x").getpixel((0, 0)) == (255, 255, 255)
    assert decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), "x").mode == "RGB"


def test_orientation_mark_is_not_applied() -> None:
    mark = Image.Exif()
    mark[0x0112] = 6  # orientation: turn by 90 degrees
    assert decode(encoded(Image.new("RGB", (20, 10)), "JPEG", exif=mark), "x").size == (20, 10)


def test_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, "x").getpixel((0, 0)) == (255, 0, 0)


def test_truncated_jpeg_is_named_so() -> None:
    data = jpeg()
    assert kind_of(data[: len(data) // 2]) == "truncated_image"


def test_truncated_png_is_named_so() -> None:
    data = encoded(Image.open(io.BytesIO(jpeg())))
    assert kind_of(data[: len(data) // 2]) == "truncated_image"


def test_empty_file_is_truncated() -> None:
    assert kind_of(b"") == "truncated_image"


@pytest.mark.parametrize("data", [b"<html>not found</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_picture_is_unreadable(data: bytes) -> None:
    assert kind_of(data) == "unreadable_image"


def test_30000_squared_pixels_are_refused_by_the_header_without_a_warning() -> None:
    data = png_header(30_000, 30_000)
    assert len(data) < 200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kind_of(data) == "image_too_large"


def test_between_the_limit_and_pillows_own_refusal_there_is_no_warning_either() -> None:
    assert MAX_PIXELS < 12_000 * 10_000 < 2 * 89_478_485
    assert kind_of(png_header(12_000, 10_000)) == "image_too_large"


def test_warning_filters_are_as_before() -> None:
    before = list(warnings.filters)
    decode(png(), "x")
    assert warnings.filters == before


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_give_a_picture_or_a_reason_never_another_error(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([png(), jpeg((16, 16)), encoded(Image.new("P", (9, 9)), "GIF")]))
    broken = bytearray(source)
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    try:
        outcome = decode(bytes(broken[:cut]), "x").mode
    except ImageError as error:
        outcome = error.kind
    assert outcome in {"RGB", "unreadable_image", "truncated_image", "image_too_large"}
