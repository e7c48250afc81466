"""Ranking a closed list of answers as the released model does.

The first step gives every answer the probability of its first token; the best `top_k` are read in full, and their score
is log p(first token) + log p(whole answer), so that the first token counts twice, as in the released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from harness.models.mplug.beams import CLS
from harness.models.mplug.decoder import Context, TextDecoder


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best answers of each example, best first: all (examples, top_k)."""

    index: Tensor
    """Number of the answer in the list."""
    score: Tensor
    """log p(first token) + log p(answer)."""

    @property
    def probability(self) -> Tensor:
        """Softmax over the answers that were read in full."""
        return self.score.softmax(dim=-1)


def rank_answers(decoder: TextDecoder, context: Context, ids: Tensor, mask: Tensor, top_k: int) -> Ranking:
    """The `top_k` best of a list of answers, `[CLS] tokens [SEP]` with mask, both (answers, tokens).

    `top_k` above the number of answers takes all of them.
    """
    examples, top_k = len(context), min(top_k, len(ids))
    start = torch.full((examples, 1), CLS, device=ids.device)
    first = decoder(start, context)[:, 0].softmax(dim=-1)[:, ids[:, 1]]  # (examples, answers)
    chosen_p, chosen = first.topk(top_k, dim=-1)  # (examples, top_k)
    rows, rows_mask = ids[chosen.flatten()], mask[chosen.flatten()]
    logits = decoder(rows, context, mask=rows_mask)  # (examples x top_k, tokens, vocabulary)
    targets, counted = rows[:, 1:], rows_mask[:, 1:].bool()
    logp = logits[:, :-1].log_softmax(dim=-1).gather(2, targets[..., None])[..., 0]
    whole = logp.masked_fill(~counted, 0.0).sum(dim=-1).view(examples, top_k)
    score, order = (chosen_p.log() + whole).sort(dim=-1, descending=True, stable=True)
    return Ranking(cast(Tensor, chosen.gather(1, order)), score)
