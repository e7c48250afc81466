"""The front end of a design as a torch module: pixels → standardised features → vectors of the network's width.

Shapes: pixels (batch, channels, height, width) of 0 to 255; features (batch, tokens, features), finest level first;
vectors (batch, tokens, width). What the training set tells (means, deviations, whitening) is held in buffers and so in
the checkpoint. Nothing here mixes tokens except `pyramid`, `conv` and `conv-pool`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import ModelError
from harness.models.wavelet.design import Design
from harness.models.wavelet.layouts import groups_of
from harness.models.wavelet.transform import decompose

_SD_FLOOR = 0.05
"""Least deviation that is divided by, as a share of the median one."""
_POSITION_STD = 0.3


class FrontEnd(nn.Module):
    """Pixels to token vectors, as a design says."""

    offset: Tensor
    gain: Tensor

    def __init__(self, design: Design, height: int, width: int, out: int) -> None:
        """`height` and `width` in pixels; `out` is the width of the vectors."""
        super().__init__()
        self.design = design
        self.rows, self.columns = design.grid(height, width)
        shape = design.channels if design.projection == "conv" else design.features
        self.register_buffer("offset", torch.zeros(shape))
        whitening = design.normalise == "zca"
        self.register_buffer("gain", torch.eye(shape) if whitening else torch.ones(shape))
        self.projection = _projection(design, self.rows, self.columns, out)
        if design.projection == "conv-pool":
            self.rows, self.columns = self.rows // 8, self.columns // 8
        if design.projection == "cell-mlp":
            self.rows, self.columns = self.rows // design.join, self.columns // design.join

    @property
    def tokens(self) -> int:
        """Tokens of one image."""
        return self.rows * self.columns

    def forward(self, pixels: Tensor) -> Tensor:
        """Vectors (batch, tokens, out)."""
        vectors: Tensor = self.projection(self.features(pixels))
        return vectors

    def features(self, pixels: Tensor) -> Tensor:
        """What the projection reads: features (batch, tokens, features), or normalised pixels for `conv`."""
        raw = self.raw_features(pixels)
        if self.design.normalise == "none":
            return raw
        if self.design.projection == "conv":
            return ((raw - self.offset[:, None, None]) * self.gain[:, None, None]).clamp(
                -self.design.clip, self.design.clip
            )
        centred = raw - self.offset
        scaled = centred @ self.gain if self.gain.dim() == 2 else centred * self.gain
        return scaled.clamp(-self.design.clip, self.design.clip)

    def raw_features(self, pixels: Tensor) -> Tensor:
        """Features before normalising."""
        design = self.design
        planes = coloured(pixels.to(self.offset.dtype), design)
        if design.projection == "conv":
            return planes
        if design.wavelet is None:
            return _patches(planes, self._cell())
        approximation, details = decompose(planes, design.wavelet, design.levels)
        if design.keep < 1:
            approximation, details = largest(approximation, details, design.keep)
        return torch.cat(groups_of(approximation, details, design.layout), dim=-1)

    def _cell(self) -> int:
        return int(2**self.design.levels)

    @torch.no_grad()
    def measure(self, batches: Iterable[Tensor]) -> None:
        """Take offset and gain from images of the training set; pixels (batch, channels, height, width)."""
        if self.design.normalise == "none":
            return
        axis = -3 if self.design.projection == "conv" else -1
        rows = torch.cat([self.raw_features(b).movedim(axis, -1).flatten(0, -2) for b in batches]).double()
        mean, deviation = rows.mean(0), rows.std(0)
        if self.design.normalise == "zca":
            values, vectors = torch.linalg.eigh(torch.cov(rows.T))
            least = _SD_FLOOR**2 * values.median()
            self.offset.copy_(mean)
            self.gain.copy_(vectors @ torch.diag(values.clamp(min=least).rsqrt()) @ vectors.T)
            return
        if self.design.normalise == "level":
            sizes = [self.design.features] if self.design.wavelet is None else list(self.design.group_sizes())
            parts = torch.split(deviation, sizes) if self.design.projection != "conv" else [deviation]
            deviation = torch.cat([p.square().mean().sqrt().expand_as(p) for p in parts])
        self.offset.copy_(mean)
        self.gain.copy_(1 / deviation.clamp(min=_SD_FLOOR * deviation.median()))


def coloured(pixels: Tensor, design: Design) -> Tensor:
    """Planes of the design's colours, scaled and centred; the luminance is that of JPEG (ITU-R BT.601)."""
    if design.colour == "grey":
        planes = pixels if pixels.shape[1] == 1 else pixels.mean(1, keepdim=True)
    elif design.colour == "ycbcr":
        red, green, blue = pixels.unbind(1)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        planes = torch.stack([luma, 127.5 + 0.564 * (blue - luma), 127.5 + 0.713 * (red - luma)], dim=1)
    else:
        planes = pixels
    return (planes - (127.5 if design.centre else 0.0)) * design.scale


def largest(
    approximation: Tensor, details: list[tuple[Tensor, Tensor, Tensor]], keep: float
) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
    """The coefficients with all but the `keep` share of largest magnitude of each channel set to 0."""
    flat = torch.cat([m.flatten(2) for m in (approximation, *(m for d in details for m in d))], dim=2).abs()
    count = max(1, round(keep * flat.shape[2]))
    limit = flat.topk(count, dim=2).values[..., -1][..., None, None]

    def kept(band: Tensor) -> Tensor:
        return torch.where(band.abs() >= limit, band, torch.zeros_like(band))

    return kept(approximation), [(kept(h), kept(v), kept(d)) for h, v, d in details]


def _patches(planes: Tensor, side: int) -> Tensor:
    batch, channels, height, width = planes.shape
    cells = planes.reshape(batch, channels, height // side, side, width // side, side)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * side * side)


def _projection(design: Design, rows: int, columns: int, out: int) -> nn.Module:
    if design.projection == "dense":
        return _linear(design.features, out)
    if design.projection == "mlp":
        return PlacedMlp(design, rows * columns, out)
    if design.projection == "block-diagonal":
        return BlockDiagonal(design.group_sizes(), design.level_widths(out))
    if design.projection == "cell-mlp":
        return CellMlp(design, rows, columns, out)
    if design.projection == "pyramid":
        return Pyramid(design, rows, columns, out)
    if design.projection == "conv-pool":
        return ConvPool(design, rows, columns, out)
    return ConvStem(design, out)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _conv(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    nn.init.normal_(layer.weight, std=(9 * inputs) ** -0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class PlacedMlp(nn.Module):
    """v1's mapping: linear, GELU, one vector a token added, linear, GELU, linear; tokens are never mixed."""

    def __init__(self, design: Design, tokens: int, out: int) -> None:
        super().__init__()
        wide = design.features
        self.first, self.second, self.third = _linear(wide, wide), _linear(wide, out), _linear(out, out)
        self.places = nn.Parameter(torch.randn(tokens, wide)) if design.positions == "normal" else None

    def forward(self, features: Tensor) -> Tensor:
        """(batch, tokens, features) → (batch, tokens, out)."""
        hidden = functional.gelu(self.first(features))
        if self.places is not None:
            hidden = hidden + self.places
        mapped: Tensor = self.third(functional.gelu(self.second(hidden)))
        return mapped


class CellMlp(nn.Module):
    """Each cell narrowed and bent by itself, then squares of cells joined to one vector."""

    def __init__(self, design: Design, rows: int, columns: int, out: int) -> None:
        super().__init__()
        side = design.join
        if rows % side or columns % side:
            raise ModelError(f"join {side} does not divide {rows} x {columns} cells")
        self._shape = (rows // side, side, columns // side, side)
        self.first = _linear(design.features, design.cell_width)
        self.second = _linear(side * side * design.cell_width, out)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, tokens, features) → (batch, tokens / join², out)."""
        hidden = functional.gelu(self.first(features))
        cells = hidden.view(hidden.shape[0], *self._shape, -1).transpose(2, 3)
        mapped: Tensor = self.second(cells.flatten(3).flatten(1, 2))
        return mapped


class BlockDiagonal(nn.Module):
    """A linear map for each level, outputs side by side."""

    def __init__(self, sizes: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(_linear(a, b) for a, b in zip(sizes, widths, strict=True))
        self._bounds = list(pairwise(accumulate(sizes, initial=0)))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, tokens, features) → (batch, tokens, sum of widths)."""
        return torch.cat([m(features[..., a:b]) for m, (a, b) in zip(self.maps, self._bounds, strict=True)], dim=-1)


class Pyramid(nn.Module):
    """Bands stay maps: fine ones are halved by a strided convolution and joined with the next level, to the cells."""

    def __init__(self, design: Design, rows: int, columns: int, out: int) -> None:
        super().__init__()
        self._design, self._rows, self._columns = design, rows, columns
        width = 0
        steps = []
        for level in range(1, design.levels + 1):
            inputs = width + (3 + (level == design.levels)) * design.channels
            last = level == design.levels
            width = out if last else max(16, out >> (design.levels - level))
            steps.append(_conv(inputs, width, 1 if last else 2))
        self.steps = nn.ModuleList(steps)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, tokens, features of layout `block`) → (batch, tokens, out)."""
        hidden = None
        for level, (step, group) in enumerate(
            zip(self.steps, torch.split(features, list(self._design.group_sizes()), -1), strict=True), 1
        ):
            side = 2 ** (self._design.levels - level)
            maps = maps_of(group, self._rows, self._columns, side)
            hidden = step(maps if hidden is None else torch.cat([functional.gelu(hidden), maps], dim=1))
        assert hidden is not None
        tokens: Tensor = hidden.flatten(2).mT
        return tokens


def maps_of(group: Tensor, rows: int, columns: int, side: int) -> Tensor:
    """A block-layout group (batch, tokens, maps * side²) as maps (batch, maps, rows * side, columns * side)."""
    batch = group.shape[0]
    cells = group.reshape(batch, rows, columns, -1, side, side)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, rows * side, columns * side)


class ConvPool(nn.Module):
    """v1.2's mapping: three convolutions with max-pooling and no activation between, norm, places, MLP."""

    def __init__(self, design: Design, rows: int, columns: int, out: int) -> None:
        super().__init__()
        wide, (self._rows, self._columns) = 256, (rows, columns)
        if rows % 8 or columns % 8:
            raise ModelError(f"projection conv-pool halves {rows} x {columns} tokens three times; use fewer levels")
        self.convolutions = nn.ModuleList(
            [_conv(design.features, design.features, 1), _conv(design.features, 125, 1), _conv(125, wide, 1)]
        )
        self.norm = nn.LayerNorm(wide)
        self.places = nn.Parameter(torch.randn(rows * columns // 64, wide))
        self.first, self.second = _linear(wide, out), _linear(out, out)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, tokens, features) → (batch, tokens / 64, out)."""
        maps = features.mT.reshape(features.shape[0], -1, self._rows, self._columns)
        for convolution in self.convolutions:
            maps = functional.max_pool2d(convolution(maps), 2)
        hidden = self.norm(maps.flatten(2).mT) + self.places
        mapped: Tensor = self.second(functional.gelu(self.first(hidden)))
        return mapped


class ConvStem(nn.Module):
    """A strided convolution for each level, on pixels."""

    def __init__(self, design: Design, out: int) -> None:
        super().__init__()
        widths = [design.channels, *(max(16, out >> (design.levels - n)) for n in range(1, design.levels + 1))]
        self.steps = nn.ModuleList(_conv(a, b, 2) for a, b in pairwise(widths))
        self.last = _linear(out, out)

    def forward(self, planes: Tensor) -> Tensor:
        """(batch, channels, height, width) → (batch, tokens, out)."""
        for step in self.steps:
            planes = functional.gelu(step(planes))
        mapped: Tensor = self.last(planes.flatten(2).mT)
        return mapped


class Places(nn.Module):
    """A row and a column vector for each cell."""

    def __init__(self, rows: int, columns: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.randn(rows, 1, width) * _POSITION_STD / math.sqrt(2))
        self.columns = nn.Parameter(torch.randn(1, columns, width) * _POSITION_STD / math.sqrt(2))

    def forward(self, vectors: Tensor) -> Tensor:
        """(batch, rows * columns, width) with the place of each cell added."""
        return vectors + (self.rows + self.columns).flatten(0, 1)
