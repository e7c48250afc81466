"""Loading processors and weights of the transformers library from a folder: offline, safe, complete or not at all.

Some processors have a part for videos, which needs torchvision. Videos are never asked here, so `load_image_processor`
leaves that part out, with or without torchvision, and images become the same pixels either way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, read_pickles, remote_code
from harness.models.quantization import Quantization, quantized, unpacked_where_it_must_be
from harness.records import ModelSettings

logger = logging.getLogger(__name__)

_TRAINING_ONLY = ("masked_spec_embed",)
"""Weights that no answer depends on; wav2vec 2.0 was published without this one, which hides frames in training."""
IMAGE_BACKEND = "pil"
"""The library's other backend, torchvision, gives slightly other pixels for some families."""


def load_processor(settings: ModelSettings, class_name: str, folder: Path, replaced: Mapping[str, Any]) -> Any:
    """The processor of a folder, with the card's settings in place of stored ones.

    Raises:
        ModelError: a file of it is missing or damaged, or the card replaces what no card may.
    """
    import transformers

    return _loaded_processor(settings, getattr(transformers, class_name), folder, replaced)


def _loaded_processor(settings: ModelSettings, family: Any, folder: Path, replaced: Mapping[str, Any]) -> Any:
    try:
        return family.from_pretrained(
            folder, backend=IMAGE_BACKEND, local_files_only=True, **remote_code(settings), **replaced
        )
    except ImportError as error:
        extra = ' (pip install "vlm-harness[torchvision]")' if "torchvision" in str(error).lower() else ""
        raise ModelError(
            f"{settings.name}: the processor in {folder} needs a package that is not installed{extra}: {error}"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{settings.name}: the processor in {folder} cannot be loaded as {family.__name__}: {error}; "
            "fetch processor_config.json and the tokenizer's files again"
        ) from error


def load_image_processor(settings: ModelSettings, checkpoint: Checkpoint, replaced: Mapping[str, Any]) -> Any:
    """The processor of the class that the checkpoint names, for images and text.

    Raises:
        ModelError: as `load_processor`; or no class is named, or it is not in the library.
    """
    import transformers

    if settings.remote_code_commit is not None:
        return load_processor(settings, "AutoProcessor", checkpoint.folder, replaced)
    name = _processor_class(checkpoint)
    found = getattr(transformers, name, None)
    if found is None or not hasattr(found, "get_attributes"):
        raise ModelError(
            f"{settings.name}: {checkpoint.folder} names the processor {name or 'nothing'!r}, which is none of "
            f"transformers {transformers.__version__}; fetch processor_config.json, or install another version"
        )
    return _loaded_processor(settings, _without_video(found), checkpoint.folder, replaced)


def _processor_class(checkpoint: Checkpoint) -> str:
    """The class named by one of the checkpoint's files; else the one that the library has for its model type."""
    from transformers.models.auto import processing_auto

    library: Any = processing_auto
    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        name = checkpoint.read_json(file).get("processor_class")
        if isinstance(name, str):
            return name
    return str(library.PROCESSOR_MAPPING_NAMES.get(checkpoint.read_json("config.json").get("model_type"), ""))


def _without_video(family: Any) -> Any:
    """The processor class, with nothing in the place of its video part."""
    parts = family.get_attributes()
    if "video_processor" not in parts:
        return family

    def get_attributes(cls: Any) -> list[str]:
        return [part for part in parts if part != "video_processor"]

    def from_args_and_dict(cls: Any, args: list[Any], *rest: Any, **named: Any) -> Any:
        place = parts.index("video_processor")
        return family.from_args_and_dict.__func__(cls, [*args[:place], None, *args[place:]], *rest, **named)

    body = {
        "get_attributes": classmethod(get_attributes),
        "from_args_and_dict": classmethod(from_args_and_dict),
        # SmolVLM's processor asks both before it writes any prompt.
        "video_processor": SimpleNamespace(num_frames=None, fps=None),
    }
    return type(family.__name__, (family,), body)


def load_weights(
    settings: ModelSettings,
    class_name: str,
    checkpoint: Checkpoint,
    *,
    dtype: str,
    attention: str,
    device_map: str | dict[str, str] | None = None,
    quantization: Quantization | None = None,
) -> Any:
    """The model with every one of its weights read from the checkpoint: on the CPU, or laid out by `device_map`.

    Raises:
        ModelError: a file is damaged, a weight is missing, or a pickle would call something.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    library: Any = transformers
    library.utils.logging.disable_progress_bar()
    family = getattr(library, class_name)
    arguments: dict[str, Any] = {
        "dtype": getattr(torch, dtype),
        "attn_implementation": attention,
        "output_loading_info": True,
        "device_map": device_map,
        **(remote_code(settings) if class_name.startswith("Auto") else {}),
    }
    folder = str(checkpoint.folder)
    if quantization is not None:
        if checkpoint.pickled:
            raise ModelError(f"{settings.name}: {folder} has pickled weights; convert to safetensors to quantize them")
        arguments["quantization_config"] = quantized(settings, quantization, arguments["dtype"])
    if checkpoint.pickled and class_name.startswith("Auto"):
        raise ModelError(f"{settings.name}: {folder} has pickled weights of a class of its own; convert to safetensors")
    try:
        if checkpoint.pickled:
            config = family.config_class.from_pretrained(folder)
            state = read_pickles(checkpoint)
            model, info = family.from_pretrained(None, config=config, state_dict=state, **arguments)
            if (checkpoint.folder / "generation_config.json").is_file():
                model.generation_config = library.GenerationConfig.from_pretrained(folder)
        else:
            model, info = family.from_pretrained(
                folder, use_safetensors=True, weights_only=True, local_files_only=True, **arguments
            )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"{settings.name}: {folder} cannot be loaded as {class_name}: {type(error).__name__}: {error}"
        ) from error
    if quantization is not None:
        unpacked_where_it_must_be(model)
    needed = [key for key in info["missing_keys"] if not key.endswith(_TRAINING_ONLY)]
    absent = sorted([*needed, *(str(key) for key in info["mismatched_keys"])])
    if absent:
        raise ModelError(
            f"{settings.name}: {folder} lacks {len(absent)} weights of {class_name} (first: {absent[0]}); "
            "the answers would be random. Give the checkpoint that belongs to this configuration"
        )
    if info["unexpected_keys"]:
        logger.info("%s: %d stored weights have no place in the model", settings.name, len(info["unexpected_keys"]))
    return model
