"""Tiny mPLUG checkpoints of our own network with random weights, in the layout of the released ones.

The vocabulary has the released places of `[CLS]` (101) and `[SEP]` (102).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.sizes import Settings, Sizes, Task
from tests.tiny_checkpoints import CHARACTERS, WORDS

SETTINGS = Settings(heads=4, image_px=32, fusion_layers=3, stride_layer=2)
CONFIG = {
    "num_attention_heads": 4,
    "image_res": 32,
    "fusion_layers": 3,
    "stride_layer": 2,
    "max_position_embeddings": 64,
}


def pieces() -> list[str]:
    """A BERT vocabulary: special tokens in their places, words, and letters alone and as continuations."""
    unused = [f"[unused{number}]" for number in range(99)]
    special = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [c for c in CHARACTERS if c == c.lower() and c != "\n"]
    words = [word.lower() for word in WORDS if word.isalpha()]
    return list(dict.fromkeys([*special, *letters, *(f"##{c}" for c in letters if c.isalnum()), *words]))


def sizes(task: Task) -> Sizes:
    """A few thousand weights with every kind of part: a bridge, layers that never run, one connected layer."""
    return Sizes(
        task,
        SETTINGS,
        vision_width=64,
        vision_layers=2,
        patch_px=8,
        hidden=32,
        feed_forward=48,
        positions=64,
        vocabulary=len(pieces()),
        text_layers=0 if task == "caption" else 2,
        fusion_stored=0 if task == "caption" else 4,
        decoder_layers=0 if task == "retrieval" else 2,
        embedding=16 if task == "retrieval" else 0,
    )


class TinyMplug(MplugNetwork):
    """A network that is saved as the library's models are."""

    def tie_weights(self) -> None:
        """Weights are tied as they are made."""

    def save_pretrained(self, folder: Path) -> None:
        """Write model.safetensors and config_bert.json."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.contiguous() for key, tensor in self.state_dict().items()}, folder / "model.safetensors")
        (folder / "config_bert.json").write_text(json.dumps(CONFIG), encoding="utf-8")


class Vocabulary:
    """What stands in the place of a processor."""

    def save_pretrained(self, folder: Path) -> None:
        """Write vocab.txt."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.txt").write_text("\n".join(pieces()) + "\n", encoding="utf-8")


def mplug(task: Task) -> tuple[Any, Any]:
    """The network of a task and its vocabulary."""
    return TinyMplug(sizes(task)), Vocabulary()
