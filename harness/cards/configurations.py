"""Configurations of published checkpoints that come with the package, so that a card can be checked without the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import CardError

_FOLDER = Path(__file__).resolve().parent / "configs"
CONFIG_FILE = "config.json"


def configuration(checkpoint: str) -> dict[str, Any] | None:
    """The `config.json` of a checkpoint folder, else the bundled one of a hub id; `None` where there is neither.

    Args:
        checkpoint: an absolute folder or a hub id, as `ModelSettings.checkpoint` holds it.

    Raises:
        CardError: the file is no JSON object with a `model_type`, naming it.
    """
    folder = Path(checkpoint)
    path = folder / CONFIG_FILE if folder.is_dir() else _FOLDER / f"{checkpoint.replace('/', '--')}.json"
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: cannot be read as JSON ({error}); fetch the configuration again") from error
    if not isinstance(value, dict) or not isinstance(value.get("model_type"), str):
        raise CardError(f"{path}: has no model_type; give the config.json of a transformers checkpoint")
    return value


def bundled_configurations() -> list[str]:
    """Hub ids that have a bundled configuration, sorted."""
    return sorted(path.stem.replace("--", "/") for path in _FOLDER.glob("*.json"))
