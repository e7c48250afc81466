"""Where a training stands: on disk whole or not at all, and read without unpickling anything but tensors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from harness.errors import TrainingError
from harness.store.files import publish
from harness.training.trainee import Trainee

_RECENT = 100
"""Steps whose losses are averaged for a point of the curve."""


@dataclass(frozen=True, slots=True)
class Point:
    """One validation."""

    step: int
    samples: int
    """Training examples seen."""
    cpu_s: float
    """Processor time so far, validation included."""
    wall_s: float
    loss: float
    """Mean training loss of the last 100 steps."""
    exact: float
    """Share of held-out answers that equal an accepted one."""
    held_out_loss: float
    n: int
    """Held-out examples."""
    by_kind: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Kind of example → right, asked."""


Curve = tuple[Point, ...]


class Clock(Protocol):
    """Seconds since the training began."""

    @property
    def cpu_s(self) -> float:
        """Of processor time."""
        ...

    @property
    def wall_s(self) -> float:
        """On the clock."""
        ...


@dataclass(slots=True)
class State:
    """What changes from step to step beside weights and optimiser."""

    step: int = 0
    samples: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    losses: list[float] = field(default_factory=list)
    data: str = ""
    """Chained SHA-256 over all batches so far."""
    curve: list[Point] = field(default_factory=list)

    def advance(self, loss: float, data: str, size: int, clock: Clock) -> None:
        """One step more."""
        self.step += 1
        self.samples += size
        self.losses = [*self.losses[-_RECENT + 1 :], loss]
        self.data = data
        self.cpu_s, self.wall_s = clock.cpu_s, clock.wall_s

    def add(self, point: Point) -> bool:
        """Note a validation; whether no earlier one was better."""
        best = max(((p.exact, -p.held_out_loss) for p in self.curve), default=None)
        self.curve.append(point)
        return best is None or (point.exact, -point.held_out_loss) >= best

    def best(self) -> Point:
        """The validation whose weights are kept: the last of the best."""
        return max(self.curve, key=lambda p: (p.exact, -p.held_out_loss, p.step))

    def no_better_since(self, patience: int | None) -> bool:
        """Whether the last `patience` validations brought nothing better."""
        if patience is None or not self.curve:
            return False
        place = max(i for i, p in enumerate(self.curve) if p == self.best())
        return len(self.curve) - 1 - place >= patience


def save_state(out: Path, key: str, state: State, trainee: Trainee, optimiser: torch.optim.Optimizer) -> None:
    """Write `state.pt`: durable before this returns."""
    temporary = out / ".state.pt.writing"
    content = {
        "key": key,
        "state": dataclasses.asdict(state),
        "network": trainee.network.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(content, temporary)
    publish(temporary, out / "state.pt")


def load_state(out: Path, key: str, trainee: Trainee, optimiser: torch.optim.Optimizer) -> State:
    """The state of the folder, its weights put into network and optimiser.

    Raises:
        TrainingError: the file is damaged, or belongs to another recipe.
    """
    path = out / "state.pt"
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        stored = dict(content["state"])
    except Exception as error:
        raise TrainingError(
            f"{path}: is damaged ({type(error).__name__}: {error}); begin again in a new folder"
        ) from error
    if content["key"] != key:
        raise TrainingError(f"{path}: was begun with another recipe; give that recipe, or a new folder")
    curve = [Point(**{**p, "by_kind": {k: tuple(v) for k, v in p["by_kind"].items()}}) for p in stored.pop("curve")]
    trainee.network.load_state_dict(content["network"])
    optimiser.load_state_dict(content["optimiser"])
    return State(**stored, curve=curve)
