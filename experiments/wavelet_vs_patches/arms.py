"""The arms of the experiment: one network and schedule, ten front ends, and decoders frozen or trained.

Every arm has the same data, steps, optimiser, seeds and width; arms without an encoder have two decoder layers more, so
that the parameters match. Published designs are cut to three levels, because five would leave four tokens of 64 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.models.wavelet.design import Design, named_design
from harness.training.recipe import Recipe

SEEDS = (0, 1, 2)
FRONT_ENDS: Mapping[str, Design] = {
    "patches": Design(wavelet=None, normalise="level", projection="dense"),
    "patches-standardised": Design(wavelet=None, normalise="coefficient", projection="dense"),
    "patches-zca": Design(wavelet=None, normalise="zca", projection="dense"),
    "haar-dense": Design(projection="dense"),
    "haar-block-diagonal": Design(widths=(48, 32, 48)),
    "db2-dense": Design(wavelet="db2", projection="dense"),
    "pyramid": named_design("wavelet-pyramid"),
    "conv-stem": Design(wavelet=None, projection="conv"),
    "v1": named_design("wavelet-v1", levels=3),
    "v3": named_design("wavelet-v3", levels=3),
}
"""Arm → front end. All read YCbCr but v1, which is published in RGB; formulas are grey in every arm."""
FROZEN = ("v1", "haar-block-diagonal")
"""Arms that are trained a second time before a decoder that learned blind and stays frozen."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned, and for how long."""

    source: str
    suite: str
    """File of the suite that tests it."""
    metric: str
    """The score that arms are compared by."""
    steps: int
    validate_every: int
    max_new_tokens: int
    network: Mapping[str, Any]


TASKS: Mapping[str, Task] = {
    "scenes": Task("scenes", "scenes.yaml", "exact_match", 700, 100, 32, {"height": 64, "width_px": 64}),
    "formulas": Task(
        "formulas", "formulas.yaml", "latex_edit_similarity", 800, 160, 24,
        {"height": 48, "width_px": 128, "fit": "place"},
    ),
}  # fmt: skip
_BATCH, _RATE = 16, 0.002
_PROMPTS = {"captioning": "", "image-to-latex": ""}


def recipe_of(task: str, arm: str, seed: int, *, blind: Path | None = None) -> Recipe:
    """The recipe of one training.

    Args:
        task: `scenes` or `formulas`.
        arm: a front end, or `blind` for a language model without eyes.
        blind: the checkpoint whose decoder is taken over and frozen.
    """
    chosen = TASKS[task]
    design = None if arm == "blind" else FRONT_ENDS[arm]
    if design is not None and task == "formulas":
        design = design.model_copy(update={"colour": "grey", "widths": (48, 32, 48) if design.widths else ()})
    layers = 6 if design is None or design.encoder_layers == 0 else 4
    network: dict[str, Any] = {
        **chosen.network,
        "design": None if design is None else design.model_dump(mode="json"),
        "decoder_layers": 4 if blind is not None or arm == "blind" else layers,
        "prompts": _PROMPTS,
        **({"frozen_decoder": str(blind)} if blind is not None else {}),
    }
    return Recipe.model_validate(
        {
            "name": f"{task}-{arm}{'-frozen' if blind is not None else ''}-s{seed}",
            "description": f"{arm} on {task}, seed {seed}",
            "trainee": "wavelet",
            "network": network,
            "data": [{"source": chosen.source}],
            "optimiser": {"learning_rate": _RATE, "batch": _BATCH, "steps": chosen.steps},
            "validation": {
                "every": chosen.validate_every,
                "examples": 128,
                "max_new_tokens": chosen.max_new_tokens,
            },
            "seed": seed,
            "dtype": "float32",
        }
    )
