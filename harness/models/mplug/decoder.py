"""The text decoder: causal self-attention, cross-attention to a context in every layer, a head tied to the words.

`Context` is computed once for an example and serves all of its beams or candidates. `Past` holds the keys and values
of tokens already read; a step with a past and one without it give the same logits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.models.mplug.bert import (
    CONTEXT_PENALTY,
    EPS,
    TEXT_PENALTY,
    Embeddings,
    KeysValues,
    Stack,
    additive,
)
from harness.models.mplug.sizes import Sizes


@dataclass(frozen=True, slots=True)
class Context:
    """What the decoder attends to: keys and values of each layer, and a mask to add, (batch, 1, 1, tokens)."""

    layers: tuple[KeysValues, ...]
    mask: Tensor | None

    def __len__(self) -> int:
        return len(self.layers[0][0])

    def rows(self, kept: Tensor) -> Context:
        """The examples with these numbers."""
        mask = self.mask if self.mask is None else self.mask[kept]
        return Context(tuple((keys[kept], values[kept]) for keys, values in self.layers), mask)


@dataclass(slots=True)
class Past:
    """Keys and values of each layer for the tokens read so far; empty before the first."""

    layers: list[KeysValues] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens read."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def extended(self, number: int, new: KeysValues) -> KeysValues:
        """Keys and values of layer `number` with those of the new tokens behind them, which are kept."""
        if number == len(self.layers):
            self.layers.append(new)
        else:
            keys, values = self.layers[number]
            self.layers[number] = (torch.cat([keys, new[0]], dim=2), torch.cat([values, new[1]], dim=2))
        return self.layers[number]

    def rows(self, kept: Tensor) -> Past:
        """The past of these rows, in this order."""
        return Past([(keys[kept], values[kept]) for keys, values in self.layers])


class _Transform(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.hidden, sizes.hidden)
        self.LayerNorm = nn.LayerNorm(sizes.hidden, eps=EPS)


class _Predictions(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.transform = _Transform(sizes)
        self.bias = nn.Parameter(torch.zeros(sizes.vocabulary))


class _Head(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.predictions = _Predictions(sizes)


class _Body(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = Stack(sizes, range(sizes.decoder_layers), crosses=True)


class TextDecoder(nn.Module):
    """Token ids and a context → logits of the next tokens."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.bert = _Body(sizes)
        self.cls = _Head(sizes)

    def context(self, states: Tensor, mask: Tensor | None = None) -> Context:
        """The context of states (batch, tokens, hidden); a mask (batch, tokens) where some of them are padding."""
        added = None if mask is None else additive(mask, CONTEXT_PENALTY, states.dtype)[:, None, None, :]
        layers = self.bert.encoder.layers()
        return Context(tuple(layer.crossattention.keys_values(states) for layer in layers), added)

    def forward(self, ids: Tensor, context: Context, *, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """Ids (rows, tokens) → logits (rows, tokens, vocabulary) in float32.

        Rows are a multiple of the context's examples, neighbours belong together. A mask (rows, tokens) marks padding
        on the right; with a past, which is extended in place, there is none.
        """
        past = Past() if past is None else past
        start = past.length
        states = self.bert.embeddings(ids, start)
        seen = self._seen(ids, start, mask, states.dtype)
        for number, layer in enumerate(self.bert.encoder.layers()):
            kept = past.extended(number, layer.attention.keys_values(states))
            states = layer.attention(states, kept, seen)
            states = layer.crossattention(states, context.layers[number], context.mask)
            states = layer.feed_forward(states)
        predictions = self.cls.predictions
        states = predictions.transform.LayerNorm(functional.gelu(predictions.transform.dense(states)))
        return functional.linear(states, self.word_weights, predictions.bias).float()

    @property
    def word_weights(self) -> Tensor:
        """Word embeddings (vocabulary, hidden), which are also the last projection."""
        return self.bert.embeddings.word_embeddings.weight

    @staticmethod
    def _seen(ids: Tensor, start: int, mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """What each token may attend to, (1 or rows, 1, tokens, start + tokens): itself and what is before it."""
        tokens = ids.shape[1]
        if tokens == 1 and mask is None:
            return None
        causal = torch.ones(tokens, start + tokens, device=ids.device).tril(start)[None, None]
        return additive(causal if mask is None else causal * mask[:, None, None, :], TEXT_PENALTY, dtype)
