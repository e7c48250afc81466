"""The vision tower: CLIP's image transformer, every patch state after the last layer norm, no projection.

Names of modules are those of the released weights.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import ModelError
from harness.models.mplug.sizes import POSITION_TABLE, VISION_HEAD_WIDTH, Sizes

_EPS = 1e-5
_GELU_SLOPE = 1.702


def resized_positions(table: Tensor, grid: int) -> Tensor:
    """A table of positions (1 + grid², width) for another grid; the class token's row is kept.

    Bilinear without aligned corners and without smoothing, in float32, cast back.

    Raises:
        ModelError: the stored table is no square grid.
    """
    stored = round((table.shape[0] - 1) ** 0.5)
    if stored < 1 or stored * stored != table.shape[0] - 1:
        raise ModelError(f"{POSITION_TABLE}: expected a square grid and the class token, found {table.shape[0]} rows")
    if stored == grid:
        return table
    plane = table[1:].float().reshape(1, stored, stored, -1).permute(0, 3, 1, 2)  # (1, width, rows, columns)
    plane = functional.interpolate(plane, size=(grid, grid), mode="bilinear", align_corners=False, antialias=False)
    rows = plane.permute(0, 2, 3, 1).reshape(grid * grid, -1).to(table.dtype)
    return torch.cat([table[:1], rows])


class _FusedAttention(nn.Module):
    """Full self-attention with queries, keys and values in one stacked weight, in that order."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // VISION_HEAD_WIDTH
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        """States (batch, tokens, width) → the same shape."""
        batch, tokens, width = states.shape
        stacked = functional.linear(states, self.in_proj_weight, self.in_proj_bias)
        # (batch, tokens, 3, heads, head width) → three of (batch, heads, tokens, head width)
        query, key, value = stacked.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, self.out_proj(found.transpose(1, 2).reshape(batch, tokens, width)))


class _FeedForward(nn.Module):
    """Four times as wide inside, with x·sigmoid(1.702x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, states: Tensor) -> Tensor:
        """States (batch, tokens, width) → the same shape."""
        wide = self.c_fc(states)
        return cast(Tensor, self.c_proj(wide * torch.sigmoid(_GELU_SLOPE * wide)))


class _Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = _FusedAttention(width)
        self.ln_2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = _FeedForward(width)

    def forward(self, states: Tensor) -> Tensor:
        """States (batch, tokens, width) → the same shape."""
        states = states + self.attn(self.ln_1(states))
        return cast(Tensor, states + self.mlp(self.ln_2(states)))


class _Transformer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(sizes.vision_width) for _ in range(sizes.vision_layers))


class _Tower(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, patch = sizes.vision_width, sizes.patch_px
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(sizes.image_tokens, width))
        self.ln_pre = nn.LayerNorm(width, eps=_EPS)
        self.transformer = _Transformer(sizes)
        self.ln_post = nn.LayerNorm(width, eps=_EPS)


class VisionTower(nn.Module):
    """Pixels → states of the class token and of every patch."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.visual = _Tower(sizes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (batch, 3, side, side) → states (batch, 1 + patches, width), patches row by row."""
        tower = self.visual
        patches = tower.conv1(pixels).flatten(2).transpose(1, 2)  # (batch, patches, width)
        first = tower.class_embedding.expand(patches.shape[0], 1, -1)
        states = tower.ln_pre(torch.cat([first, patches], dim=1) + tower.positional_embedding)
        for block in tower.transformer.resblocks:
            states = block(states)
        return cast(Tensor, tower.ln_post(states))
