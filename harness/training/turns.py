"""Examples as rows of token ids: the turns about one picture side by side, each seeing the picture and itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from harness.models.wavelet.network import Rows
from harness.training.examples import Example
from harness.training.vocabulary import END, PAD, START

IGNORED = -100
"""Target of a token that is not learned."""


def rows_of(batch: Sequence[Example], ids: Callable[[str], list[int]]) -> Rows:
    """The rows of a batch, padded on the right.

    A turn is the start token, the prompt, and the answer behind a blank; its targets are the answer's tokens and the
    end token. `ids` encodes a text without special tokens.
    """
    made: list[list[tuple[int, int, int, int]]] = []
    for example in batch:
        row: list[tuple[int, int, int, int]] = []
        for number, turn in enumerate(example.turns):
            prompt = [START, *ids(turn.prompt)]
            answer = [*ids(f" {turn.answer}"), END]
            read = [*prompt, *answer[:-1]]
            targets = [IGNORED] * (len(prompt) - 1) + answer
            row += zip(read, targets, [number] * len(read), range(len(read)), strict=True)
        made.append(row)
    longest = max(map(len, made))
    padded = [row + [(PAD, IGNORED, -1, 0)] * (longest - len(row)) for row in made]
    return Rows(*torch.tensor(padded).unbind(2))
