"""From a released `.pth` or `.bin` file to a folder with safetensors, under the names the network reads.

Only tensors are read of the pickle (`weights_only=True`). Momentum copies, queues and what a trainer saved beside the
weights are left out; weights that one task does not run stay, since another task of the same file may.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from harness.errors import ModelError
from harness.fingerprint import file_sha256
from harness.models.base import Conversion
from harness.models.checkpoint import Checkpoint
from harness.models.mplug.weights import is_training_only, read_state

_BESIDE = ("vocab.txt", "config_bert.json", "config.yaml", "config.json", "configuration.json")


def convert_checkpoint(source: Path, target: Path) -> Conversion:
    """Write `target`/model.safetensors from one pickled file, and copy configuration and vocabulary from beside it.

    Args:
        source: a file of torch.save with a state dict, by itself or under `model` or `module`.
        target: a new or empty folder.

    Raises:
        ModelError: the source is not there, would call something when read or holds no weights of mPLUG; or the target
            has files in it.
    """
    from safetensors.torch import save_file

    if not source.is_file():
        raise ModelError(f"there is no file {source}; give the .pth or .bin file of weights")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target} is there already and not an empty folder; give a new one")
    state = read_state(Checkpoint(source.name, source.parent, (source,), None, pickled=True))
    kept = {key: tensor for key, tensor in state.items() if not is_training_only(key)}
    if not any(key.startswith("visual_encoder.visual.") for key in kept):
        raise ModelError(f"{source}: no key begins with visual_encoder.visual.; these are no weights of mPLUG")
    target.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt", "source": source.name, "source_sha256": file_sha256(source)}
    save_file(_separate(kept), target / "model.safetensors", metadata=metadata)
    copied = tuple(name for name in _BESIDE if (source.parent / name).is_file())
    for name in copied:
        shutil.copyfile(source.parent / name, target / name)
    if "config.json" not in copied:
        (target / "config.json").write_text(json.dumps({"model_type": "mplug"}) + "\n", encoding="utf-8")
    dropped = tuple(sorted(state.keys() - kept.keys()))
    lacks = tuple(name for name in ("vocab.txt", "config_bert.json") if name not in copied)
    return Conversion(target, len(kept), dropped, copied, lacks)


def _separate(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors with memory of their own, as the format demands; tied weights are written twice."""
    return {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in state.items()}
