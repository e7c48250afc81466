"""Bundled recipes: each one is valid, and names sources, options and designs that there are.

Evidence: properties; the sizes of the published versions are worked examples from their descriptions.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.models.wavelet.design import NAMED
from harness.models.wavelet.network import Eye
from harness.training.recipe import bundled_recipes, read_recipe
from harness.training.sources import mixture_of
from harness.training.train import TRAINEES

RECIPES = sorted(bundled_recipes().glob("*.yaml"))
PUBLISHED = {
    # name: design, width of the language model, parameters of eye and vectors, examples that make a step
    "wavellava-v1": ("wavelet-v1", 1536, 17_307_648 + 4 * 1536, 64),
    "wavellava-v1.2": ("wavelet-v1.2", 896, None, 64),
    "wavellava-v2": ("wavelet-v2", 1536, 17_307_648 + 4 * 1536, 64),
    "wavellava-v3": ("wavelet-v3", 896, 37_688 + 4 * 896, 256),
}


def options_of(path: Path) -> Any:
    recipe = read_recipe(path)
    module, _, name = TRAINEES[recipe.trainee].partition(":")
    return getattr(importlib.import_module(module), name).checked(recipe.network, str(path))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_bundled_recipe_is_valid_and_called_like_its_file(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.trainee in TRAINEES
    options_of(path)
    mixture_of(recipe, str(path))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_version_has_its_design_and_its_size(name: str) -> None:
    path = bundled_recipes() / f"{name}.yaml"
    recipe, options = read_recipe(path), options_of(path)
    design, width, parameters, examples = PUBLISHED[name]
    assert options.design == NAMED[design]
    assert (options.height, options.width_px) == (512, 512)
    with torch.device("meta"):
        eye = Eye(options.design, options.height, options.width_px, width, options.heads)
    assert eye.tokens == 256
    if parameters is not None:
        assert sum(p.numel() for p in eye.parameters()) + 4 * width == parameters
    assert recipe.optimiser.batch * recipe.optimiser.accumulate == examples
    assert recipe.optimiser.learning_rate == 1e-2
