"""Painting masks on pixel arrays, and lossless PNG bytes that are the same every time."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
"""(height, width, 3) RGB, or (height, width) grey; 0 black to 255 white."""
Colour = tuple[int, int, int]


def paint(canvas: Pixels, ink: Pixels, x: int, y: int, colour: Colour) -> None:
    """Paint `colour` through `ink` (height, width; 255 opaque) with its first pixel at column `x`, row `y`.

    Raises:
        ValueError: if the ink would leave the canvas; nothing is ever clipped.
    """
    height, width = ink.shape
    if x < 0 or y < 0 or x + width > canvas.shape[1] or y + height > canvas.shape[0]:
        raise ValueError(
            f"ink of {width}x{height} at ({x}, {y}) leaves a canvas of {canvas.shape[1]}x{canvas.shape[0]}"
        )
    region = canvas[y : y + height, x : x + width]
    alpha = ink[:, :, None].astype(np.int32)
    region[...] = (region * (255 - alpha) + np.array(colour, np.int32) * alpha + 127) // 255


def png(pixels: Pixels) -> bytes:
    """PNG bytes of a picture, without loss: grey as it is, RGB with a palette where it has at most 256 colours."""
    image = Image.fromarray(pixels)
    if pixels.ndim == 3:
        packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        colours, index = np.unique(packed, return_inverse=True)
        if len(colours) <= 256:
            image = Image.fromarray(index.reshape(packed.shape).astype(np.uint8))
            image.putpalette(b"".join(int(c).to_bytes(3, "big") for c in colours))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, compress_level=9)
    return buffer.getvalue()
