"""Pictures, questions and settings for tests of models: four samples whose answers a working model tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.mini.fonts import dejavu_sans
from harness.models.base import Audio, Example, ModelInput
from harness.records import GenerationSettings, ModelSettings, Request
from tests.tiny_checkpoints import ENCODERS

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
    "llava_next": "{}",
    "llava_onevision": "{}",
    "idefics2": "{}",
    "idefics3": "{}",
    "paligemma": "<image>answer en {}",
    "qwen2_vl": "{}",
    "git": "{}",
    "kosmos2": "Question: {} Answer:",
    "instructblip": "Question: {} Answer:",
    "instructblip_t5": "Question: {} Answer:",
    "idefics": "User:<image>{}\nAssistant:",
    **dict.fromkeys(ENCODERS, "{}"),
    "clip": "",
    "siglip": "",
    "blip_itm": "",
    "visualbert": "{} [MASK]",
    "whisper": "",
    "wav2vec2": "",
    "wav2vec2_layer": "",
    "hubert": "",
    "mplug_caption": "",
    "mplug_vqa": "{}",
    "wavelet": "{}",
    "qwen2": "{}",
    "gpt2": "Q: {} A:",
}
FAMILIES = {
    "llava": "llava",
    "blip2_opt": "blip2",
    "blip2_t5": "blip2",
    "deplot": "pix2struct",
    "pix2struct_caption": "pix2struct",
    "llava_next": "image-text-to-text",
    "llava_onevision": "image-text-to-text",
    "idefics2": "image-text-to-text",
    "idefics3": "image-text-to-text",
    "paligemma": "image-text-to-text",
    "qwen2_vl": "image-text-to-text",
    "git": "git",
    "kosmos2": "kosmos2",
    "instructblip": "instructblip",
    "instructblip_t5": "instructblip",
    "idefics": "idefics",
    "blip_caption": "blip-caption",
    "blip_vqa": "blip-vqa",
    "blip_itm": "blip-itm",
    "clip": "clip",
    "siglip": "siglip",
    "vit": "image-classifier",
    "beit": "image-classifier",
    "vilt": "vilt",
    "vilt_pairs": "vilt",
    "visualbert": "visualbert",
    "lxmert": "lxmert",
    "whisper": "speech",
    "wav2vec2": "speech",
    "wav2vec2_layer": "speech",
    "hubert": "speech",
    "mplug_caption": "mplug",
    "mplug_vqa": "mplug",
    "wavelet": "wavelet",
    "qwen2": "text",
    "gpt2": "text",
}
OPTIONS = (
    "dog on the grass",
    "two cats",
    "red chair",
    "largest bar in the chart",
    "table",
    "people in the picture",
    "sales per year",
    "left or right",
)
"""Options for families that write no text of their own, and the first labels of the tiny classifiers."""
CHOOSERS = ("clip", "siglip", "blip_itm")
SPEECH = tuple(name for name, family in FAMILIES.items() if family == "speech")
CARDS: dict[str, dict[str, Any]] = {
    "paligemma": {"template": "<image>answer en {{ text }}"},
    "mplug_caption": {"options": {"task": "caption"}},
    "mplug_vqa": {"options": {"task": "vqa"}},
}
"""What a card must say beside family and checkpoint."""
GREEDY = GenerationSettings(max_new_tokens=12)


def picture(seed: int) -> Image.Image:
    """A noisy RGB picture of 40 to 120 pixels a side."""
    draw = np.random.default_rng(seed)
    height, width = (int(side) for side in draw.integers(40, 120, size=2))
    return Image.fromarray(draw.integers(0, 255, (height, width, 3), dtype=np.uint8))


def written(text: str) -> Image.Image:
    """Black words on white, 28 px high."""
    from PIL import ImageDraw, ImageFont

    font = ImageFont.truetype(str(dejavu_sans()), 28)
    image = Image.new("RGB", (40 + int(font.getlength(text)), 80), "white")
    ImageDraw.Draw(image).text((20, 20), text, fill="black", font=font)
    return image


def recording(seed: int) -> Audio:
    """Noise with a tone in it, 0.3 to 0.9 s at 16 kHz; of four recordings two are of equal length."""
    draw = np.random.default_rng(seed)
    length = (14000, 9000, 9000, 5000)[seed % 4]
    tone = np.sin(np.arange(length) * (0.05 + 0.1 * draw.random()))
    return Audio((0.3 * tone + 0.2 * draw.standard_normal(length)).astype(np.float32), 16000)


def spoken(number: int, **request: Any) -> ModelInput:
    """The input of sample `s<number>` with recording `number` and no picture."""
    bare = item(number, pictures=(), audio=(f"recording {number}",), **request)
    return ModelInput(bare.request, (), (recording(number),))


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
    """Four samples in the format of a tiny checkpoint: pictures with prompts and perhaps options, or recordings."""
    if name in CHOOSERS:
        request = {"choices": OPTIONS, **request}
    if name == "vilt_pairs":
        pairs = [(picture(n), picture(n + 10)) for n in range(len(QUESTIONS))]
        return [item(n, question, pictures=pairs[n], **request) for n, question in enumerate(QUESTIONS)]
    if name == "ocr":
        return [item(n, pictures=(written(question),), **request) for n, question in enumerate(QUESTIONS)]
    if FAMILIES.get(name) == "text":
        request = {"pictures": (), **request}
    if name in SPEECH:
        return [spoken(n, **request) for n in range(len(QUESTIONS))]
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
            n_images=1,
        )
        for n, given in enumerate(references)
    ]


CAPTIONS = ("two cats on the grass", "a red chair", "people near a dog")


def candidates() -> list[Example]:
    """Three pictures and their captions as the candidates of a retrieval task: ids `s0` … and `s0#0` …"""
    found = []
    for number, caption in enumerate(CAPTIONS):
        images = (picture(number),)
        found.append(Example(f"s{number}", f"c{number}", (f"s{number}#0",), (), lambda i=images: i, "", 1))
        found.append(Example(f"s{number}#0", f"c{number}", (f"s{number}",), (), lambda: (), caption, 0))
    return found


def retrieval_queries() -> list[ModelInput]:
    """The queries that belong to `candidates`: pictures without a prompt, captions without a picture."""
    asked = [item(number, "", answer_by="retrieve") for number in range(len(CAPTIONS))]
    for number, caption in enumerate(CAPTIONS):
        fields = {"sample_id": f"s{number}#0", "cluster": f"c{number}", "answer_by": "retrieve"}
        asked.append(item(number, caption, pictures=(), **fields))
    return asked


def region_features(folder: Path) -> Path:
    """A folder with features of 3 to 6 regions for each of the four samples, by sample id."""
    folder.mkdir(exist_ok=True)
    for number in range(len(QUESTIONS)):
        draw = np.random.default_rng(number)
        corners = np.sort(draw.random((3 + number, 2, 2)), axis=1).reshape(-1, 4)  # left, top, right, bottom
        np.savez(folder / f"s{number}.npz", features=draw.standard_normal((3 + number, 24)), boxes=corners)
    return folder


def settings(name: str, checkpoints: dict[str, Path], **fields: Any) -> ModelSettings:
    """Settings of a tiny checkpoint on the CPU in float32."""
    given = {"device": "cpu", "checkpoint": str(checkpoints[name]), **CARDS.get(name, {})}
    if FAMILIES[name] in ("visualbert", "lxmert"):
        given["options"] = {"features": str(region_features(checkpoints[name].parent / "regions"))}
    return ModelSettings(name=name, family=FAMILIES[name], **{**given, **fields})
