"""Images a second through the wavelet front end, beside PyWavelets image by image and a patch embedding.

One thread. All ways are timed in turn, round after round, so that a slow moment of the machine meets each of them;
ratios are of the medians. Tokens only, and tokens with the projection to the width of the network.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from harness.models.wavelet.design import Design
from harness.models.wavelet.front_end import FrontEnd
from harness.models.wavelet.layouts import groups_of
from harness.models.wavelet.transform import decompose, reference_decomposition

ROUNDS, BATCH = 9, 32
SIZES = ((64, 3, 128), (512, 5, 896))
"""Side in pixels, levels, width of the network."""


def tokens_of_pywavelets(images: torch.Tensor, levels: int) -> torch.Tensor:
    rows = []
    for image in images:
        coarse, details = reference_decomposition(image.numpy(), "haar", levels)
        maps = torch.from_numpy(coarse)[None], [tuple(torch.from_numpy(b)[None] for b in d) for d in details]
        rows.append(torch.cat(groups_of(maps[0], maps[1], "block"), dim=-1))
    return torch.cat(rows)


def tokens_of_torch(images: torch.Tensor, levels: int, wavelet: str) -> torch.Tensor:
    return torch.cat(groups_of(*decompose(images, wavelet, levels), "block"), dim=-1)


@torch.inference_mode()
def timed(ways: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    for way in ways.values():
        way()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begun = time.process_time()
            way()
            found[name].append(BATCH / (time.process_time() - begun))
    return found


def main() -> None:
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {ROUNDS} rounds of {BATCH} images, one thread; images a CPU second, median (range)"
    )
    for side, levels, width in SIZES:
        images = torch.from_numpy(np.random.default_rng(0).random((BATCH, 3, side, side), np.float32)) * 255
        shared = {"levels": levels, "colour": "rgb", "projection": "dense"}
        haar = FrontEnd(Design(**shared), side, side, width)
        patches = FrontEnd(Design(wavelet=None, **shared), side, side, width)
        diagonal = FrontEnd(Design(levels=levels, colour="rgb"), side, side, width)
        convolution = torch.nn.Conv2d(3, width, 2**levels, stride=2**levels)
        speeds = timed(
            {
                "PyWavelets, image by image: tokens": lambda i=images, n=levels: tokens_of_pywavelets(i, n),
                "torch, Haar by slices: tokens": lambda i=images, n=levels: tokens_of_torch(i, n, "haar"),
                "torch, db2 by matrices: tokens": lambda i=images, n=levels: tokens_of_torch(i, n, "db2"),
                "Haar tokens, standardised, dense projection": lambda i=images, e=haar: e(i),
                "Haar tokens, standardised, block-diagonal": lambda i=images, e=diagonal: e(i),
                "patches, standardised, dense projection": lambda i=images, e=patches: e(i),
                "strided convolution (patch embedding of a ViT)": lambda i=images, c=convolution: c(i),
            }
        )
        base = statistics.median(speeds["PyWavelets, image by image: tokens"])
        print(f"{side} x {side}, {levels} levels, width {width}")
        for name, values in speeds.items():
            middle = statistics.median(values)
            print(f"  {name:<48} {middle:9.0f} ({min(values):.0f} to {max(values):.0f})  x{middle / base:.2f}")


if __name__ == "__main__":
    main()
