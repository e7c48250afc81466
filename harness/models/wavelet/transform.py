"""The discrete wavelet transform of images: PyWavelets as the reference, batched torch as the fast path.

Both are periodised (`mode="periodization"`), so a level halves each side exactly. In torch Haar is sums of slices; any
other wavelet is a product with its two analysis matrices, which are PyWavelets' own transform of the unit vectors, so
that filters, phase and ends agree with it. `ptwt` has no periodised mode (ptwt 1.0), so it is not used.

A decomposition is `(A, [(H, V, D) of the coarsest level, …, (H, V, D) of the finest])`, as in PyWavelets; each map is
(..., rows, columns).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pywt

if TYPE_CHECKING:
    import torch

MODE = "periodization"


def reference_decomposition(images: Any, wavelet: str, levels: int) -> tuple[Any, list[tuple[Any, Any, Any]]]:
    """PyWavelets' transform of (..., height, width) arrays over the last two axes."""
    coarse, *details = pywt.wavedec2(np.asarray(images), wavelet, mode=MODE, level=levels, axes=(-2, -1))
    return coarse, [tuple(d) for d in details]


def decompose(
    images: torch.Tensor, wavelet: str, levels: int
) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
    """The transform of (..., height, width) floats on their own device, with gradients; equal to the reference.

    Sides must be multiples of 2^levels.
    """
    details = []
    for _ in range(levels):
        images, detail = _haar(images) if wavelet in ("haar", "db1") else _filtered(images, wavelet)
        details.append(detail)
    return images, details[::-1]


def recompose(
    approximation: torch.Tensor, details: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], wavelet: str
) -> torch.Tensor:
    """The images (..., height, width) of a decomposition: the inverse of `decompose`."""
    for horizontal, vertical, diagonal in details:
        rows, columns = (_synthesis(2 * n, wavelet, approximation) for n in approximation.shape[-2:])
        low = rows[0] @ approximation + rows[1] @ horizontal
        high = rows[0] @ vertical + rows[1] @ diagonal
        approximation = low @ columns[0].mT + high @ columns[1].mT
    return approximation


def _haar(x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    top, bottom = x[..., 0::2, :], x[..., 1::2, :]
    total, change = top + bottom, top - bottom
    left, right = total[..., 0::2], total[..., 1::2]
    up, down = change[..., 0::2], change[..., 1::2]
    return (left + right) * 0.5, ((up + down) * 0.5, (left - right) * 0.5, (up - down) * 0.5)


def _filtered(x: torch.Tensor, wavelet: str) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    rows, columns = (_analysis(n, wavelet, x) for n in x.shape[-2:])
    low, high = rows[0] @ x, rows[1] @ x
    return low @ columns[0].mT, (high @ columns[0].mT, low @ columns[1].mT, high @ columns[1].mT)


def _analysis(length: int, wavelet: str, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    low, high = _analysis_arrays(length, wavelet)
    return torch.from_numpy(low).to(like), torch.from_numpy(high).to(like)


def _synthesis(length: int, wavelet: str, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    low, high = _synthesis_arrays(length, wavelet)
    return torch.from_numpy(low).to(like), torch.from_numpy(high).to(like)


@lru_cache(maxsize=64)
def _analysis_arrays(length: int, wavelet: str) -> tuple[Any, Any]:
    """Matrices (length/2, length) whose products with a signal are its low and high pass."""
    low, high = pywt.dwt(np.eye(length), wavelet, mode=MODE, axis=0)
    return low, high


@lru_cache(maxsize=64)
def _synthesis_arrays(length: int, wavelet: str) -> tuple[Any, Any]:
    """Matrices (length, length/2) that give the signal back from low and high pass."""
    unit = np.eye(length // 2)
    return (
        pywt.idwt(unit, None, wavelet, mode=MODE, axis=0),
        pywt.idwt(None, unit, wavelet, mode=MODE, axis=0),
    )
