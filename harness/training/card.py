"""The model card of a trained network: what `harness run` takes as is, with data hash, curve and cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.cards.schema import ModelCard
from harness.engine.architecture import Part, measure
from harness.fingerprint import file_sha256
from harness.provenance import provenance
from harness.training.recipe import About, Recipe
from harness.training.state import State
from harness.training.trainee import Trainee

_UNITS = {"charts": "charts", "formulas": "formulas"}
"""Source → unit of its examples, where it is not images."""


def write_card(out: Path, recipe: Recipe, trainee: Trainee, state: State, checkpoint: Path, cost: int) -> Path:
    """Write `NAME.yaml` beside the checkpoint."""
    card: dict[str, Any] = {
        "name": recipe.name,
        **({"describe": _describe(recipe.about, recipe, trainee, state)} if recipe.about else {}),
        "run": {
            "family": trainee.family,
            "checkpoint": f"./{checkpoint.name}",
            "sha256": file_sha256(checkpoint / "model.safetensors"),
            **trainee.run_part(),
        },
        "trained": _trained(recipe, trainee, state, cost),
    }
    return save_card(out / f"{recipe.name}.yaml", card)


def save_card(path: Path, card: dict[str, Any]) -> Path:
    """Write a card, checked against the schema first."""
    ModelCard.model_validate(card)
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    path.write_text(text, encoding="utf-8")
    return path


def _trained(recipe: Recipe, trainee: Trainee, state: State, cost: int) -> dict[str, Any]:
    best, here = state.best(), provenance()
    return {
        "recipe": recipe.name,
        "recipe_fingerprint": recipe.identity(),
        "seed": recipe.seed,
        "steps": state.step,
        "step_kept": best.step,
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
        "curve": [
            {"step": p.step, "cpu_s": p.cpu_s, "loss": round(p.loss, 4), "exact": round(p.exact, 4)}
            for p in state.curve
        ],
    }


def _describe(about: About, recipe: Recipe, trainee: Trainee, state: State) -> dict[str, Any]:
    """The card's `describe:` with counts taken from the network and the training."""
    found = measure(trainee.network)
    sources = ", ".join(dict.fromkeys(part.source for part in recipe.data))
    trained = ["language model"] if about.vision_encoder is None else ["vision encoder", "connector", "language model"]
    return {
        "title": about.title,
        "year": {"value": 2026, "source": "this program"},
        "organisation": "this program",
        "licence": {"value": "Apache-2.0", "source": "this program"},
        "architecture": {
            "vision_encoder": None
            if about.vision_encoder is None
            else {
                "name": about.vision_encoder,
                "parameters": _count(found.vision.parameters if found.vision else None),
                "input_px": _stated(about.input_px),
                "patch_px": _stated(about.patch_px),
                "layers": _layers(found.vision),
            },
            "connector": about.connector,
            "language_model": {
                "name": about.language_model,
                "parameters": _count(found.language.parameters if found.language else None),
                "layers": _layers(found.language),
            },
            "fusion": about.fusion,
            "image_tokens": _stated(about.image_tokens),
            "parameters": _count(found.parameters),
            "stages": [
                {
                    "stage": "training",
                    "trained": [part for part in trained if part not in about.frozen],
                    "frozen": about.frozen,
                    "source": f"recipe {recipe.name}",
                }
            ],
        },
        "training_data": [
            {
                "stage": "training",
                "dataset": f"mini generator of this program: {sources}",
                "size": {"value": state.samples, "source": "counted in the training"},
                "unit": next((_UNITS[p.source] for p in recipe.data if p.source in _UNITS), "images"),
                "kind": "drawn anew for every batch",
            }
        ],
        "tasks": about.tasks,
        "domain": about.domain,
        "limits": about.limits,
        "published": [],
    }


def _count(value: int | None) -> dict[str, Any]:
    if value is None:
        return {"value": None, "why": "the network has no such part of its own"}
    return {"value": value, "source": "computed: counted in the network"}


def _layers(part: Part | None) -> dict[str, Any]:
    if part is None or part.layers is None:
        return {"value": None, "why": "the part keeps its layers in no list"}
    return {"value": part.layers, "source": "computed: counted in the network"}


def _stated(value: int | None) -> dict[str, Any]:
    if value is None:
        return {"value": None, "why": "the model takes no image of one size"}
    return {"value": value, "source": "recipe"}
