"""BERT's parts as mPLUG uses them: post-norm layers, additive masks of a finite size, names of the released weights.

A padded text position gets -10000 on its attention scores and a padded context position -1e9, as in the released
model: in float32 neither is minus infinity.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.models.mplug.sizes import TOKEN_TYPES, Sizes

EPS = 1e-12
TEXT_PENALTY = -10000.0
CONTEXT_PENALTY = -1e9
KeysValues = tuple[Tensor, Tensor]
"""Two of (batch, heads, tokens, head width)."""


def additive(mask: Tensor, penalty: float, dtype: torch.dtype) -> Tensor:
    """A mask of ones and zeros as numbers to add to attention scores: 0 where attended, the penalty elsewhere."""
    return ((1.0 - mask.float()) * penalty).clamp(min=torch.finfo(dtype).min).to(dtype)


class _Projections(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)


class _Output(nn.Module):
    """A linear map, the residual and a layer norm."""

    def __init__(self, inner: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=EPS)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        """(batch, tokens, inner) and (batch, tokens, hidden) → (batch, tokens, hidden)."""
        return cast(Tensor, self.LayerNorm(self.dense(inner) + residual))


class Attention(nn.Module):
    """Attention with its residual and layer norm; keys and values come from outside, so that they can be kept."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.settings.heads
        self.self = _Projections(sizes.hidden)
        self.output = _Output(sizes.hidden, sizes.hidden)

    def keys_values(self, states: Tensor) -> KeysValues:
        """States (batch, tokens, hidden) → keys and values."""
        return self._by_head(self.self.key(states), len(states)), self._by_head(self.self.value(states), len(states))

    def _by_head(self, states: Tensor, batch: int) -> Tensor:
        """(…, hidden) → (batch, heads, tokens, head width)."""
        return states.reshape(batch, -1, self.heads, states.shape[-1] // self.heads).transpose(1, 2)

    def forward(self, states: Tensor, kept: KeysValues, mask: Tensor | None) -> Tensor:
        """States (rows, tokens, hidden) → the same shape.

        Keys and values may be of fewer rows: then each of their batch serves rows / batch neighbouring rows. The mask,
        broadcast to (batch, heads, queries, keys), is added to the scores.
        """
        query = self._by_head(self.self.query(states), len(kept[0]))
        found = functional.scaled_dot_product_attention(query, *kept, attn_mask=mask)
        return cast(Tensor, self.output(found.transpose(1, 2).reshape(states.shape), states))


class _Intermediate(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.hidden, sizes.feed_forward)


class Layer(nn.Module):
    """Self-attention, cross-attention where the part has it, feed-forward."""

    def __init__(self, sizes: Sizes, *, crosses: bool) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        if crosses:
            self.crossattention = Attention(sizes)
        self.intermediate = _Intermediate(sizes)
        self.output = _Output(sizes.feed_forward, sizes.hidden)

    def feed_forward(self, states: Tensor) -> Tensor:
        """States (batch, tokens, hidden) → the same shape."""
        return cast(Tensor, self.output(functional.gelu(self.intermediate.dense(states)), states))

    def attend_self(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """States (batch, tokens, hidden) → the same shape, all tokens of a row together."""
        return cast(Tensor, self.attention(states, self.attention.keys_values(states), mask))


class Embeddings(nn.Module):
    """Word, position and token type, added and normalised."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocabulary, sizes.hidden)
        self.position_embeddings = nn.Embedding(sizes.positions, sizes.hidden)
        self.token_type_embeddings = nn.Embedding(TOKEN_TYPES, sizes.hidden)
        self.LayerNorm = nn.LayerNorm(sizes.hidden, eps=EPS)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """Ids (rows, tokens) at positions `start`, `start` + 1, … → states (rows, tokens, hidden)."""
        places = torch.arange(start, start + ids.shape[1], device=ids.device)
        words = self.word_embeddings(ids) + self.position_embeddings(places)
        return cast(Tensor, self.LayerNorm(words + self.token_type_embeddings.weight[0]))


class Stack(nn.Module):
    """Layers under the numbers they have in the checkpoint."""

    def __init__(self, sizes: Sizes, numbers: range, *, crosses: bool) -> None:
        super().__init__()
        # Keyed by the number in the checkpoint: the fusion encoder's first layers are stored and never run.
        self.layer = nn.ModuleDict({str(number): Layer(sizes, crosses=crosses) for number in numbers})

    def layers(self) -> list[Layer]:
        """The layers in order."""
        return cast(list[Layer], list(self.layer.values()))


class TextEncoder(nn.Module):
    """BERT without a pooler."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = Stack(sizes, range(sizes.text_layers), crosses=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask (batch, tokens) → states (batch, tokens, hidden)."""
        states = self.embeddings(ids)
        added = additive(mask, TEXT_PENALTY, states.dtype)[:, None, None, :]
        for layer in self.encoder.layers():
            states = layer.feed_forward(layer.attend_self(states, added))
        return cast(Tensor, states)


class FusionEncoder(nn.Module):
    """Asymmetric co-attention: the text attends to the image; every `stride_layer` layers both are one sequence.

    The large model's stride is the number of its layers, so that its image stream comes out unchanged.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.stride = sizes.settings.stride_layer or 0
        self.encoder = Stack(sizes, sizes.fusion_range, crosses=True)

    def forward(self, image: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Image (batch, patches, hidden) and text (batch, tokens, hidden) with its mask → both, fused."""
        added = additive(text_mask, TEXT_PENALTY, text.dtype)[:, None, None, :]
        patches = image.shape[1]
        both = torch.cat([added.new_zeros(*added.shape[:3], patches), added], dim=-1)
        for place, layer in enumerate(self.encoder.layers()):
            if place and place % self.stride == 0:
                joined = layer.feed_forward(layer.attend_self(torch.cat([image, text], dim=1), both))
                image, text = image + joined[:, :patches], joined[:, patches:]
            else:
                text = layer.attend_self(text, added)
                text = layer.crossattention(text, layer.crossattention.keys_values(image), None)
                text = layer.feed_forward(text)
        return image, text
