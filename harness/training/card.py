"""The model card of a trained network: what `harness run` takes as is, with data hash, curve and cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.cards.schema import ModelCard
from harness.fingerprint import file_sha256, fingerprint
from harness.provenance import provenance
from harness.training.recipe import Recipe
from harness.training.state import State
from harness.training.trainee import Trainee


def write_card(out: Path, recipe: Recipe, trainee: Trainee, state: State, checkpoint: Path, cost: int) -> Path:
    """Write `NAME.yaml` beside the checkpoint."""
    best = state.best()
    here = provenance()
    card: dict[str, Any] = {
        "name": recipe.name,
        **({"describe": recipe.describe.model_dump(mode="json", exclude_none=True)} if recipe.describe else {}),
        "run": {
            "family": trainee.family,
            "checkpoint": f"./{checkpoint.name}",
            "sha256": file_sha256(checkpoint / "model.safetensors"),
            **trainee.run_part(),
        },
        "trained": {
            "recipe": recipe.name,
            "recipe_fingerprint": fingerprint(recipe.model_dump(mode="json")),
            "seed": recipe.seed,
            "steps": state.step,
            "samples": state.samples,
            "data_sha256": state.data,
            "parameters": sum(p.numel() for p in trainee.network.parameters()),
            "multiply_adds_per_sample": cost,
            "cpu_s": round(state.cpu_s, 1),
            "wall_s": round(state.wall_s, 1),
            "processor": here["processor"],
            "versions": {name: here["packages"][name] for name in ("torch", "numpy", "pillow")},
            "exact": best.exact,
            "exact_n": best.n,
            "step_kept": best.step,
            "curve": [
                {"step": p.step, "cpu_s": p.cpu_s, "loss": round(p.loss, 4), "exact": round(p.exact, 4)}
                for p in state.curve
            ],
        },
    }
    ModelCard.model_validate(card)
    path = out / f"{recipe.name}.yaml"
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    path.write_text(text, encoding="utf-8")
    return path
