"""Checkpoints of mPLUG: which of their keys are read, which are not and why, and a network with every live weight.

A file holds the state dict, or a mapping with it under `model` or `module`. Keys may begin with `model.` or `module.`,
and those of pre-training have a segment more. Weights that the task never runs (momentum copies, queues, CLIP's text
side, fusion layers before the last ones) are left out and counted by group.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from torch import Tensor

from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, check_pickles
from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.sizes import POSITION_TABLE, Shapes, Sizes, Task, stored_side_px
from harness.models.mplug.vision import resized_positions

logger = logging.getLogger(__name__)

_WRAPPERS = ("model", "module")
_MOMENTUM = re.compile(
    r"(visual_encoder|text_encoder|fusion_encoder|text_decoder|visn_fc|visn_layer_norm|\w+_proj)_m\."
)
_GROUPS = (
    ("momentum copies", _MOMENTUM),
    ("queues and temperature", re.compile(r"(image_queue|text_queue|idx_queue|queue_ptr|temp)$")),
    ("position numbers", re.compile(r".*\.position_ids$")),
    ("tied copies of the decoder's head", re.compile(r"text_decoder\.cls\.predictions\.decoder\.(weight|bias)$")),
    ("CLIP's text side", re.compile(r"visual_encoder\.(?!visual\.)|visual_encoder\.visual\.proj$")),
    ("embeddings of the fusion encoder", re.compile(r"fusion_encoder\.embeddings\.")),
    ("fusion layers that do not run", re.compile(r"fusion_encoder\.encoder\.")),
    ("parts of another task", re.compile(r"(text_encoder|text_decoder|visn_fc|visn_layer_norm|\w+_proj|itm_head)\.")),
)
_TIED = {
    "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was read of a checkpoint."""

    live: int
    """Keys in use."""
    ignored: Mapping[str, tuple[str, ...]]
    """Group → keys of the checkpoint that the task does not use; `unknown` are of no known kind."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line for each group and note."""
        counts = [f"{len(keys)} {group} (such as {keys[0]})" for group, keys in self.ignored.items()]
        return [f"{self.live} weights in use", *(f"not used: {count}" for count in counts), *self.notes]


def canonical_key(key: str) -> str:
    """A key without the wrapper's prefix and without the extra segment of pre-training checkpoints."""
    while key.startswith(tuple(f"{name}." for name in _WRAPPERS)):
        key = key.partition(".")[2]
    key = re.sub(r"^(text_encoder(?:_m)?)\.bert\.", r"\1.", key)
    return re.sub(r"^(fusion_encoder(?:_m)?)\.fusion\.", r"\1.", key)


def read_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """All tensors of a checkpoint on the CPU, by canonical key; files are mapped into memory where they can be.

    Raises:
        ModelError: a file is damaged, holds no state dict, would call something when read, or repeats a key.
    """
    state: dict[str, Tensor] = {}
    for file in checkpoint.weights:
        part = _read_pickle(checkpoint, file) if checkpoint.pickled else _read_safe(checkpoint, file)
        for key, tensor in part.items():
            name = canonical_key(key)
            if name in state:
                raise ModelError(f"{checkpoint.name}: {file} holds {name} twice, the second time as {key}")
            state[name] = tensor
    return state


def _read_safe(checkpoint: Checkpoint, file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{checkpoint.name}: {file} cannot be read: {error}; fetch it again") from error


def _read_pickle(checkpoint: Checkpoint, file: Path) -> dict[str, Tensor]:
    zipped = zipfile.is_zipfile(file)
    if zipped:
        # Files older than torch 1.6 are no zip; they cannot be searched beforehand, only read under the same rule.
        check_pickles(Checkpoint(checkpoint.name, file.parent, (file,), None, pickled=True))
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        raise ModelError(
            f"{checkpoint.name}: {file} is no file of torch.save that holds tensors and plain values only: {error}"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(
            f"{checkpoint.name}: {file} holds no state dict (names to tensors), neither by itself nor under "
            f"{' or '.join(_WRAPPERS)}; save model.state_dict()"
        )
    return dict(content)


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """Key → shape."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def build(
    name: str, state: Mapping[str, Tensor], sizes: Sizes, dtype: torch.dtype = torch.float32
) -> tuple[MplugNetwork, LoadReport]:
    """The network of these sizes with every live weight from the state, on the CPU; and what of the state was not used.

    Args:
        name: the card's name, for messages.
        state: tensors by canonical key, as `read_state` gives them.

    Raises:
        ModelError: a live key is missing or has another shape, naming it with both; or tied weights differ.
    """
    try:
        with torch.device("meta"):
            network = MplugNetwork(sizes)
        state, note = _with_positions(state, sizes)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    expected = shapes_of(network.state_dict())
    _check(name, expected, shapes_of(state))
    _check_tied(name, sizes.task, state)
    # Ours, and no pages of the file that the tensors are mapped from.
    live = {key: state[key].to(dtype, copy=True).contiguous() for key in expected}
    network.load_state_dict(live, strict=True, assign=True)
    report = LoadReport(len(expected), _ignored(state.keys() - expected.keys()), note)
    for line in report.lines():
        logger.info("%s: %s", name, line)
    return network.requires_grad_(False).eval(), report


def _with_positions(state: Mapping[str, Tensor], sizes: Sizes) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """The state with the table of positions made for the run's image side."""
    stored, wanted = stored_side_px(shapes_of(state)), sizes.settings.image_px
    if stored == wanted:
        return state, ()
    resized = resized_positions(state[POSITION_TABLE], wanted // sizes.patch_px)
    return {**state, POSITION_TABLE: resized}, (f"positions resized from {stored} to {wanted} pixels",)


def _check(name: str, expected: Shapes, found: Shapes) -> None:
    faults = [
        f"{key}: expected {shape}, found {found.get(key, 'nothing')}"
        for key, shape in sorted(expected.items())
        if found.get(key) != shape
    ]
    if faults:
        more = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
        raise ModelError(
            f"{name}: {len(faults)} of {len(expected)} weights do not fit: {'; '.join(faults[:_SHOWN])}{more}. "
            "The answers would be random; give a whole checkpoint of this task"
        )


def _check_tied(name: str, task: Task, state: Mapping[str, Tensor]) -> None:
    for copy, original in _TIED.items():
        if task == "retrieval" or copy not in state:
            continue
        if state[copy].shape != state[original].shape:
            raise ModelError(
                f"{name}: {copy}: expected {tuple(state[original].shape)}, found {tuple(state[copy].shape)}"
            )
        if not torch.equal(state[copy], state[original]):
            raise ModelError(f"{name}: {copy} differs from {original}; in mPLUG the two are one weight")


def _ignored(keys: set[str]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for key in sorted(keys):
        group = next((group for group, pattern in _GROUPS if pattern.match(key)), "unknown")
        groups.setdefault(group, []).append(key)
    return {group: tuple(found) for group, found in groups.items()}


def is_training_only(key: str) -> bool:
    """Whether a canonical key is a momentum copy, a queue or a table of position numbers."""
    return any(pattern.match(key) for _, pattern in cast(Any, _GROUPS[:3])) and key != "temp"
