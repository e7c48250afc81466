"""The fonts shipped with the package, and cached masks of words drawn in them.

No system font is ever used, so pictures are the same on every machine with the same Pillow. See `fonts/README.md` for
where the fonts come from and their licences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from harness.errors import DatasetError

_FOLDER = Path(__file__).parent / "fonts"


def _font(name: str) -> Path:
    path = _FOLDER / name
    if not path.is_file():
        raise DatasetError(f"{path}: a font of the package is missing; install the package again")
    return path


def dejavu_sans() -> Path:
    """DejaVu Sans, whole: Latin, Greek, Cyrillic and many symbols."""
    return _font("DejaVuSans.ttf")


def math_regular() -> Path:
    """Upright letters, digits and signs for formulas."""
    return _font("HarnessMath-Regular.ttf")


def math_italic() -> Path:
    """Italic Latin and Greek letters for formulas."""
    return _font("HarnessMath-Italic.ttf")


@dataclass(frozen=True, slots=True)
class Mask:
    """Ink of a word or sign, cut to its ink, relative to a pen that stands on the base line."""

    ink: NDArray[np.uint8]
    """(height, width), 0 none to 255 full, in 16 steps so that pictures keep few colours."""
    left: int
    """Columns from the pen to the first inked column; may be negative."""
    top: int
    """Rows from the base line to the first inked row; negative above it."""
    advance: float
    """Columns by which the pen moves on."""

    @property
    def width(self) -> int:
        """Inked columns."""
        return int(self.ink.shape[1])


@lru_cache(maxsize=64)
def _load(path: Path, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def text_mask(path: Path, size_px: int, text: str) -> Mask:
    """The ink of `text`, drawn once for each font, size and text. `size_px` is the em in pixels."""
    font = _load(path, size_px)
    width, height = int(font.getlength(text)) + 2 * size_px, 3 * size_px
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((size_px // 2, 2 * size_px), text, fill=255, font=font, anchor="ls")
    return cut(np.asarray(image), size_px // 2, 2 * size_px, font.getlength(text))


def cut(ink: NDArray[np.uint8], pen: int, base: int, advance: float) -> Mask:
    """The mask of a drawing whose pen stood at column `pen` and row `base`, quantised to 16 steps."""
    ink = stepped(ink)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return Mask(np.zeros((0, 0), np.uint8), 0, 0, advance)
    top, left = int(rows[0]), int(columns[0])
    return Mask(ink[top : rows[-1] + 1, left : columns[-1] + 1].copy(), left - pen, top - base, advance)


def stepped(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The ink in 16 steps from 0 to 255."""
    return ((ink.astype(np.uint16) + 8) // 17 * 17).astype(np.uint8)
