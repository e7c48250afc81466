"""mPLUG in training: turns together against each turn alone, and the saved checkpoint against the trained network.

Evidence: equality of two ways to compute one number, at a size of some hundred thousand weights.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness import registry
from harness.engine.prompts import render
from harness.errors import TrainingError
from harness.mini import questions
from harness.models.base import Generation, Model
from harness.models.mplug.beams import CLS, SEP
from harness.models.mplug.inputs import pixels
from harness.records import GenerationSettings, ModelSettings, Sample
from harness.training.examples import Example, Turn, batches
from harness.training.procedural import Scenes, choice_turn
from harness.training.trainees.mplug import MplugTrainee, word_pieces
from tests.model_inputs import item

SMALL = {
    "width": 64,
    "heads": 2,
    "patch_px": 16,
    "vision_layers": 1,
    "decoder_layers": 2,
    "feed_forward": 64,
}
SOURCE = Scenes(questions=2, caption_prompt="caption :")
(BATCH,) = batches(SOURCE, seed=3, size=6, steps=1)
TEXTS = [f"{turn.prompt} {turn.answer}" for example in BATCH for turn in example.turns]


def fresh() -> MplugTrainee:
    torch.manual_seed(5)
    return MplugTrainee.made(MplugTrainee.checked(SMALL, "recipe"), TEXTS, BATCH)


@pytest.fixture(scope="module")
def trained() -> MplugTrainee:
    trainee = fresh()
    optimiser = torch.optim.AdamW(trainee.network.parameters(), lr=5e-3)
    for _ in range(25):
        optimiser.zero_grad()
        trainee.loss(BATCH).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    # What is saved is float16; both sides of a comparison read the same numbers.
    with torch.no_grad():
        for weight in trainee.network.parameters():
            weight.copy_(weight.half().float())
    return trainee


@pytest.fixture(scope="module")
def loaded(trained: MplugTrainee, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("nano")
    trained.save(folder)
    settings = ModelSettings("nano", trained.family, checkpoint=str(folder), device="cpu", **trained.run_part())
    family: type[Model] = registry.load("models", settings.family)
    return family.load(settings)


@pytest.fixture(scope="module")
def source_texts() -> list[str]:
    return list(SOURCE.texts())


def test_turns_together_cost_the_token_weighted_mean_of_turns_alone() -> None:
    trainee = fresh()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for example in BATCH[:3]:
            for turn in example.turns:
                count = trainee.words.encode([turn.answer], end=True).lengths[0] - 1
                total += count * float(trainee.loss([replace(example, turns=(turn,))]))
                tokens += count
        # 1e-5: sums of float32 in another order.
        assert float(trainee.loss(BATCH[:3])) == pytest.approx(total / tokens, rel=1e-5)


def test_every_weight_but_an_unused_cross_attention_learns() -> None:
    trainee = fresh()
    trainee.loss(BATCH).backward()  # type: ignore[no-untyped-call]
    idle = {name for name, weight in trainee.network.named_parameters() if weight.grad is None}
    assert idle
    # With a stride of 1 the second fusion layer joins image and text, and its cross-attention is stored alone.
    assert all(name.startswith("fusion_encoder.encoder.layer.1.crossattention.") for name in idle)


def test_the_adapter_writes_what_the_network_finds_likeliest(trained: MplugTrainee, loaded: Model) -> None:
    turns = [(number, turn) for number, example in enumerate(BATCH) for turn in example.turns]
    limit = 12
    with torch.no_grad():
        image = trained.network.image_states(trained.pixels(example.images[0] for example in BATCH))
        asked = trained.words.encode([turn.prompt for _, turn in turns], end=False)
        states = image[torch.tensor([number for number, _ in turns])]
        context = trained.network.decoder_context(states, asked.ids, asked.mask)
        ids = torch.full((len(turns), 1), CLS)
        for _ in range(limit):
            ids = torch.cat([ids, trained.network.text_decoder(ids, context)[:, -1:].argmax(-1)], dim=1)
    rows = [row[1:] for row in ids.tolist()]
    expected = [trained.words.decode(row[: row.index(SEP)] if SEP in row else row) for row in rows]
    pictures = [(Image.fromarray(example.images[0]),) for example in BATCH]
    batch = [item(n, turn.prompt, pictures=pictures[number]) for n, (number, turn) in enumerate(turns)]
    given = loaded.generate(loaded.prepare(batch), GenerationSettings(max_new_tokens=limit))
    assert [answer.text for answer in given if isinstance(answer, Generation)] == expected
    assert len(set(expected)) > 1
    assert any(expected)


def test_the_saved_folder_holds_the_sizes_and_half_precision(trained: MplugTrainee, tmp_path: Path) -> None:
    trained.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert (config["image_res"], config["fusion_layers"], config["stride_layer"]) == (64, 2, 1)
    weights = sum(weight.numel() for weight in trained.network.parameters())
    assert 2 * weights < (tmp_path / "model.safetensors").stat().st_size < 2 * weights + 20_000


def test_a_nano_network_of_the_default_sizes_takes_less_than_four_megabytes(source_texts: list[str]) -> None:
    trainee = MplugTrainee.made(MplugTrainee.checked({}, "recipe"), source_texts, [])
    weights = sum(weight.numel() for weight in trainee.network.parameters())
    assert 1_500_000 < weights < 1_990_000


def test_pixels_are_those_of_the_family() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((64, 64, 3), (48, 80, 3), (64, 64))]
    expected = pixels([Image.fromarray(picture) for picture in pictures], 64)
    assert torch.equal(fresh().pixels(pictures), expected)


def test_the_prompts_of_a_run_are_those_of_the_training() -> None:
    prompts, rng = fresh().run_part()["prompts"], np.random.default_rng(1)
    for _ in range(20):
        asked = questions.draw(rng).question
        sample = Sample("s", question=asked.question, choices=asked.options, hint=asked.hint)
        prompt = render(sample, prompt=prompts["multiple-choice"], template="{{ text }}", images=1, name="test")
        assert prompt == choice_turn(asked).prompt
    assert prompts["captioning"] == BATCH[0].turns[0].prompt


def test_the_vocabulary_spells_every_text_of_the_source(source_texts: list[str]) -> None:
    pieces = word_pieces(source_texts)
    assert (pieces[0], pieces[CLS], pieces[SEP]) == ("[PAD]", "[CLS]", "[SEP]")
    words = MplugTrainee.made(MplugTrainee.checked(SMALL, "recipe"), source_texts, []).words
    ids = words.encode(source_texts, end=False)
    assert int((ids.ids == pieces.index("[UNK]")).sum()) == 0
    answers = [turn.answer for example in BATCH for turn in example.turns]
    assert [words.decode(words.encode([answer], end=True).ids[0].tolist()) for answer in answers] == [
        answer.lower() for answer in answers
    ]


def test_a_text_longer_than_the_positions_is_refused() -> None:
    long = Example(BATCH[0].images, (Turn("red " * 64, "blue"),), "scene")
    with pytest.raises(TrainingError, match="65 tokens"):
        fresh().loss([long])


@pytest.mark.parametrize(("option", "value"), [("width", 100), ("heads", 3), ("patch_px", 7), ("layers", 2)])
def test_wrong_options_are_refused(option: str, value: int) -> None:
    with pytest.raises(TrainingError, match="recipe"):
        MplugTrainee.checked({option: value}, "recipe")
