"""What a configuration builds: the network on the meta device (no memory, no weights), taken apart and counted.

Tied weights count once. A layer is an element of the outermost module lists that hold attention, so that an encoder and
a decoder add up and the convolutions of a feature extractor do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a network as it is built."""

    parameters: int
    layers: int | None
    """`None` where the part keeps its layers in no list."""
    input_px: int | None = None
    patch_px: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A network as its configuration builds it; `None` for what the configuration does not fix."""

    parameters: int
    vision: Part | None
    audio: Part | None
    language: Part | None
    image_tokens: int | None


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the parts of a model type (or of a class of our own) lie; places that a class lacks are passed over."""

    vision: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    language: tuple[str, ...] = ()


_TOWER = _Places(vision=("model.vision_tower",), language=("model.language_model", "lm_head"))
_BRIDGED = _Places(vision=("vision_model",), language=("language_model",))
_TWO_TOWERS = _Places(vision=("vision_model",), language=("text_model",))
_PLACES: Mapping[str, _Places] = {
    "llava": _TOWER,
    "llava_next": _TOWER,
    "llava_onevision": _TOWER,
    "paligemma": _TOWER,
    "blip-2": _BRIDGED,
    "instructblip": _BRIDGED,
    "pix2struct": _Places(vision=("encoder",), language=("decoder",)),
    "clip": _TWO_TOWERS,
    "siglip": _TWO_TOWERS,
    "kosmos-2": _TWO_TOWERS,
    "blip": _Places(vision=("vision_model",), language=("text_encoder", "text_decoder")),
    "vit": _Places(vision=("vit",)),
    "beit": _Places(vision=("beit",)),
    "idefics": _Places(
        vision=("model.vision_model",), language=("model.embed_tokens", "model.layers", "model.norm", "lm_head")
    ),
    "idefics2": _Places(vision=("model.vision_model",), language=("model.text_model", "lm_head")),
    "idefics3": _Places(vision=("model.vision_model",), language=("model.text_model", "lm_head")),
    "qwen2_vl": _Places(vision=("model.visual",), language=("model.language_model", "lm_head")),
    "qwen2_5_vl": _Places(vision=("model.visual",), language=("model.language_model", "lm_head")),
    "git": _Places(vision=("git.image_encoder",), language=("git.embeddings", "git.encoder", "output")),
    "vilt": _Places(language=("vilt",)),
    "visual_bert": _Places(language=("visual_bert",)),
    "lxmert": _Places(language=("lxmert",)),
    "wav2vec2": _Places(audio=("wav2vec2",)),
    "hubert": _Places(audio=("hubert",)),
    "MplugNetwork": _Places(vision=("visual_encoder",), language=("text_encoder", "fusion_encoder", "text_decoder")),
    "Captioner": _Places(vision=("eye",), language=("decoder",)),
    "whisper": _Places(audio=("model.encoder",), language=("model.decoder", "proj_out")),
}


def build(config: Mapping[str, Any], class_name: str = "") -> nn.Module:
    """The network of a `config.json` on the meta device.

    Args:
        config: the file's content.
        class_name: class to build where the file has no `architectures`.

    Raises:
        ModelError: the installed library does not know the configuration or its class.
    """
    import torch
    import transformers

    library: Any = transformers
    named = (config.get("architectures") or [class_name])[0]
    verbosity = library.logging.get_verbosity()
    library.logging.set_verbosity_error()
    try:
        known = library.AutoConfig.for_model(**dict(config))
        with torch.device("meta"):
            model: nn.Module = getattr(library, named)(known)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise ModelError(
            f"transformers {library.__version__} cannot build {named or 'a class'} of model_type "
            f"{config.get('model_type')!r}: {type(error).__name__}: {error}"
        ) from error
    finally:
        library.logging.set_verbosity(verbosity)
    return model


def measure(model: Any) -> Measured:
    """Parameters, layers, input size and image tokens; of a network of our own, parameters and layers only."""
    config = getattr(model, "config", None)
    places = _PLACES.get(config.model_type if config is not None else type(model).__name__, _Places())
    side, patch = _pixels(config) if config is not None else (None, None)
    return Measured(
        parameters=_parameters([model]),
        vision=_part(model, places.vision, side, patch),
        audio=_part(model, places.audio),
        language=_part(model, places.language),
        image_tokens=_image_tokens(config, side, patch) if config is not None else None,
    )


def _part(model: Any, places: Iterable[str], side: int | None = None, patch: int | None = None) -> Part | None:
    modules = [module for place in places if (module := _at(model, place)) is not None]
    if not modules:
        return None
    return Part(_parameters(modules), sum(map(_layers, modules)) or None, side, patch)


def _at(model: Any, place: str) -> Any:
    for name in place.split("."):
        model = getattr(model, name, None)
    return model


def _parameters(modules: Iterable[Any]) -> int:
    return sum(p.numel() for p in {id(p): p for module in modules for p in module.parameters()}.values())


def _layers(module: Any) -> int:
    from torch import nn

    if isinstance(module, nn.ModuleList):
        attends = any("att" in name.lower() for name, _ in module.named_modules())
        return len(module) if attends else 0
    return sum(_layers(child) for child in module.children())


def _pixels(config: Any) -> tuple[int | None, int | None]:
    """Side of the square input and of a patch, in pixels."""
    vision = getattr(config, "vision_config", config)
    found = [getattr(vision, name, None) for name in ("image_size", "patch_size")]
    side, patch = (value if isinstance(value, int) else None for value in found)
    return side, patch


def _image_tokens(config: Any, side: int | None, patch: int | None) -> int | None:
    """Positions of one image in the language model; `None` where they depend on the image or the processor."""
    grid = (side // patch) ** 2 if side and patch else None
    match config.model_type:
        case "llava":
            class_token = config.vision_config.model_type == "clip_vision_model"
            kept = config.vision_feature_select_strategy != "default"
            return grid + int(class_token and kept) if grid else None
        case "paligemma":
            return grid
        case "git":
            return grid + 1 if grid else None
        case "blip-2" | "instructblip":
            return int(config.num_query_tokens)
        case "kosmos-2":
            return int(config.latent_query_num)
        case "idefics" | "idefics2":
            return int(config.perceiver_config.resampler_n_latents)
        case _:
            return None
