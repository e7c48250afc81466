"""Images made worse on purpose, in five levels; the same image and level give the same pixels everywhere.

Sizes are relative to an image of 336 px, so that a level means the same for small and large pictures. Noise is seeded
by the image's own pixels. The kinds follow the common corruptions of Hendrycks and Dietterich 2019; levels are our own.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from harness.vocabulary import PERTURBATION_LEVELS

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE_PX = 336
JPEG_QUALITY = (60, 35, 20, 10, 5)
BLUR_PX = (0.7, 1.4, 2.5, 4.0, 6.0)
"""Standard deviation at 336 px."""
NOISE = (0.04, 0.08, 0.14, 0.22, 0.32)
"""Standard deviation as a share of the range."""
DOWNSCALE = (0.7, 0.5, 0.35, 0.25, 0.15)
"""Side of the picture that the pixels come from, as a share."""
ROTATION_DEGREES = (2, 5, 10, 20, 45)
CONTRAST = (0.8, 0.6, 0.4, 0.25, 0.12)


def jpeg(image: Image, level: int) -> Image:
    """Saved as JPEG and read again."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY[level - 1])
    return Pillow.open(buffer).convert("RGB")


def blur(image: Image, level: int) -> Image:
    """Gaussian blur."""
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(BLUR_PX[level - 1] * min(image.size) / _SIDE_PX))


def noise(image: Image, level: int) -> Image:
    """Gaussian noise on every channel, seeded by the pixels."""
    import numpy as np
    from PIL import Image as Pillow

    pixels = np.asarray(image, dtype=np.float64)
    rng = np.random.default_rng(int.from_bytes(sha256(pixels.astype(np.uint8).tobytes()).digest()[:8], "big"))
    noisy = pixels + rng.normal(0.0, 255 * NOISE[level - 1], pixels.shape)
    return Pillow.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def downscale(image: Image, level: int) -> Image:
    """Made smaller and brought back to its size, both bilinear."""
    from PIL import Image as Pillow

    share = DOWNSCALE[level - 1]
    small = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(small, Pillow.Resampling.BILINEAR).resize(image.size, Pillow.Resampling.BILINEAR)


def rotate(image: Image, level: int) -> Image:
    """Turned anticlockwise on white, the whole picture kept."""
    from PIL import Image as Pillow

    return image.rotate(ROTATION_DEGREES[level - 1], Pillow.Resampling.BICUBIC, expand=True, fillcolor="white")


def contrast(image: Image, level: int) -> Image:
    """Drawn towards its mean grey."""
    from PIL import ImageEnhance

    return ImageEnhance.Contrast(image).enhance(CONTRAST[level - 1])


def grey(image: Image) -> Image:
    """Without colour."""
    return image.convert("L").convert("RGB")


def _each(change: Callable[[Image], Image], images: tuple[Image, ...]) -> tuple[Image, ...]:
    return tuple(change(image) for image in images)


_LEVELLED = (jpeg, blur, noise, downscale, rotate, contrast)
PERTURBATIONS: Mapping[str, Callable[[tuple[Image, ...]], tuple[Image, ...]]] = {
    "grey": partial(_each, grey),
    **{
        f"{change.__name__}-{level}": partial(_each, partial(change, level=level))
        for change in _LEVELLED
        for level in PERTURBATION_LEVELS
    },
}
"""Image step → what it does to all images of a sample."""
