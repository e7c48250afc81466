"""What a card says of an mPLUG checkpoint, and what the files beside the weights say where the card is silent.

A setting comes from `run.options`, else from config.json, config_bert.json or config.yaml of the folder, else from the
preset; the record names which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from harness.errors import ModelError
from harness.models.base import Options
from harness.models.checkpoint import Checkpoint
from harness.models.mplug.sizes import Settings, Shapes, Sizes, Task, published, sizes_of, stored_side_px

_HEAD_WIDTH = 64
_FILES = ("config.json", "config_bert.json", "config.yaml")
_NAMES = {
    "heads": ("num_attention_heads", "heads"),
    "image_px": ("image_res",),
    "fusion_layers": ("fusion_layers",),
    "stride_layer": ("stride_layer",),
}
_SIZES = {
    "text_layers": ("text_encoder_layers",),
    "fusion_stored": ("num_hidden_layers",),
    "decoder_layers": ("text_decode_layers",),
    "hidden": ("hidden_size",),
    "feed_forward": ("intermediate_size",),
    "positions": ("max_position_embeddings",),
    "vocabulary": ("vocab_size",),
}


class MplugOptions(Options):
    """Options of the mPLUG family."""

    task: Task
    """What the checkpoint was trained for: `caption`, `vqa` or `retrieval`."""
    protocol: Literal["official", "modelscope"] = "official"
    """How texts are made: the released evaluation's way, or that of the ModelScope port."""
    preset: Literal["base", "large"] | None = None
    """Heads, fusion layers and stride of a released size, where nothing else says them."""
    heads: int | None = Field(default=None, ge=1)
    image_px: int | None = Field(default=None, ge=1)
    """Image side; where nothing says it, the side that the stored positions were made for."""
    fusion_layers: int | None = Field(default=None, ge=1)
    """How many of the stored fusion layers run."""
    stride_layer: int | None = Field(default=None, ge=1)
    """Every how many fusion layers image and text are joined."""
    weights: str | None = None
    """The file of weights, where the folder has several pickled ones."""
    vocab: str = "vocab.txt"
    """BERT's vocabulary, one piece a line: a file of the checkpoint's folder, or an absolute path."""
    trailing_sep: bool | None = None
    """Whether questions and captions end in `[SEP]`; the protocol's way where `None`."""
    pad_to: int | None = Field(default=None, ge=0)
    """Tokens that texts are padded and cut to; 0 pads to the longest and cuts nothing; the protocol's where `None`."""
    cut_at_sep: bool = True
    """Whether an answer ends at its first `[SEP]`; the released code keeps what follows it."""
    answers: str | None = None
    """A closed list of answers to a question, one a line, as a file like `vocab`; the best one is the answer."""
    rank_top_k: int = Field(default=128, ge=1)
    """How many answers of the list are read in full, after their first tokens."""
    match_top_k: int = Field(default=256, ge=1)
    """How many candidates, after their similarity, are matched in full for retrieval."""

    @property
    def text_end(self) -> bool:
        """Whether texts end in `[SEP]`."""
        return self.protocol == "modelscope" if self.trailing_sep is None else self.trailing_sep

    @property
    def text_tokens(self) -> int:
        """Tokens that texts are padded and cut to; 0 for the longest."""
        if self.pad_to is not None:
            return self.pad_to
        if self.task == "retrieval":
            return 30
        return 25 if self.protocol == "modelscope" else 0


@dataclass(frozen=True, slots=True)
class Stated:
    """A setting and where it stands."""

    value: int | None
    source: str


def stated(options: MplugOptions, checkpoint: Checkpoint) -> dict[str, Stated]:
    """Heads, image side, fusion layers and stride with their sources; a value of `None` follows from the shapes.

    Raises:
        ModelError: a file beside the weights is damaged, or says no number; or nothing says how the fusion layers run.
    """
    files = {name: _read(checkpoint, name) for name in _FILES}
    preset = published(options.preset, options.task).settings if options.preset else None
    found = {name: _stated(name, options, files, preset, checkpoint) for name in _NAMES}
    if options.task == "caption":
        return {name: found[name] for name in ("heads", "image_px")}
    for name in ("fusion_layers", "stride_layer"):
        if found[name].value is None:
            raise ModelError(
                f"{checkpoint.name}: nothing says {name}, which the weights do not show; set run.options.{name}, or "
                f"run.options.preset to base or large, or put config_bert.json into {checkpoint.folder}"
            )
    return found


def _stated(
    name: str,
    options: MplugOptions,
    files: Mapping[str, Mapping[str, Any]],
    preset: Settings | None,
    checkpoint: Checkpoint,
) -> Stated:
    if (given := getattr(options, name)) is not None:
        return Stated(int(given), "run.options")
    for file, content in files.items():
        for key in _NAMES[name]:
            if key in content:
                return Stated(_integer(content[key], checkpoint.folder / file, key), file)
    # Released checkpoints of one size differ in their image side, so that no preset tells it.
    if preset is not None and name != "image_px":
        return Stated(getattr(preset, name), f"preset {options.preset}")
    return Stated(None, {"heads": "hidden width / 64", "image_px": "stored positions"}.get(name, ""))


def _read(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    if not name.endswith(".yaml"):
        return checkpoint.read_json(name)
    path = checkpoint.folder / name
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"{checkpoint.name}: {path} cannot be read: {error}; fetch the checkpoint again") from error
    return content if isinstance(content, dict) else {}


def _integer(value: Any, path: Path, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{path}: {key} is {value!r}; expected an integer >= 1")
    return value


def resolved_sizes(found: Mapping[str, Stated], shapes: Shapes, checkpoint: Checkpoint, task: Task) -> Sizes:
    """The sizes of a network: from the files beside the weights where they name them, else from the shapes.

    Raises:
        ModelError: as `sizes_of`; or nothing tells the number of heads.
    """
    told = _told(checkpoint)
    heads, side = found["heads"].value, found["image_px"].value
    fusion, stride = (found[name].value if name in found else None for name in ("fusion_layers", "stride_layer"))
    known = Settings(heads or 1, stored_side_px(shapes) if side is None else side, fusion, stride)
    sizes = sizes_of(shapes, task, known, told)
    if heads is not None:
        return sizes
    if sizes.hidden % _HEAD_WIDTH:
        raise ModelError(f"nothing says the heads of a hidden width of {sizes.hidden}; set run.options.heads")
    return replace(sizes, settings=replace(known, heads=sizes.hidden // _HEAD_WIDTH))


def _told(checkpoint: Checkpoint) -> dict[str, int]:
    """Sizes that the files beside the weights name; the first file counts."""
    told: dict[str, int] = {}
    for file in _FILES:
        content = _read(checkpoint, file)
        for size, keys in _SIZES.items():
            for key in keys:
                if key in content:
                    told.setdefault(size, _integer(content[key], checkpoint.folder / file, key))
    return told
