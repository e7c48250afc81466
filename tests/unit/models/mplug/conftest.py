"""Tiny mPLUG checkpoints as folders, loaded models and states of our own network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.models.mplug.family import Mplug
from harness.records import ModelSettings


def settings(folder: Path, task: str, *, options: dict[str, Any] | None = None, **fields: Any) -> ModelSettings:
    """Settings of a checkpoint folder on the CPU."""
    given = {"task": task, **(options or {})}
    return ModelSettings("tiny", "mplug", **{"checkpoint": str(folder), "device": "cpu", "options": given, **fields})


@pytest.fixture
def copied(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the tiny checkpoint of a task, to be changed."""
    return lambda task: Path(shutil.copytree(tiny_checkpoints[f"mplug_{task}"], tmp_path / task))


@pytest.fixture(scope="session")
def states(tiny_checkpoints: dict[str, Path]) -> Callable[[str], dict[str, torch.Tensor]]:
    """The weights of the tiny checkpoint of a task."""
    return lambda task: load_file(tiny_checkpoints[f"mplug_{task}"] / "model.safetensors")


@pytest.fixture(scope="session")
def models(tiny_checkpoints: dict[str, Path]) -> Callable[[str], Mplug]:
    """The tiny model of a task, loaded once."""
    loaded: dict[str, Mplug] = {}

    def get(task: str) -> Mplug:
        if task not in loaded:
            loaded[task] = Mplug.load(settings(tiny_checkpoints[f"mplug_{task}"], task))
        return loaded[task]

    return get
