"""Puts a finished training of a bundled recipe into the package: `python -m harness.training.zoo DIR [DIR …]`.

The checkpoint goes to `harness/zoo/NAME`, the card to the folder of bundled cards with `checkpoint: zoo:NAME`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from harness.cards.loading import ZOO, bundled_cards
from harness.errors import TrainingError
from harness.training.card import save_card
from harness.training.recipe import bundled_recipes, read_recipe

FOLDER = Path(__file__).resolve().parents[1] / "zoo"
MAX_BYTES, MAX_TOTAL_BYTES = 4_000_000, 40_000_000
"""Most that one checkpoint's weights, and all of them, may take."""
_HEADER = "# yaml-language-server: $schema=card.schema.json\n"


def put_into_zoo(training: Path) -> Path:
    """The bundled card of a finished training.

    Raises:
        TrainingError: the folder holds no finished training of a bundled recipe, or its weights are too large.
    """
    cards = sorted(training.glob("*.yaml"))
    if len(cards) != 1:
        raise TrainingError(f"{training}: holds {len(cards)} cards; give the folder of one finished training")
    card: dict[str, Any] = yaml.safe_load(cards[0].read_text(encoding="utf-8"))
    name = card["name"]
    recipe = bundled_recipes() / f"{name}.yaml"
    if not recipe.is_file() or read_recipe(recipe).identity() != card["trained"]["recipe_fingerprint"]:
        raise TrainingError(f"{cards[0]}: was not trained with the bundled recipe {name}; train it again with that")
    weights = training / "checkpoint" / "model.safetensors"
    if weights.stat().st_size > MAX_BYTES:
        raise TrainingError(f"{weights}: has {weights.stat().st_size} bytes; the zoo takes {MAX_BYTES}")
    target = FOLDER / name
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(training / "checkpoint", target)
    card["run"]["checkpoint"] = f"{ZOO}{name}"
    path = save_card(bundled_cards() / f"{name}.yaml", card)
    path.write_text(_HEADER + path.read_text(encoding="utf-8"), encoding="utf-8")
    return path


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(put_into_zoo(Path(argument)))
