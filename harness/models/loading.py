"""Loading processors and weights of the transformers library from a folder: offline, safe, complete or not at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint, read_pickles, remote_code
from harness.records import ModelSettings

logger = logging.getLogger(__name__)

IMAGE_BACKEND = "pil"
"""The library's other backend, torchvision, gives slightly other pixels for some families."""


def load_processor(settings: ModelSettings, class_name: str, folder: Path, replaced: Mapping[str, Any]) -> Any:
    """The processor of a folder, with the card's settings in place of stored ones.

    Raises:
        ModelError: a file of it is missing or damaged, or the card replaces what no card may.
    """
    import transformers

    try:
        return getattr(transformers, class_name).from_pretrained(
            folder, backend=IMAGE_BACKEND, local_files_only=True, **remote_code(settings), **replaced
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{settings.name}: the processor in {folder} cannot be loaded as {class_name}: {error}; "
            "fetch processor_config.json and the tokenizer's files again"
        ) from error


def load_weights(
    settings: ModelSettings, class_name: str, checkpoint: Checkpoint, *, dtype: str, attention: str
) -> Any:
    """The model on the CPU with every one of its weights read from the checkpoint.

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
    }
    folder = str(checkpoint.folder)
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
    absent = sorted([*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])])
    if absent:
        raise ModelError(
            f"{settings.name}: {folder} lacks {len(absent)} weights of {class_name} (first: {absent[0]}); "
            "the answers would be random. Give the checkpoint that belongs to this configuration"
        )
    if info["unexpected_keys"]:
        logger.info("%s: %d stored weights have no place in the model", settings.name, len(info["unexpected_keys"]))
    return model
