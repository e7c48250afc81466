"""From wavelet coefficients to tokens and back: one group of features for each level.

A group is (..., tokens, features) with features ordered by channel, band (H, V, D; the coarsest group begins with the
approximation) and place. `block` gives a token the square of each band that lies under its cell. `comb` and `rows` are
the published flat reshapes: in `comb` token p has every tokens-th value of a band, a full-height comb in the finest
one; in `rows` it has a run of neighbouring values, one row of the finest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.models.wavelet.design import Layout

if TYPE_CHECKING:
    import torch

    Details = list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def groups_of(approximation: torch.Tensor, details: Details, layout: Layout) -> list[torch.Tensor]:
    """Token groups, finest level first, of maps (batch, channels, rows, columns)."""
    import torch

    rows, columns = approximation.shape[-2:]
    groups = []
    for depth, bands in enumerate(details):
        maps = [approximation, *bands] if depth == 0 else list(bands)
        stacked = torch.stack(maps, dim=2)  # (batch, channels, bands, rows, columns)
        groups.append(_split(stacked, rows, columns, layout))
    return groups[::-1]


def bands_of(
    groups: list[torch.Tensor], rows: int, columns: int, channels: int, layout: Layout
) -> tuple[torch.Tensor, Details]:
    """The maps that `groups_of` made the groups from: its inverse."""
    approximation, details = None, []
    for depth, group in enumerate(groups[::-1]):
        bands = 4 if depth == 0 else 3
        stacked = _join(group, rows, columns, channels, bands, layout)
        maps = list(stacked.unbind(2))
        if depth == 0:
            approximation = maps.pop(0)
        details.append((maps[0], maps[1], maps[2]))
    assert approximation is not None
    return approximation, details


def _split(bands: torch.Tensor, rows: int, columns: int, layout: Layout) -> torch.Tensor:
    batch, channels, number, height, width = bands.shape
    tokens, each = rows * columns, (height * width) // (rows * columns)
    if layout == "block":
        cells = bands.reshape(batch, channels, number, rows, height // rows, columns, width // columns)
        return cells.permute(0, 3, 5, 1, 2, 4, 6).reshape(batch, tokens, -1)
    if layout == "comb":
        return bands.reshape(batch, channels, number, each, tokens).permute(0, 4, 1, 2, 3).reshape(batch, tokens, -1)
    return bands.reshape(batch, channels, number, tokens, each).permute(0, 3, 1, 2, 4).reshape(batch, tokens, -1)


def _join(group: torch.Tensor, rows: int, columns: int, channels: int, bands: int, layout: Layout) -> torch.Tensor:
    batch, tokens, features = group.shape
    each = features // (channels * bands)
    if layout == "block":
        side = round(each**0.5)
        cells = group.reshape(batch, rows, columns, channels, bands, side, side)
        return cells.permute(0, 3, 4, 1, 5, 2, 6).reshape(batch, channels, bands, rows * side, columns * side)
    side = round((each) ** 0.5)
    shape = (batch, channels, bands, rows * side, columns * side)
    if layout == "comb":
        return group.reshape(batch, tokens, channels, bands, each).permute(0, 2, 3, 4, 1).reshape(shape)
    return group.reshape(batch, tokens, channels, bands, each).permute(0, 2, 3, 1, 4).reshape(shape)
