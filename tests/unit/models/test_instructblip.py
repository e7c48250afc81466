"""InstructBLIP: agreement with the library's own calls, and a Q-Former that reads the prompt."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from harness.models.base import Generation
from harness.models.instructblip import InstructBlip
from harness.records import Problem
from tests.model_inputs import GREEDY, item, items, settings

CHOICES = ("red chair", "dog", "two cats on the grass")
NAMES = ("instructblip", "instructblip_t5")


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest, tiny_checkpoints: dict[str, Path]) -> InstructBlip:
    loaded = InstructBlip.load(settings(str(request.param), tiny_checkpoints))
    assert isinstance(loaded, InstructBlip)
    return loaded


def official(model: InstructBlip, **named: Any) -> Any:
    return model.processor(return_tensors="pt", **named)


def test_answers_are_those_of_the_librarys_own_example(model: InstructBlip) -> None:
    for asked in items("instructblip"):
        inputs = official(model, images=asked.images[0], text=asked.request.prompt)
        ids = model.model.generate(**inputs, do_sample=False, max_new_tokens=12)[0]
        cut = 1 if model.encoder_decoder else inputs["input_ids"].shape[1]
        (answer,) = model.generate(model.prepare([asked]), GREEDY)
        assert isinstance(answer, Generation)
        assert answer.text == model.processor.tokenizer.decode(ids[cut:], skip_special_tokens=True)


def test_the_q_former_reads_the_prompt(model: InstructBlip) -> None:
    """With the language model's text held fast, another instruction to the Q-Former changes the answer's logits."""
    import torch

    asked = items("instructblip")[0]
    tensors, _ = model.encode([asked])
    other = model.processor.qformer_tokenizer(["how many people ?"], return_tensors="pt")
    changed = {
        **tensors,
        "qformer_input_ids": other["input_ids"],
        "qformer_attention_mask": other["attention_mask"],
    }
    start = {"decoder_input_ids": torch.zeros((1, 1), dtype=torch.long)} if model.encoder_decoder else {}
    with torch.no_grad():
        logits = [model.model(**given, **start).logits[0, -1] for given in (tensors, changed)]
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3


def test_the_q_former_never_reads_an_option(tiny_checkpoints: dict[str, Path]) -> None:
    """Scores by hand: the prompt goes to the Q-Former, prompt and option to the language model."""
    import torch

    model = InstructBlip.load(settings("instructblip", tiny_checkpoints))
    assert isinstance(model, InstructBlip)
    asked = items("instructblip", choices=CHOICES)[0]
    prompt = official(model, images=asked.images[0], text=asked.request.prompt)
    start = prompt["input_ids"].shape[1]
    expected = []
    for choice in CHOICES:
        whole = official(model, images=asked.images[0], text=f"{asked.request.prompt} {choice}")
        whole["qformer_input_ids"] = prompt["qformer_input_ids"]
        whole["qformer_attention_mask"] = prompt["qformer_attention_mask"]
        with torch.no_grad():
            probabilities = model.model(**whole).logits[0].softmax(-1)
        ids = whole["input_ids"][0].tolist()
        expected.append(sum(math.log(probabilities[at - 1, ids[at]]) for at in range(start, len(ids))))
    (chosen,) = model.choose([asked])
    assert isinstance(chosen, Generation)
    assert chosen.choice_scores == pytest.approx(expected, abs=1e-3)  # float32 softmax of some 600 words


def test_the_q_former_is_padded_on_the_right_whatever_the_language_model_needs(model: InstructBlip) -> None:
    tensors = model.prepare(items("instructblip")).tensors
    assert bool((tensors["qformer_attention_mask"][:, 0] == 1).all())
    assert bool((tensors["qformer_attention_mask"][:, -1] == 0).any())
    side = 0 if model.encoder_decoder else -1
    assert bool((tensors["attention_mask"][:, side] == 1).all())


def test_a_prompt_beyond_the_q_formers_positions_fails_alone(model: InstructBlip) -> None:
    asked = items("instructblip")
    asked[2] = item(2, "dog " * 70)
    answers = model.generate(model.prepare(asked), GREEDY)
    assert isinstance(answers[2], Problem)
    assert answers[2].kind == "prompt_too_long"
    assert "Q-Former, which has 64 positions" in answers[2].message
    rest = [*asked[:2], asked[3]]
    assert [*answers[:2], answers[3]] == model.generate(model.prepare(rest), GREEDY)


def test_the_q_formers_vocabulary_is_part_of_the_identity(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_checkpoints["instructblip"], tmp_path / "copy"))
    given = dataclasses.replace(settings("instructblip", tiny_checkpoints), checkpoint=str(folder))
    before = InstructBlip.identify(given).processing["files"]
    vocabulary = folder / "qformer_tokenizer" / "tokenizer.json"
    vocabulary.write_text(vocabulary.read_text() + "\n")
    after = InstructBlip.identify(given).processing["files"]
    assert [name for name in after if after[name] != before[name]] == ["qformer_tokenizer/tokenizer.json"]
