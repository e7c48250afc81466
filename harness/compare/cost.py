"""What a model costs by its card and its run: parameters, image tokens, estimated multiply-adds a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.store.runs import Run


@dataclass(frozen=True, slots=True)
class Cost:
    """Claims of the card, and an estimate from them; `None` where the card does not say."""

    parameters: int | None
    image_tokens: int | None
    multiply_adds: float | None
    """Per sample: parameters of the language model times its mean number of prompt and output tokens, plus parameters
    of the vision encoder times its patches. Attention's share that grows with the square of the length is left out."""


def cost(run: Run) -> Cost:
    """The cost of one run's model."""
    architecture = (run.record.card.get("describe") or {}).get("architecture") or {}
    language, vision = architecture.get("language_model") or {}, architecture.get("vision_encoder") or {}
    samples = run.samples()
    tokens = samples["prompt_tokens"].fillna(0).mean() + samples["output_tokens"].fillna(0).mean()
    side, patch = _value(vision, "input_px"), _value(vision, "patch_px")
    language_parameters, vision_parameters = _value(language, "parameters"), _value(vision, "parameters")
    estimate = None
    if language_parameters and tokens > 0:
        patches = (side // patch) ** 2 if side and patch else 0
        estimate = language_parameters * float(tokens) + (vision_parameters or 0) * patches
    return Cost(_value(architecture, "parameters"), _value(architecture, "image_tokens"), estimate)


def _value(part: Mapping[str, Any], name: str) -> int | None:
    fact = part.get(name)
    return fact.get("value") if isinstance(fact, Mapping) else None
