"""Beam search exactly as the released generator does it.

It differs from the library's in what decides the tokens: a beam that has ended stays among the beams, so that a later
hypothesis may hold an inner end token; only as many candidates as beams are kept; and an example is done as soon as its
best candidate has ended. Scores are divided by ((5 + n) / 6)^0.6 for n new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import ModelError
from harness.models.decoding import NOT_FINITE
from harness.models.mplug.decoder import Context, Past, TextDecoder

PAD, CLS, SEP = 0, 101, 102
"""Ids that the generator takes literally, whatever the vocabulary says."""
LENGTH_EXPONENT = 0.6
_BARRED = -1e20


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One finished sequence."""

    ids: tuple[int, ...]
    """`[CLS]` and the new tokens."""
    score: float
    """log p of the new tokens over the length's penalty."""


def length_penalty(new_tokens: int) -> float:
    """What the log-probability of so many new tokens is divided by (Wu et al. 2016, equation 14)."""
    return float(((5.0 + new_tokens) / 6.0) ** LENGTH_EXPONENT)


def beam_search(
    decoder: TextDecoder,
    context: Context,
    *,
    beams: int,
    min_length: int,
    max_length: int,
    use_cache: bool = True,
) -> list[list[Hypothesis]]:
    """Hypotheses of each example of the context, best first.

    Args:
        min_length: new tokens before the end token is allowed.
        max_length: new tokens after which an example is done.
        use_cache: keep keys and values between steps; without it every step reads the sequences anew.

    Raises:
        ModelError: scores of an example that are no finite numbers.
    """
    found: list[list[Hypothesis]] = [[] for _ in range(len(context))]
    device = context.layers[0][0].device
    running = list(range(len(context)))  # the example behind each block of beams
    ids = torch.full((len(context) * beams, 1), CLS, device=device)  # (examples x beams, tokens)
    totals = torch.full((len(context), beams), -torch.inf, device=device)  # (examples, beams)
    totals[:, 0] = 0.0
    past = Past()
    for new_tokens in range(1, max_length + 1):
        if use_cache:
            logits = decoder(ids[:, -1:], context, past=past)[:, -1]
        else:
            logits = decoder(ids, context)[:, -1]
        if not (logits < torch.inf).all():
            raise ModelError(NOT_FINITE)
        logp = logits.log_softmax(dim=-1)  # (examples x beams, vocabulary)
        if new_tokens - 1 < min_length:
            logp[:, SEP] = _BARRED
        penalty = length_penalty(new_tokens)
        candidates = (totals.view(-1, 1) + logp).view(len(running), -1) / penalty
        scores, places = candidates.topk(beams, dim=-1)  # (examples, beams)
        totals = scores * penalty
        first = torch.arange(len(running), device=device)[:, None] * beams
        parents = (first + places // logp.shape[-1]).flatten()
        ids = torch.cat([ids[parents], (places % logp.shape[-1]).view(-1, 1)], dim=1)
        ended = ids[:, -1].view(-1, beams) == SEP  # (examples, beams)
        done = ended[:, 0] | (new_tokens == max_length)
        _store(found, running, ids.view(len(running), beams, -1), scores, ended | done[:, None])
        going = (~done).nonzero()[:, 0]
        if not len(going):
            break
        if use_cache:
            past = past.rows(parents.view(-1, beams)[going].flatten())
        if len(going) < len(running):
            context, totals = context.rows(going), totals[going]
            ids = ids.view(len(running), beams, -1)[going].flatten(0, 1)
            running = [running[place] for place in going.tolist()]
    return [sorted(hypotheses, key=lambda h: -h.score) for hypotheses in found]


def _store(found: list[list[Hypothesis]], running: list[int], ids: Tensor, scores: Tensor, finished: Tensor) -> None:
    """Add the finished candidates, ids (examples, beams, tokens), to their examples."""
    for example, beam in finished.nonzero().tolist():
        hypothesis = Hypothesis(tuple(ids[example, beam].tolist()), float(scores[example, beam]))
        found[running[example]].append(hypothesis)
