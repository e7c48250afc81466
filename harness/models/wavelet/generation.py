"""Greedy text and option likelihoods from the family's own decoder, batched, with a cache of keys and values.

Prompts are padded on the left, between image and text; pads are masked and positions count from the prompt's first
token, so an answer does not depend on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from harness.errors import ModelError
from harness.models.decoding import NOT_FINITE

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.wavelet.network import Captioner


@torch.inference_mode()
def greedy(
    network: Captioner,
    pixels: Tensor | None,
    shown: Tensor | None,
    counts: Sequence[int],
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    pad: int,
    least: int,
    most: int,
) -> list[list[int]]:
    """The likeliest next token, again and again: ids of each answer without its end.

    Args:
        pixels: (images, channels, height, width); `None` where no row has an image.
        shown: which of `pixels` each image of the rows is, in order of the rows; all in order where `None`.
        counts: images of each row.
        prompts: ids of each prompt, start token included.
        least, most: tokens of an answer; `end` is not taken before `least`. An answer also ends where prompt and answer
            fill the decoder's positions.

    Raises:
        ModelError: scores of a row that are no finite numbers.
    """
    device, room = network.decoder.positions.device, network.decoder.positions.shape[0]
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), pad, device=device)
    real = torch.zeros(len(prompts), longest, dtype=torch.bool, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt, device=device)
        real[row, longest - len(prompt) :] = True
    places = (real.cumsum(1) - 1).clamp(min=0)
    prefix, there = network.prefix(pixels, list(counts), shown)
    keys = torch.cat([there, real], dim=1)
    total = keys.shape[1]
    causal = torch.ones(total, total, dtype=torch.bool, device=device).tril()
    mask = (causal & keys[:, None, :]) | torch.eye(total, dtype=torch.bool, device=device)
    hidden, cache = network.decoder(prefix, ids, places, mask[:, None])
    answers: list[list[int]] = [[] for _ in prompts]
    bad = torch.zeros((), dtype=torch.bool, device=device)
    going = list(range(len(prompts)))
    place = places[:, -1]
    for number in range(most):
        logits = network.decoder.logits(hidden[:, -1])
        bad |= ~(logits < torch.inf).all()
        if number < least:
            logits[:, end] = -torch.inf
        token = logits.argmax(-1)
        for row, value in zip(going, token.tolist(), strict=True):
            answers[row].append(value)
        rest = [
            k
            for k, row in enumerate(going)
            if answers[row][-1] != end and len(prompts[row]) + len(answers[row]) <= room
        ]
        if not rest or number + 1 == most:
            break
        if len(rest) < len(going):
            kept = torch.tensor(rest, device=device)
            going = [going[k] for k in rest]
            token, place, keys = token[kept], place[kept], keys[kept]
            cache = [(k[kept], v[kept]) for k, v in cache]
        place = place + 1
        keys = torch.cat([keys, keys.new_ones(len(going), 1)], dim=1)
        hidden, cache = network.decoder(None, token[:, None], place[:, None], keys[:, None, None, :], cache)
    if bad:
        raise ModelError(NOT_FINITE)
    return [answer[:-1] if answer and answer[-1] == end else answer for answer in answers]


@torch.inference_mode()
def option_scores(
    network: Captioner, pixels: Tensor | None, count: int, prompt: Sequence[int], options: Sequence[Sequence[int]]
) -> list[list[float]]:
    """log p of each token of each option after one prompt with its images, all options in one pass."""
    from harness.models.likelihood import token_scores
    from harness.models.wavelet.network import turn_mask

    device = network.decoder.positions.device
    longest = len(prompt) + max(map(len, options)) - 1
    ids = torch.zeros(len(options), longest, dtype=torch.long, device=device)
    turns = torch.full_like(ids, -1)
    for row, option in enumerate(options):
        text = [*prompt, *option[:-1]]
        ids[row, : len(text)] = torch.tensor(text, device=device)
        turns[row, : len(text)] = 0
    prefix, shown = network.prefix(pixels, [count])
    wide = None if prefix is None else prefix.expand(len(options), -1, -1)
    mask = turn_mask(turns, shown.shape[1], shown.expand(len(options), -1))
    places = torch.arange(longest, device=device).expand(len(options), -1)
    hidden, _ = network.decoder(wide, ids, places, mask)
    first = len(prompt) - 1
    return [
        token_scores(network.decoder.logits(hidden[row, first : first + len(option)]), torch.tensor(option))
        for row, option in enumerate(options)
    ]
