"""A page of pictures: what was asked for, the true picture and the painted one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness.mini.canvas import Pixels, png
from harness.mini.fonts import dejavu_sans

_SCALE, _GAP, _TEXT_PX, _COLUMNS, _LINE_CHARACTERS = 2, 8, 11, 4, 42
_TEXT_LINES = 4


def contact_sheet(texts: Sequence[str], rows: Sequence[tuple[Pixels, Pixels]]) -> bytes:
    """PNG bytes: each text above its pictures, the true one on the left."""
    side = rows[0][0].shape[0] * _SCALE
    width, height = 2 * side + 3 * _GAP, side + _TEXT_LINES * (_TEXT_PX + 3) + 2 * _GAP
    lines = -(-len(rows) // _COLUMNS)
    page = Image.new("RGB", (_COLUMNS * width, lines * height), (236, 236, 236))
    pen = ImageDraw.Draw(page)
    font = ImageFont.truetype(str(dejavu_sans()), _TEXT_PX, layout_engine=ImageFont.Layout.BASIC)
    for number, (text, pictures) in enumerate(zip(texts, rows, strict=True)):
        x, y = number % _COLUMNS * width + _GAP, number // _COLUMNS * height + _GAP
        pen.multiline_text((x, y), textwrap.fill(text, _LINE_CHARACTERS), fill=(20, 20, 20), font=font, spacing=2)
        for place, picture in enumerate(pictures):
            drawn = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
            page.paste(drawn, (x + place * (side + _GAP), y + _TEXT_LINES * (_TEXT_PX + 3)))
    return png(np.asarray(page))
