"""Pictures, questions and settings for tests of models: four samples whose answers a working model tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.models.base import Example, ModelInput
from harness.records import GenerationSettings, ModelSettings, Request

QUESTIONS = (
    "what colour is the largest bar ?",
    "how many people ?",
    "which country has the highest value in the chart of sales per year ?",
    "yes or no",
)
TEMPLATES = {
    "llava": "USER: <image>\n{} ASSISTANT:",
    "blip2_opt": "Question: {} Answer:",
    "blip2_t5": "Question: {} Answer:",
    "deplot": "{}",
    "pix2struct_caption": "",
}
FAMILIES = {
    "llava": "llava",
    "blip2_opt": "blip2",
    "blip2_t5": "blip2",
    "deplot": "pix2struct",
    "pix2struct_caption": "pix2struct",
}
GREEDY = GenerationSettings(max_new_tokens=12)


def picture(seed: int) -> Image.Image:
    """A noisy RGB picture of 40 to 120 pixels a side."""
    draw = np.random.default_rng(seed)
    height, width = (int(side) for side in draw.integers(40, 120, size=2))
    return Image.fromarray(draw.integers(0, 255, (height, width, 3), dtype=np.uint8))


def item(number: int, prompt: str = "", **request: Any) -> ModelInput:
    """The input of sample `s<number>` with picture `number`."""
    images = request.pop("pictures", (picture(number),))
    given: dict[str, Any] = {
        "fingerprint": f"f{number}",
        "task": "test",
        "sample_id": f"s{number}",
        "prompt": prompt,
        "images": tuple(f"picture {number}.{place}" for place in range(len(images))),
        "cluster": f"c{number}",
        "generation": GREEDY,
    }
    return ModelInput(Request(**{**given, **request}), tuple(images))


def items(name: str = "deplot", **request: Any) -> list[ModelInput]:
    """Four samples with prompts in the format of a tiny checkpoint."""
    return [item(n, TEMPLATES[name].format(question), **request) for n, question in enumerate(QUESTIONS)]


def examples(references: Sequence[Sequence[str]], clusters: Sequence[str] = (), **fields: Any) -> list[Example]:
    """One example for each list of references; sample n has picture n and, unless given, cluster `c<n>`."""
    return [
        Example(
            sample_id=f"s{n}",
            cluster=clusters[n] if clusters else f"c{n}",
            references=tuple(given),
            choices=fields.get("choices", ()),
            load_images=lambda n=n: (picture(n),),
        )
        for n, given in enumerate(references)
    ]


def settings(name: str, checkpoints: dict[str, Path], **fields: Any) -> ModelSettings:
    """Settings of a tiny checkpoint on the CPU in float32."""
    given = {"device": "cpu", "checkpoint": str(checkpoints[name])}
    return ModelSettings(name=name, family=FAMILIES[name], **{**given, **fields})
