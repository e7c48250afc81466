"""The keys and shapes of the released checkpoints, dead weights included, as the specification lists them."""

from __future__ import annotations

import torch

from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.sizes import Shapes, Sizes
from harness.models.mplug.weights import shapes_of

CLIP_LAYERS, CLIP_WORDS, CLIP_PLACES = 12, 49408, 77


def live(sizes: Sizes) -> Shapes:
    """The keys that the network of a task reads."""
    with torch.device("meta"):
        return shapes_of(MplugNetwork(sizes).state_dict())


def count(shapes: Shapes) -> int:
    """Weights."""
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def _normal(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _embeddings(name: str, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    tables = {"word": sizes.vocabulary, "position": sizes.positions, "token_type": 2}
    return {
        **{f"{name}.{kind}_embeddings.weight": (rows, sizes.hidden) for kind, rows in tables.items()},
        **_normal(f"{name}.LayerNorm", sizes.hidden),
    }


def _attention(name: str, hidden: int) -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {}
    for part in ("self.query", "self.key", "self.value", "output.dense"):
        keys |= _linear(f"{name}.{part}", hidden, hidden)
    return keys | _normal(f"{name}.output.LayerNorm", hidden)


def _layer(name: str, sizes: Sizes, *, crosses: bool) -> dict[str, tuple[int, ...]]:
    keys = _attention(f"{name}.attention", sizes.hidden)
    if crosses:
        keys |= _attention(f"{name}.crossattention", sizes.hidden)
    keys |= _linear(f"{name}.intermediate.dense", sizes.feed_forward, sizes.hidden)
    keys |= _linear(f"{name}.output.dense", sizes.hidden, sizes.feed_forward)
    return keys | _normal(f"{name}.output.LayerNorm", sizes.hidden)


def _resblocks(name: str, width: int, layers: int) -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {}
    for number in range(layers):
        block = f"{name}.resblocks.{number}"
        keys |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        keys |= _linear(f"{block}.attn.out_proj", width, width)
        keys |= _normal(f"{block}.ln_1", width) | _normal(f"{block}.ln_2", width)
        keys |= _linear(f"{block}.mlp.c_fc", 4 * width, width) | _linear(f"{block}.mlp.c_proj", width, 4 * width)
    return keys


def released(sizes: Sizes, clip_width: int) -> dict[str, tuple[int, ...]]:
    """Every key of a released file but momentum copies; queues included for retrieval.

    Args:
        clip_width: of CLIP's text side, 512 for ViT-B/16 and 768 for ViT-L/14; its shared space is as wide.
    """
    width, hidden = sizes.vision_width, sizes.hidden
    tower, clip = "visual_encoder.visual", "visual_encoder"
    keys: dict[str, tuple[int, ...]] = {
        f"{tower}.conv1.weight": (width, 3, sizes.patch_px, sizes.patch_px),
        f"{tower}.class_embedding": (width,),
        f"{tower}.positional_embedding": (sizes.image_tokens, width),
        f"{tower}.proj": (width, clip_width),
        **_normal(f"{tower}.ln_pre", width),
        **_normal(f"{tower}.ln_post", width),
        **_resblocks(f"{tower}.transformer", width, sizes.vision_layers),
        f"{clip}.positional_embedding": (CLIP_PLACES, clip_width),
        f"{clip}.text_projection": (clip_width, clip_width),
        f"{clip}.logit_scale": (),
        f"{clip}.token_embedding.weight": (CLIP_WORDS, clip_width),
        **_normal(f"{clip}.ln_final", clip_width),
        **_resblocks(f"{clip}.transformer", clip_width, CLIP_LAYERS),
    }
    if sizes.has_bridge:
        keys |= _linear("visn_fc", hidden, width) | _normal("visn_layer_norm", hidden)
    for part, layers in (("text_encoder", sizes.text_layers), ("fusion_encoder", sizes.fusion_stored)):
        keys |= _embeddings(f"{part}.embeddings", sizes) | {f"{part}.embeddings.position_ids": (1, sizes.positions)}
        for number in range(layers):
            keys |= _layer(f"{part}.encoder.layer.{number}", sizes, crosses=part == "fusion_encoder")
    if sizes.task == "retrieval":
        queue = 65536
        for name in ("vision_proj", "text_proj"):
            keys |= _linear(name, sizes.embedding, hidden)
        keys |= _linear("itm_head", 2, hidden) | {"temp": (), "queue_ptr": (1,), "idx_queue": (1, queue)}
        return keys | {f"{name}_queue": (sizes.embedding, queue) for name in ("image", "text")}
    keys |= _embeddings("text_decoder.bert.embeddings", sizes)
    keys |= {"text_decoder.bert.embeddings.position_ids": (1, sizes.positions)}
    for number in range(sizes.decoder_layers):
        keys |= _layer(f"text_decoder.bert.encoder.layer.{number}", sizes, crosses=True)
    head = "text_decoder.cls.predictions"
    keys |= _linear(f"{head}.transform.dense", hidden, hidden) | _normal(f"{head}.transform.LayerNorm", hidden)
    return keys | _linear(f"{head}.decoder", sizes.vocabulary, hidden) | {f"{head}.bias": (sizes.vocabulary,)}


UNCOUNTED = (
    "text_decoder.cls.predictions.decoder.weight",
    "text_decoder.cls.predictions.decoder.bias",
)
"""Second names of tied weights."""


def stored(sizes: Sizes, clip_width: int) -> int:
    """Parameters of a released file, tied ones once, without tables of position numbers."""
    keys = released(sizes, clip_width)
    return count({k: v for k, v in keys.items() if k not in UNCOUNTED and not k.endswith("position_ids")})
