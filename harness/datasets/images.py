"""Encoded image bytes → RGB pixels, or an `ImageError` that says why not.

Conventions: transparency is laid on white (charts and formulas are drawn on white); palettes are expanded; 16-bit grey
is scaled to 8 bits; of an animation the first frame is taken; an EXIF orientation is NOT applied, because the reference
loaders of these benchmarks (`Image.open(...).convert("RGB")`) do not apply it.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.datasets.base import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 90_000_000
"""Pictures with more pixels are refused by their header; decoded, this many take 270 MB."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats that are read; of the others that Pillow knows some start programs or write to the error stream."""

_FILTERS = threading.Lock()
"""Warning filters belong to the process; two threads must not swap them at once."""
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on damaged bytes (found by feeding them damaged files)."""


def decode(data: bytes, locator: str) -> Picture:
    """The picture as 8-bit RGB.

    Args:
        data: the bytes of an image file.
        locator: what messages call it.

    Raises:
        ImageError: `image_too_large` (more than `MAX_PIXELS`, judged by the header), `truncated_image` (the file ends
            too early), `unreadable_image` (anything else).
    """
    picture = _open(data, locator)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError("image_too_large", f"{locator}: {width} x {height} pixels; the limit is {MAX_PIXELS:,}")
    try:
        picture.load()
        return _rgb(picture, locator)
    except Image.DecompressionBombError as error:
        raise ImageError("image_too_large", f"{locator}: {error}") from error
    except _DECODER_ERRORS as error:
        raise _damaged(error, locator) from error


def _open(data: bytes, locator: str) -> Picture:
    """The picture with its header read and its pixels not; Pillow's warnings are answered by our own limit."""
    try:
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if not data:
            raise ImageError("truncated_image", f"{locator}: the image file is empty") from error
        raise ImageError("unreadable_image", f"{locator}: no image format that is known ({FORMATS})") from error
    except Image.DecompressionBombError as error:
        raise ImageError("image_too_large", f"{locator}: {error}; the limit is {MAX_PIXELS:,} pixels") from error
    except _DECODER_ERRORS as error:
        raise _damaged(error, locator) from error


def _damaged(error: Exception, locator: str) -> ImageError:
    early = isinstance(error, EOFError) or "truncated" in str(error).lower()
    kind, what = ("truncated_image", "the file ends too early") if early else ("unreadable_image", "damaged")
    return ImageError(kind, f"{locator}: {what}: {type(error).__name__}: {error}")


def _rgb(picture: Picture, locator: str) -> Picture:
    if picture.mode == "F":
        raise ImageError("unreadable_image", f"{locator}: floating-point pixels have no agreed range; use 8 bits")
    if picture.mode.startswith("I"):
        return _from_16_bit(picture)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _from_16_bit(picture: Picture) -> Picture:
    """Grey values of 0–65535 as 0–255; Pillow's own conversion cuts everything above 255 to white."""
    grey = np.asarray(picture).astype(np.int64)  # (height, width)
    small = np.clip((grey + 128) // 257, 0, 255).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        small[grey == transparent] = 255
    return Image.fromarray(small).convert("RGB")
