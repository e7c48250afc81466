"""One configuration record for every front end of the wavelet family, and the designs that have a name.

`wavelet-v1`, `wavelet-v1.2`, `wavelet-v2` and `wavelet-v3` rebuild the published WaveLLaVA designs with their faults;
`wavelet-sem` and `wavelet-pyramid` are ours. Designs with `wavelet: null` are the controls: the same network over
patches of pixels. Source of the published designs: the WaveLLaVA repository, described in docs/wavelets.md.
"""

from __future__ import annotations

from typing import Literal

import pywt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.errors import ModelError, UnknownNameError

Layout = Literal["block", "comb", "rows"]
Projection = Literal["dense", "mlp", "block-diagonal", "cell-mlp", "pyramid", "conv-pool", "conv"]
Normalise = Literal["none", "level", "coefficient", "zca"]


class Design(BaseModel):
    """How an image becomes the vectors that stand in front of the text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wavelet: str | None = "haar"
    """A wavelet of PyWavelets, periodised; `null` reads patches of pixels instead."""
    levels: int = Field(3, ge=1, le=8)
    """Levels of the transform; a token stands for a cell of 2^levels pixels a side."""
    colour: Literal["rgb", "ycbcr", "grey"] = "ycbcr"
    scale: float = Field(1 / 255, gt=0)
    """What pixels of 0 to 255 are multiplied by."""
    centre: bool = True
    """Whether the middle of the range (127.5, before scaling) is taken off luminance, red, green and blue."""
    layout: Layout = "block"
    """`block`: a token has the coefficients of its own cell at every level; `comb` and `rows` are the flat reshapes of
    the published versions, which mix places."""
    keep: float = Field(1.0, gt=0, le=1)
    """Share of the coefficients of each channel that is kept, largest magnitudes first; the others become 0."""
    normalise: Normalise = "coefficient"
    """By statistics of the training set that the checkpoint holds: one scale for each `level`, mean and deviation of
    each `coefficient`, or a full whitening (`zca`)."""
    clip: float = Field(8.0, gt=0)
    """Largest magnitude after normalising."""
    projection: Projection = "block-diagonal"
    widths: tuple[int, ...] = ()
    """Output width of each level, finest first, for `block-diagonal`; they sum to the network's width."""
    width_rule: Literal["root", "inverse"] = "root"
    """How the width is shared where `widths` is empty: by the square root of each level's size and never less than an
    eighth, or by the inverse of its size as in v3."""
    cell_width: int = Field(96, ge=1)
    """Inner width of `cell-mlp`."""
    join: int = Field(1, ge=1)
    """Cells a side that `cell-mlp` joins to one vector before the encoder."""
    positions: Literal["none", "learned", "normal"] = "learned"
    """`learned`: a row and a column vector for each cell; `normal`: one vector a token, begun at N(0, 1), inside the
    MLP as in v1."""
    encoder_layers: int = Field(2, ge=0)
    merge: int = Field(2, ge=1)
    """Cells a side that are joined to one token behind the encoder."""

    @model_validator(mode="after")
    def _fits_together(self) -> Design:
        if self.wavelet is not None and self.wavelet not in pywt.wavelist(kind="discrete"):
            raise ValueError(f"wavelet: PyWavelets knows no discrete wavelet {self.wavelet!r}")
        needs_levels = self.projection in ("block-diagonal", "pyramid", "conv-pool")
        if self.wavelet is None and (self.layout != "block" or needs_levels):
            raise ValueError("patches (wavelet: null) have layout block and no levels to project apart")
        if self.widths and self.projection != "block-diagonal":
            raise ValueError("widths belong to projection: block-diagonal")
        if self.widths and len(self.widths) != self.levels:
            raise ValueError(f"widths has {len(self.widths)} entries for {self.levels} levels")
        if self.normalise == "zca" and self.projection not in ("dense", "mlp", "cell-mlp"):
            raise ValueError("zca mixes all features of a token; project them dense, mlp or cell-mlp")
        if self.projection == "conv" and self.wavelet is not None:
            raise ValueError("projection: conv reads pixels; set wavelet: null")
        return self

    @property
    def channels(self) -> int:
        """Colour channels."""
        return 1 if self.colour == "grey" else 3

    def group_sizes(self) -> tuple[int, ...]:
        """Features of a token by level, finest first; the approximation counts with the coarsest."""
        fine = [3 * self.channels * 4 ** (self.levels - level) for level in range(1, self.levels + 1)]
        fine[-1] += self.channels
        return tuple(fine)

    @property
    def features(self) -> int:
        """Features of a token: as many as pixels and channels in its cell."""
        return int(self.channels * 4**self.levels)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens of an image.

        Raises:
            ModelError: the image cannot be cut into cells, or is too short for the wavelet at these levels.
        """
        cell = 2**self.levels
        if height % cell or width % cell:
            raise ModelError(f"an image of {height} x {width} pixels has no whole cells of {cell}; resize it")
        if self.wavelet is not None:
            length = pywt.Wavelet(self.wavelet).dec_len
            most = pywt.dwt_max_level(min(height, width), length)
            if self.levels > most:
                raise ModelError(
                    f"wavelet {self.wavelet} has filters of {length} taps: an image of {height} x {width} pixels is "
                    f"long enough for {most} levels, not for {self.levels}; use fewer levels or a shorter wavelet"
                )
        return height // cell, width // cell

    def level_widths(self, width: int) -> tuple[int, ...]:
        """Output width of each level of a block-diagonal projection, finest first.

        Raises:
            ModelError: the given widths do not sum to `width`.
        """
        if self.widths:
            if sum(self.widths) != width:
                raise ModelError(f"widths {list(self.widths)} sum to {sum(self.widths)}, not to the width {width}")
            return self.widths
        sizes = self.group_sizes()
        root = self.width_rule == "root"
        floor = width // 8 if root else 0
        weights = [size**0.5 if root else 1 / size for size in sizes]
        free = width - floor * len(sizes)
        shares = [floor + round(free * w / sum(weights)) for w in weights]
        shares[-1] += width - sum(shares)
        return tuple(shares)


_V1 = Design(
    levels=5, colour="rgb", centre=False, layout="comb", keep=0.75, normalise="none", projection="mlp",
    positions="normal", encoder_layers=0, merge=1,
)  # fmt: skip
NAMED: dict[str, Design] = {
    "wavelet-v1": _V1,
    "wavelet-v1.2": _V1.model_copy(update={"levels": 2, "keep": 0.25, "projection": "conv-pool"}),
    "wavelet-v2": _V1,
    "wavelet-v3": Design(
        levels=5, colour="ycbcr", scale=1.0, centre=False, layout="rows", keep=0.2, normalise="none",
        projection="block-diagonal", width_rule="inverse", positions="none", encoder_layers=0, merge=1,
    ),
    "wavelet-sem": Design(),
    "wavelet-pyramid": Design(projection="pyramid"),
}  # fmt: skip
"""Name → design. The published ones are at their own size: 512 x 512 pixels give them 16 x 16 tokens."""


def named_design(name: str, **changes: object) -> Design:
    """The design of that name with fields changed, such as fewer levels for small pictures.

    Raises:
        UnknownNameError: with the nearest name.
    """
    if name not in NAMED:
        raise UnknownNameError.of("wavelet design", name, NAMED)
    return Design.model_validate({**NAMED[name].model_dump(), **changes})
