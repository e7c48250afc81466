"""What a task does to images before a model sees them; the names are part of a request's identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.engine.perturbations import PERTURBATIONS

if TYPE_CHECKING:
    from PIL.Image import Image

_MARGIN_PX = 16
_INK_LEVEL = 250
_GAP_PX = 20


def crop_margins(images: tuple[Image, ...]) -> tuple[Image, ...]:
    """Each image cut to its ink (grey below 250) plus 16 px; a page without ink stays whole."""
    from PIL import ImageOps

    cut: list[Image] = []
    for image in images:
        ink = ImageOps.grayscale(image).point(lambda level: 255 if level < _INK_LEVEL else 0).getbbox()
        if ink is None:
            cut.append(image)
            continue
        left, top, right, bottom = ink
        box = (
            max(left - _MARGIN_PX, 0),
            max(top - _MARGIN_PX, 0),
            min(right + _MARGIN_PX, image.width),
            min(bottom + _MARGIN_PX, image.height),
        )
        cut.append(image.crop(box))
    return tuple(cut)


def side_by_side(images: tuple[Image, ...]) -> tuple[Image, ...]:
    """One image of all, left to right on white with 20 px between them, scaled to the smallest height."""
    from PIL import Image as Pillow

    if len(images) < 2:
        return images
    height = min(image.height for image in images)
    scaled = [
        image if image.height == height else image.resize((max(1, round(image.width * height / image.height)), height))
        for image in images
    ]
    joined = Pillow.new("RGB", (sum(i.width for i in scaled) + _GAP_PX * (len(scaled) - 1), height), "white")
    left = 0
    for image in scaled:
        joined.paste(image, (left, 0))
        left += image.width + _GAP_PX
    return (joined,)


def no_images(images: tuple[Image, ...]) -> tuple[Image, ...]:
    """No image: the question is put in words alone (a request of such a task does not even read them)."""
    return ()


def stepped(images: tuple[Image, ...], steps: Sequence[str], limit: int | None) -> tuple[Image, ...]:
    """The images after a task's steps; they are joined only where there are more than the `limit` of the model."""
    for step in steps:
        if step != "side_by_side" or (limit is not None and len(images) > limit):
            images = STEPS[step](images)
    return images


STEPS: Mapping[str, Callable[[tuple[Image, ...]], tuple[Image, ...]]] = {
    "crop_margins": crop_margins,
    "side_by_side": side_by_side,
    "no_images": no_images,
    **PERTURBATIONS,
}
