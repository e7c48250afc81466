"""What an mPLUG network consists of, read from the shapes of its weights.

Widths, layers, patches and vocabulary are in the shapes. Heads, image side, the fusion layers that run and their stride
are not: `SETTINGS` names them, and the caller says what they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Literal

from harness.errors import ModelError

Task = Literal["caption", "vqa", "retrieval"]
Shapes = Mapping[str, tuple[int, ...]]

VISION_HEAD_WIDTH = 64
TOKEN_TYPES = 2
_TEXT = r"(text|fusion)_\w+coder\.(bert\.)?embeddings\."
_HEAD = r"text_decoder\.cls\.predictions\.(decoder\.)?(bias|weight)"
POSITION_TABLE = "visual_encoder.visual.positional_embedding"


@dataclass(frozen=True, slots=True)
class Settings:
    """What shapes do not tell; `None` where it plays no part in the task."""

    heads: int
    """Attention heads of every text part."""
    image_px: int
    fusion_layers: int | None = None
    """How many of the stored fusion layers run: the last ones."""
    stride_layer: int | None = None
    """Every how many fusion layers image and text are joined in one sequence."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """All sizes of one network."""

    task: Task
    settings: Settings
    vision_width: int
    vision_layers: int
    patch_px: int
    hidden: int
    feed_forward: int
    positions: int
    vocabulary: int
    text_layers: int = 0
    fusion_stored: int = 0
    """Fusion layers in the checkpoint, those that never run included."""
    decoder_layers: int = 0
    embedding: int = 0
    """Width of the contrastive vectors."""

    @property
    def image_tokens(self) -> int:
        """Patches and the class token."""
        return (self.settings.image_px // self.patch_px) ** 2 + 1

    @property
    def has_bridge(self) -> bool:
        """Whether a projection stands between the vision tower and the text parts."""
        return self.vision_width != self.hidden

    @property
    def fusion_range(self) -> range:
        """Numbers of the stored fusion layers that run."""
        return range(self.fusion_stored - (self.settings.fusion_layers or 0), self.fusion_stored)


def published(
    name: Literal["base", "large"], task: Task, *, image_px: int | None = None, stride_layer: int | None = None
) -> Sizes:
    """The sizes of a released model; the image side is 384 (base) or 336 pixels (large) unless given."""
    base = name == "base"
    settings = Settings(
        heads=12,
        image_px=image_px or (384 if base else 336),
        fusion_layers=6,
        stride_layer=stride_layer or (3 if base else 6),
    )
    return Sizes(
        task,
        settings,
        vision_width=768 if base else 1024,
        vision_layers=12 if base else 24,
        patch_px=16 if base else 14,
        hidden=768,
        feed_forward=3072,
        positions=512,
        vocabulary=30522,
        text_layers=6,
        fusion_stored=12,
        decoder_layers=0 if task == "retrieval" else 12,
        embedding=256 if task == "retrieval" else 0,
    )


def stored_side_px(shapes: Shapes) -> int:
    """The image side that the stored table of positions was made for.

    Raises:
        ModelError: the table is no square grid with a class token in front.
    """
    rows, patch = _at(shapes, POSITION_TABLE, 0), _at(shapes, "visual_encoder.visual.conv1.weight", -1)
    grid = isqrt(max(rows - 1, 0))
    if grid < 1 or grid * grid != rows - 1:
        raise ModelError(f"{POSITION_TABLE}: expected a square grid and the class token, found {rows} rows")
    return grid * patch


def sizes_of(shapes: Shapes, task: Task, settings: Settings, told: Mapping[str, int] | None = None) -> Sizes:
    """The sizes that most of the weights agree on, so that a single odd one is found and named when they are loaded.

    Args:
        told: sizes that a configuration names, by field; they stand instead of the weights' own.

    Raises:
        ModelError: a weight that tells a size is missing, the settings do not fit the sizes, or the checkpoint has more
            layers than the configuration.
    """
    decodes, reads = task != "retrieval", task != "caption"
    text = "text_decoder.bert." if decodes else "text_encoder."
    tower = "visual_encoder.visual."
    given = told or {}
    layers = {"vision_layers": _layers(shapes, f"{tower}transformer.resblocks.")}
    if reads:
        layers["text_layers"] = _layers(shapes, "text_encoder.encoder.layer.")
        layers["fusion_stored"] = _layers(shapes, "fusion_encoder.encoder.layer.")
    if decodes:
        layers["decoder_layers"] = _layers(shapes, "text_decoder.bert.encoder.layer.")
    for name, number in layers.items():
        layers[name] = given.get(name, number)
        if layers[name] < number:
            raise ModelError(f"{name}: the configuration names {layers[name]} and the weights have {number}")
    sizes = Sizes(
        task=task,
        settings=settings,
        vision_width=_voted(shapes, rf"{re.escape(tower)}.*\bln_\w+\.weight"),
        patch_px=_at(shapes, f"{tower}conv1.weight", -1),
        hidden=given.get("hidden") or _voted(shapes, rf"{re.escape(text)}.*LayerNorm\.weight"),
        feed_forward=given.get("feed_forward") or _voted(shapes, rf"{re.escape(text)}.*intermediate\.dense\.\w+"),
        positions=given.get("positions") or _voted(shapes, rf"{_TEXT}position_embeddings\.weight"),
        vocabulary=given.get("vocabulary") or _voted(shapes, rf"{_TEXT}word_embeddings\.weight|{_HEAD}"),
        embedding=0 if decodes else _voted(shapes, r"(vision|text)_proj\.(weight|bias)"),
        **layers,
    )
    _check(sizes)
    return sizes


def _check(sizes: Sizes) -> None:
    settings = sizes.settings
    if sizes.vision_width % VISION_HEAD_WIDTH:
        raise ModelError(f"the vision tower is {sizes.vision_width} wide, no multiple of {VISION_HEAD_WIDTH}")
    if settings.heads < 1 or sizes.hidden % settings.heads:
        raise ModelError(f"heads is {settings.heads}; give a divisor of the hidden width {sizes.hidden}")
    if settings.image_px < 1 or settings.image_px % sizes.patch_px:
        raise ModelError(
            f"image_px is {settings.image_px}; give a multiple of the patch, {sizes.patch_px} as in "
            "visual_encoder.visual.conv1.weight"
        )
    if sizes.task == "caption":
        return
    if settings.fusion_layers is None or not 1 <= settings.fusion_layers <= sizes.fusion_stored:
        raise ModelError(f"fusion_layers is {settings.fusion_layers}; give 1 to {sizes.fusion_stored}, as stored")
    if settings.stride_layer is None or settings.stride_layer < 1:
        raise ModelError(f"stride_layer is {settings.stride_layer}; give an integer >= 1")


def _at(shapes: Shapes, key: str, axis: int) -> int:
    if not shapes.get(key):
        raise ModelError(f"the checkpoint lacks {key}")
    return shapes[key][axis]


def _voted(shapes: Shapes, pattern: str) -> int:
    """The first axis that most weights of matching names have."""
    matching = re.compile(pattern)
    votes = Counter(shape[0] for key, shape in shapes.items() if shape and matching.fullmatch(key))
    if not votes:
        raise ModelError(f"the checkpoint has no weight whose name matches {pattern}; is it one of mPLUG?")
    return votes.most_common(1)[0][0]


def _layers(shapes: Iterable[str], prefix: str) -> int:
    """One more than the highest layer number, so that a gap is a missing weight and no smaller model."""
    numbers = [int(key[len(prefix) :].partition(".")[0]) for key in shapes if key.startswith(prefix)]
    if not numbers:
        raise ModelError(f"the checkpoint lacks {prefix}0.*: it was saved for another task, or is none of mPLUG")
    return max(numbers) + 1
