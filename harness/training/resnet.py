"""ResNet-18 for 32 x 32 pictures, plain or behind one level of the Haar transform.

The plain network has a 3 x 3 stem without pooling, four stages of two basic blocks with strides 1, 2, 2, 2, the mean
over the map and a linear layer. The wavelet network reads the twelve sub-bands of half the side instead of the three
colours; everything after the stem's input is equal. The transform runs in torch on the pictures' own device.
Source of the block: He et al. 2016, sections 3.3 and 4.2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from harness.models.wavelet.transform import decompose

Arm = Literal["baseline", "wavelet"]
SIDE_PX = 32


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels_in, rows, columns) → (batch, channels_out, rows / stride, columns / stride)."""
        inner = functional.relu(self.first_norm(self.first(x)))
        out: torch.Tensor = self.second_norm(self.second(inner)) + self.shortcut(x)
        return functional.relu(out)


class ResNet18(nn.Module):
    """Logits of 32 x 32 pictures."""

    def __init__(self, arm: Arm, classes: int, width: int = 64) -> None:
        """Fresh weights.

        Args:
            arm: `wavelet` puts one Haar level in front of the stem.
            classes: number of logits.
            width: channels of the first stage; later stages have 2, 4 and 8 times as many.
        """
        super().__init__()
        self.arm = arm
        self.stem = nn.Conv2d(3 if arm == "baseline" else 12, width, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        blocks = []
        channels = width
        for factor, stride in ((1, 1), (2, 2), (4, 2), (8, 2)):
            blocks += [BasicBlock(channels, factor * width, stride), BasicBlock(factor * width, factor * width, 1)]
            channels = factor * width
        self.stages = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, 3, 32, 32) floats → (batch, classes)."""
        x = images if self.arm == "baseline" else sub_bands(images)
        x = functional.relu(self.stem_norm(self.stem(x)))
        logits: torch.Tensor = self.head(self.stages(x).mean(dim=(2, 3)))
        return logits


def sub_bands(images: torch.Tensor) -> torch.Tensor:
    """One Haar level of each colour: (batch, colours, rows, columns) → (batch, 4 colours, rows / 2, columns / 2).

    Channels are approximation, horizontal, vertical and diagonal detail of the first colour, then of the next.
    """
    approximation, ((horizontal, vertical, diagonal),) = decompose(images, "haar", 1)
    return torch.stack([approximation, horizontal, vertical, diagonal], dim=2).flatten(1, 2)


def multiply_adds(network: ResNet18) -> int:
    """Multiply-adds of convolutions and linear layers for one picture.

    Norms, activations and the Haar transform (6,144 additions and 3,072 halvings) are not counted.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, SIDE_PX, SIDE_PX, device=device))
    network.train(training)
    return int(counter.get_total_flops()) // 2
