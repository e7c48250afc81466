"""Trains one arm from one seed and gives back its test answers, its curve and its cost.

Both arms of a seed see the same pictures in the same order with the same flips and crops: these depend on seed and
epoch alone. Only training pictures are changed; test pictures are used as they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from harness.training.cifar import SIDE_PX, Classification, Pictures
from harness.training.resnet import Arm, ResNet18, multiply_adds

PADDING_PX = 4
TEST_BATCH = 100


@dataclass(frozen=True, slots=True)
class Schedule:
    """What both arms and all seeds have in common."""

    width: int
    epochs: int
    batch: int = 128
    learning_rate: float = 0.1
    """Reached after a linear rise over a tenth of the steps, then a cosine to 0."""
    momentum: float = 0.9
    weight_decay: float = 5e-4


def train_arm(
    arm: Arm, seed: int, data: Classification, schedule: Schedule, device: str, told: Callable[[str], None]
) -> dict[str, Any]:
    """The record of one training, as JSON types.

    `answers` holds one digit for each test picture: the class that was predicted after the last epoch.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ResNet18(arm, len(data.classes), schedule.width).to(device)
    norm = _norm(data.train, device)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    per_epoch = math.ceil(len(data.train.labels) / schedule.batch)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share(step, per_epoch * schedule.epochs))
    curve: list[dict[str, float]] = []
    for epoch in range(schedule.epochs):
        begun = _clock(device)
        loss = _epoch(network, optimiser, rate, data.train, schedule.batch, (seed, epoch), norm, device)
        cpu_s, wall_s = (now - before for now, before in zip(_clock(device), begun, strict=True))
        curve.append({"loss": round(loss, 4), "cpu_s": round(cpu_s, 3), "wall_s": round(wall_s, 3)})
        told(f"{arm} seed {seed} epoch {epoch + 1}/{schedule.epochs}: loss {loss:.3f}, {wall_s:.1f} s")
    answers = predictions(network, data.test, norm, device)
    told(f"{arm} seed {seed}: test accuracy {float((answers == data.test.labels).mean()):.1%}")
    return {
        "arm": arm,
        "seed": seed,
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": multiply_adds(network),
        "curve": curve,
        "answers": "".join(map(str, answers)),
    }


def settings(data: Classification, schedule: Schedule, device: str) -> dict[str, Any]:
    """Everything that changes an answer, except arm and seed."""
    return {
        "data": data.name,
        "classes": list(data.classes),
        "train": len(data.train.labels),
        "test": len(data.test.labels),
        "train_sha256": data.train.sha256(),
        "test_sha256": data.test.sha256(),
        "device": device,
        **asdict(schedule),
    }


def _norm(train: Pictures, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each colour over the training pictures, on the scale 0 to 1."""
    values = train.images.transpose(1, 0, 2, 3).reshape(3, -1)
    mean, spread = (
        torch.tensor([f(colour) / 255 for colour in values], dtype=torch.float32, device=device).view(1, 3, 1, 1)
        for f in (np.mean, np.std)
    )
    return mean, spread


def _share(step: int, steps: int) -> float:
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def _clock(device: str) -> tuple[float, float]:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.process_time(), time.perf_counter()


def _epoch(
    network: ResNet18,
    optimiser: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LambdaLR,
    train: Pictures,
    batch: int,
    key: tuple[int, int],
    norm: tuple[torch.Tensor, torch.Tensor],
    device: str,
) -> float:
    """Mean loss of one pass over the training pictures."""
    network.train()
    rng = np.random.default_rng(key)
    order = rng.permutation(len(train.labels))
    losses = []
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        images = torch.from_numpy(flipped_and_cropped(train.images[rows], rng)).to(device)
        labels = torch.from_numpy(train.labels[rows]).to(device)
        loss = functional.cross_entropy(network(_normal(images, norm)), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
        losses.append(loss.detach() * len(rows))
    return float(torch.stack(losses).sum()) / len(order)


def _normal(images: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return (images.float() / 255 - norm[0]) / norm[1]


def flipped_and_cropped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each of (n, 3, 32, 32) mirrored or not, then moved by up to four pixels each way, black coming in at the edge."""
    n = len(images)
    mirrored = np.where((rng.random(n) < 0.5)[:, None, None, None], images[..., ::-1], images)
    padded = np.pad(mirrored, ((0, 0), (0, 0), (PADDING_PX, PADDING_PX), (PADDING_PX, PADDING_PX)))
    corners = rng.integers(0, 2 * PADDING_PX + 1, (n, 2))
    rows, columns = (corners[:, axis, None] + np.arange(SIDE_PX) for axis in (0, 1))  # (n, 32) each
    number = np.arange(n)[:, None, None]
    taken = padded.transpose(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]]  # (n, 32, 32, 3)
    return np.ascontiguousarray(taken.transpose(0, 3, 1, 2))


@torch.no_grad()
def predictions(network: ResNet18, test: Pictures, norm: tuple[torch.Tensor, torch.Tensor], device: str) -> np.ndarray:
    """The most likely class of each picture, (n,)."""
    network.eval()
    parts = [
        network(_normal(torch.from_numpy(test.images[start : start + TEST_BATCH]).to(device), norm)).argmax(1).cpu()
        for start in range(0, len(test.labels), TEST_BATCH)
    ]
    return torch.cat(parts).numpy()
