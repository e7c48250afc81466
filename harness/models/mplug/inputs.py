"""From images and texts to mPLUG's tensors, and from token ids to text.

Pixels: RGB, scaled to a square by bicubic interpolation without regard to the aspect ratio, CLIP's mean and deviation.
Texts: BERT's uncased word pieces; whether `[SEP]` ends them and how far they are padded are settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import ModelError
from harness.models.mplug.beams import CLS, PAD, SEP

if TYPE_CHECKING:
    from PIL.Image import Image

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_SPECIAL = {"[PAD]": PAD, "[CLS]": CLS, "[SEP]": SEP}


def pixels(images: Sequence[Image], side_px: int) -> Tensor:
    """Images → (images, 3, side, side) in float32, normalised."""
    from PIL.Image import Resampling

    squares = [image.convert("RGB").resize((side_px, side_px), Resampling.BICUBIC) for image in images]
    # (images, rows, columns, 3) → (images, 3, rows, columns)
    stacked = torch.from_numpy(np.stack([np.asarray(square) for square in squares])).permute(0, 3, 1, 2)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return (stacked.float() / 255 - mean) / deviation


@dataclass(frozen=True, slots=True)
class Texts:
    """Padded texts: ids and mask, both (texts, tokens)."""

    ids: Tensor
    mask: Tensor

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [int(n) for n in self.mask.sum(dim=1)]


class WordPieces:
    """The library's BERT tokenizer over a vocabulary file, without special tokens of its own."""

    def __init__(self, path: Path, vocabulary: int) -> None:
        """Read one piece a line; the network has `vocabulary` of them.

        Raises:
            ModelError: no such file, more pieces than the network knows, or special tokens in other places.
        """
        from transformers import BertTokenizer

        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{path} cannot be read: {error}; give BERT's vocab.txt as run.options.vocab") from error
        pieces = {line.rstrip("\n"): number for number, line in enumerate(lines)}
        if len(lines) > vocabulary:
            raise ModelError(f"{path} has {len(lines)} pieces and the network knows {vocabulary}; give its own file")
        for piece, number in _SPECIAL.items():
            if pieces.get(piece) != number:
                raise ModelError(
                    f"{path}: {piece} is number {pieces.get(piece)}, must be {number}; give the vocab.txt of "
                    "bert-base-uncased"
                )
        if "[UNK]" not in pieces:
            raise ModelError(f"{path} has no [UNK]; give the vocab.txt of bert-base-uncased")
        self._tokenizer: Any = BertTokenizer(vocab=pieces, do_lower_case=True)

    def encode(self, texts: Sequence[str], *, end: bool, pad_to: int = 0) -> Texts:
        """`[CLS]`, the pieces, and `[SEP]` where `end`.

        Args:
            pad_to: tokens that each text has, cut or padded on the right; 0 pads to the longest and cuts nothing.
        """
        rows = []
        for text in texts:
            pieces: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            rows.append([CLS, *(pieces[: pad_to - 1 - end] if pad_to else pieces), *([SEP] if end else [])])
        width = pad_to or max(map(len, rows))
        ids = torch.full((len(rows), width), PAD)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        return Texts(ids, mask)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without `[SEP]`, `[CLS]` and `[PAD]`, punctuation set as in English."""
        text: str = self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=True)
        for piece in _SPECIAL:
            text = text.replace(piece, "")
        return text.strip()
