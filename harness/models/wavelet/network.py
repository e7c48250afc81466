"""The network of the family: front end, encoder, merged image vectors before the text of a causal decoder.

The decoder is this file's own small one, or any causal language model of transformers (`language.py`). Text rows may
hold several turns about one picture; a turn sees the picture and itself, never another turn, and its positions begin
at 0, so training on many turns at once equals training on each alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.models.wavelet.design import Design
from harness.models.wavelet.front_end import FrontEnd, Places

if TYPE_CHECKING:
    from harness.models.wavelet.checkpoint import WaveletConfig

Cache = list[tuple[Tensor, Tensor]]


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.outputs = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for layer in (self.inputs, self.outputs, self.up, self.down):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        for layer in (self.outputs, self.down):
            with torch.no_grad():
                layer.weight.div_(math.sqrt(2 * depth))

    def forward(
        self, x: Tensor, mask: Tensor | None, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(batch, length, width) → the same, and this block's keys and values (batch, heads, seen, width / heads)."""
        batch, length, width = x.shape
        mixed = self.inputs(self.attention_norm(x)).view(batch, length, 3, self.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.outputs(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.relu(self.up(self.mlp_norm(x))).square()), (key, value)


class Merge(nn.Module):
    """Squares of cells joined to one vector each, with places of their own."""

    def __init__(self, rows: int, columns: int, side: int, width: int) -> None:
        super().__init__()
        self._rows, self._columns, self._side = rows, columns, side
        self.join = nn.Linear(side * side * width, width)
        nn.init.normal_(self.join.weight, std=self.join.in_features**-0.5)
        nn.init.zeros_(self.join.bias)
        self.places = Places(rows // side, columns // side, width)

    def forward(self, vectors: Tensor) -> Tensor:
        """(batch, rows * columns, width) → (batch, rows * columns / side², width)."""
        batch, _, width = vectors.shape
        side = self._side
        cells = vectors.view(batch, self._rows // side, side, self._columns // side, side, width)
        joined: Tensor = self.places(self.join(cells.transpose(2, 3).reshape(batch, -1, side * side * width)))
        return joined


class Eye(nn.Module):
    """Pixels to the image vectors that stand before the text."""

    def __init__(self, design: Design, height: int, width_px: int, width: int, heads: int) -> None:
        super().__init__()
        self.front_end = FrontEnd(design, height, width_px, width)
        rows, columns = self.front_end.rows, self.front_end.columns
        self.places = Places(rows, columns, width) if design.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(width, heads, design.encoder_layers) for _ in range(design.encoder_layers))
        self.norm = nn.LayerNorm(width) if design.encoder_layers else None
        self.merge = Merge(rows, columns, design.merge, width) if design.merge > 1 else None
        self.grid = rows // design.merge, columns // design.merge
        """Rows and columns of image vectors, a row after the other."""
        self.tokens = self.grid[0] * self.grid[1]

    def forward(self, pixels: Tensor) -> Tensor:
        """(images, channels, height, width) of 0 to 255 → (images, tokens, width)."""
        vectors: Tensor = self.front_end(pixels)
        if self.places is not None:
            vectors = self.places(vectors)
        for block in self.blocks:
            vectors, _ = block(vectors, None)
        if self.norm is not None:
            vectors = self.norm(vectors)
        if self.merge is not None:
            vectors = self.merge(vectors)
        return vectors


class Decoder(nn.Module):
    """A small causal decoder with tied output; text positions begin at 0 behind the image vectors."""

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int, positions: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.words.weight, std=0.06)
        self.positions = nn.Parameter(torch.randn(positions, width) * 0.06)
        self.blocks = nn.ModuleList(Block(width, heads, layers) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, prefix: Tensor | None, ids: Tensor, places: Tensor, mask: Tensor, past: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Hidden states of the text (batch, text, width) and the cache.

        Args:
            prefix: image vectors (batch, seen, width), or `None` behind a cache.
            ids: token ids (batch, text).
            places: position of each token in its turn (batch, text).
            mask: additive or boolean, broadcastable to (batch, heads, queries, keys).
        """
        x = self.words(ids) + self.positions[places]
        if prefix is not None:
            x = torch.cat([prefix, x], dim=1)
        cache = []
        for n, block in enumerate(self.blocks):
            x, kept = block(x, mask, past[n] if past is not None else None)
            cache.append(kept)
        return self.norm(x[:, -ids.shape[1] :]), cache

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) → (…, vocabulary)."""
        return functional.linear(hidden, self.words.weight)


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts of a batch, padded on the right: a row may hold several turns about its image."""

    ids: Tensor
    """(rows, text) token ids."""
    targets: Tensor
    """(rows, text): the id that should follow where it is learned, -100 elsewhere."""
    turns: Tensor
    """(rows, text): number of the turn, -1 for padding."""
    places: Tensor
    """(rows, text): position within the turn."""

    def to(self, device: torch.device) -> Rows:
        """The same on a device."""
        return Rows(*(getattr(self, name).to(device) for name in ("ids", "targets", "turns", "places")))


def turn_mask(turns: Tensor, seen: int, visible: Tensor | None = None) -> Tensor:
    """Boolean mask (rows, 1, seen + text, seen + text): causal, no turn sees another.

    Args:
        visible: (rows, seen) whether a row has that image vector; all where left out.
    """
    rows, text = turns.shape
    total = seen + text
    causal = torch.ones(total, total, dtype=torch.bool, device=turns.device).tril()
    mine = torch.cat([turns.new_full((rows, seen), -2), turns], dim=1)
    same = (mine[:, :, None] == mine[:, None, :]) | (mine[:, None, :] == -2)
    if visible is not None:
        shown = torch.cat([visible, visible.new_ones(rows, text)], dim=1)
        same = same & shown[:, None, :]
    diagonal = torch.eye(total, dtype=torch.bool, device=turns.device)
    return ((causal & same) | diagonal)[:, None]


class Captioner(nn.Module):
    """Eye and own decoder; without an eye it is a language model that sees nothing."""

    def __init__(
        self, design: Design | None, *, height: int, width_px: int, width: int, heads: int, layers: int,
        vocabulary: int, positions: int, max_images: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.eye = None if design is None else Eye(design, height, width_px, width, heads)
        self.decoder = Decoder(vocabulary, width, heads, layers, positions)
        several = design is not None and max_images > 1
        self.which = nn.Parameter(torch.randn(max_images, 1, width) * 0.06) if several else None

    @classmethod
    def of(cls, config: WaveletConfig) -> Captioner:
        """The network of a configuration, with random weights."""
        decoder = config.decoder
        return cls(
            config.design, height=config.height, width_px=config.width_px, width=config.width, heads=config.heads,
            layers=decoder.layers, vocabulary=decoder.vocabulary, positions=decoder.positions,
            max_images=config.max_images,
        )  # fmt: skip

    def prefix(
        self, pixels: Tensor | None, counts: list[int], shown: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Image vectors of each row (rows, most images * tokens, width) and which of them are there (rows, same).

        `None` and an empty mask where nothing is seen.

        Args:
            pixels: (images, channels, height, width).
            counts: images of each row.
            shown: (sum of counts,) which of `pixels` each image of the rows is; all in order where left out.
        """
        device = self.decoder.positions.device
        if self.eye is None or pixels is None or not any(counts):
            return None, torch.zeros(len(counts), 0, dtype=torch.bool, device=device)
        vectors = self.eye(pixels)
        if shown is not None:
            vectors = vectors[shown]
        tokens, width = vectors.shape[1:]
        if self.which is None and counts == [1] * len(counts):
            return vectors, torch.ones(len(counts), tokens, dtype=torch.bool, device=device)
        most = max(counts)
        row = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).to(device)
        number = torch.cat([torch.arange(n) for n in counts]).to(device)
        rows = vectors.new_zeros(len(counts), most, tokens, width).index_put((row, number), vectors)
        there = torch.zeros(len(counts), most, dtype=torch.bool, device=device)
        there[row, number] = True
        if self.which is not None:
            rows = rows + self.which[:most]
        return rows.flatten(1, 2), there.repeat_interleave(tokens, dim=1)

    def loss(self, pixels: Tensor | None, counts: list[int], rows: Rows) -> Tensor:
        """Mean cross-entropy over the learned tokens."""
        return self.text_loss(*self.prefix(pixels, counts), rows)

    def text_loss(self, prefix: Tensor | None, shown: Tensor, rows: Rows) -> Tensor:
        """The same, behind what `prefix` gave."""
        mask = turn_mask(rows.turns, shown.shape[1], None if bool(shown.all()) else shown)
        hidden, _ = self.decoder(prefix, rows.ids, rows.places, mask)
        learned = rows.targets >= 0
        return functional.cross_entropy(self.decoder.logits(hidden[learned]), rows.targets[learned])
