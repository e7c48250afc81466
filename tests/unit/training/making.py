"""A recipe that trains in seconds."""

from __future__ import annotations

from typing import Any

from harness.training.recipe import Recipe

TINY_NETWORK: dict[str, Any] = {
    "design": {"levels": 4, "encoder_layers": 1, "merge": 1},
    "width": 32,
    "heads": 2,
    "decoder_layers": 1,
}


def recipe(**changes: Any) -> Recipe:
    """A tiny captioner of scenes; `changes` replace whole fields."""
    fields: dict[str, Any] = {
        "name": "tiny-captioner",
        "description": "for tests",
        "trainee": "wavelet",
        "network": TINY_NETWORK,
        "data": [{"source": "scenes"}],
        "optimiser": {"learning_rate": 0.003, "batch": 4, "steps": 6, "warm_up": 2},
        "validation": {"every": 3, "examples": 4, "max_new_tokens": 8},
        **changes,
    }
    return Recipe.model_validate(fields)
