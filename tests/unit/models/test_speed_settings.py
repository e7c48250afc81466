"""Settings of a card that change the speed and not the question, on a trained model: stock LLaVA classes, nano size.

Evidence: properties. A compiled step rounds as the eager one does up to the last bits, so a trained model writes the
same; weights of 8 and 4 bits are other numbers, and what they still get right is bounded from below.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from PIL import Image

from harness import registry
from harness.cards.loading import load_card
from harness.errors import ModelError
from harness.mini import scenes
from harness.models.base import Generation, ModelInput
from harness.models.transformers_base import TransformersModel
from harness.records import GenerationSettings, ModelSettings, Request

GREEDY = GenerationSettings(max_new_tokens=24)
N, SEED = 32, 4242


def settings_with(**options: Any) -> ModelSettings:
    given = load_card("nano-llava").settings(device="cpu")
    return replace(given, options={**given.options, **options})


@cache
def drawn() -> tuple[scenes.Scene, ...]:
    rng = np.random.default_rng(SEED)
    return tuple(scenes.draw(rng) for _ in range(N))


def captions(**options: Any) -> list[str]:
    """What the model says of pictures that it has never seen, two batches of one shape."""
    given = settings_with(**options)
    model = registry.load("models", given.family).load(given)
    assert isinstance(model, TransformersModel)
    template = ImmutableSandboxedEnvironment().from_string(type(model).default_template(given))
    prompt = template.render(text=given.prompts["captioning"], images=1)
    inputs = [
        ModelInput(Request(str(n), "t", str(n), prompt, generation=GREEDY), (Image.fromarray(s.image).convert("RGB"),))
        for n, s in enumerate(drawn())
    ]
    found = []
    for start in range(0, N, N // 2):
        for answer in model.generate(model.prepare(inputs[start : start + N // 2]), GREEDY):
            assert isinstance(answer, Generation)
            found.append(answer.text.strip())
    return found


@cache
def eager() -> tuple[str, ...]:
    return tuple(captions())


def right(texts: list[str]) -> float:
    return float(np.mean([text in scene.captions for text, scene in zip(texts, drawn(), strict=True)]))


def test_the_eager_model_sees() -> None:
    assert right(list(eager())) >= 0.85


def test_a_static_cache_changes_no_answer() -> None:
    assert captions(cache="static") == list(eager())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_a_compiled_step_changes_no_answer() -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile on a CPU needs a C++ compiler")
    assert captions(cache="static", compile=True) == list(eager())


@pytest.mark.parametrize(("kind", "least"), [("int8", 0.9), ("nf4", 0.8), ("fp4", 0.8)])
def test_quantized_weights_are_recorded_and_still_see(kind: str, least: float) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (extra quantization)")
    found = captions(quantization=kind)
    assert right(found) >= least
    given = settings_with(quantization=kind)
    identity = registry.load("models", given.family).identify(given)
    version = importlib.metadata.version("bitsandbytes")
    assert identity.processing["quantization"] == {"kind": kind, "bitsandbytes": version}


def test_quantization_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def absent(name: str) -> str:
        if name == "bitsandbytes":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    given = settings_with(quantization="nf4")
    with pytest.raises(ModelError, match=r'pip install "vlm-harness\[quantization\]"'):
        registry.load("models", given.family).identify(given)
