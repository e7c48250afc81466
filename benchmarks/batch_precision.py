"""How many answers a batch changes, by family and number type: alone beside batches of eight.

    python benchmarks/batch_precision.py [--inputs 48]

The families of transformers that write token by token, on tiny checkpoints of the real classes with random weights
(tests/tiny_checkpoints.py), whose words are near ties: the worst case. And two trained models of the zoo on fresh
scenes, whose words are not. In float32 every row has to say 0, or the benchmark ends with an error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, add_option, machine, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
BATCH, SEED = 8, 2718
TRAINED = ("nano-llava", "nano-blip2")


def answers(model: Any, inputs: Sequence[Any], size: int) -> list[str]:
    """Texts of all inputs, asked `size` at a time."""
    found: list[str] = []
    for start in range(0, len(inputs), size):
        batch = inputs[start : start + size]
        given = model.generate(model.prepare(batch), batch[0].request.generation)
        found += [answer.text if hasattr(answer, "text") else f"({answer.kind})" for answer in given]
    return found


def tiny(count: int, place: Path) -> Iterator[tuple[str, Any, list[Any]]]:
    """Settings and inputs of each family's tiny checkpoints."""
    from tests.model_inputs import FAMILIES, QUESTIONS, TEMPLATES, item, settings
    from tests.tiny_checkpoints import build
    from tests.unit.models.test_transformers_base import WRITERS

    names = [name for name, family in FAMILIES.items() if family in WRITERS]
    folders = build(place, names)
    for name in names:
        request = {"pictures": ()} if FAMILIES[name] == "text" else {}
        inputs = [item(n, TEMPLATES[name].format(QUESTIONS[n % len(QUESTIONS)]), **request) for n in range(count)]
        yield f"{FAMILIES[name]}: {name}", settings(name, folders), inputs


def trained(count: int) -> Iterator[tuple[str, Any, list[Any]]]:
    """Settings and inputs of the zoo's models on fresh scenes."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from PIL import Image

    from harness import registry
    from harness.cards.loading import load_card
    from harness.mini import scenes
    from harness.models.base import ModelInput
    from harness.records import GenerationSettings, Request

    rng = np.random.default_rng(SEED)
    pictures = [Image.fromarray(scenes.draw(rng).image).convert("RGB") for _ in range(count)]
    greedy = GenerationSettings(max_new_tokens=24)
    for name in TRAINED:
        settings = load_card(name).settings(device="cpu")
        family = registry.load("models", settings.family)
        template = ImmutableSandboxedEnvironment().from_string(family.default_template(settings))
        prompt = template.render(text=settings.prompts["captioning"], images=1)
        inputs = [
            ModelInput(Request(str(n), "t", str(n), prompt, generation=greedy), (picture,))
            for n, picture in enumerate(pictures)
        ]
        yield f"{settings.family}: {name} (trained)", settings, inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=48)
    add_option(parser)
    arguments = parser.parse_args()
    from harness import registry

    print(machine())
    print(f"answers of {arguments.inputs} that batches of {BATCH} change")
    print(f"{'':44} float32  bfloat16  float16")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as place:
        for title, settings, inputs in (*tiny(arguments.inputs, Path(place)), *trained(arguments.inputs)):
            changed = []
            for dtype in ("float32", "bfloat16", "float16"):
                given = replace(settings, dtype=dtype)
                family = registry.load("models", given.family)
                model = family.load(given)
                size = 1 if family.capabilities(given).batching == "single" else BATCH
                alone, together = answers(model, inputs, 1), answers(model, inputs, size)
                changed.append(sum(a != b for a, b in zip(alone, together, strict=True)))
                model.close()
            print(f"{title:44} {changed[0]:7} {changed[1]:9} {changed[2]:8}", flush=True)
            figures.append(Figure(f"{title}: answers changed by a batch, float32", changed[0], "", at_most=0))
            figures.append(Figure(f"{title}: the same, bfloat16", changed[1], f"of {len(inputs)}"))
    write(arguments.json, figures)
    if any(figure.reached == "NO" for figure in figures):
        raise SystemExit("a batch changes answers in float32")


if __name__ == "__main__":
    main()
