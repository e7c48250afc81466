"""LLaVA and BLIP-2 in training: a row of several turns against each turn alone, and the saved checkpoint against the
network that was trained.

Evidence: equality of two ways to compute one number, at sizes of a few thousand weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.engine.prompts import render
from harness.errors import TrainingError
from harness.mini import questions
from harness.mini.streams import Dice
from harness.models.base import Generation
from harness.models.blip2 import Blip2
from harness.models.llava import Llava
from harness.records import ModelSettings, Sample
from harness.training.examples import Example, Turn, batches
from harness.training.procedural import Scenes, choice_turn
from harness.training.trainees.blip2 import Blip2Trainee
from harness.training.trainees.llava import LlavaTrainee
from harness.training.trainees.stock import StockTrainee, whitening
from tests.model_inputs import item

SMALL = {"patch_px": 16, "width": 32, "heads": 2, "vision_layers": 1, "text_layers": 2}
TRAINEES: dict[str, tuple[type[StockTrainee], dict[str, Any]]] = {
    "llava": (LlavaTrainee, SMALL),
    "blip2": (Blip2Trainee, {**SMALL, "queries": 4, "qformer_layers": 1}),
}
ADAPTERS = {"llava": Llava, "blip2": Blip2}
SOURCE = Scenes(questions=2)
(BATCH,) = batches(SOURCE, seed=3, size=6, steps=1)


def fresh(name: str, **options: Any) -> StockTrainee:
    torch.manual_seed(5)
    kind, sizes = TRAINEES[name]
    texts = [f"{t.prompt} {t.answer}" for e in BATCH for t in e.turns] + ["a b c d e f g"]
    return kind.made(kind.checked({**sizes, **options}, "recipe"), texts, BATCH)


def trained(name: str, steps: int = 3) -> StockTrainee:
    trainee = fresh(name)
    optimiser = torch.optim.AdamW(trainee.network.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        trainee.loss(BATCH).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    trainee.network.eval()
    return trainee


def run_settings(trainee: StockTrainee, folder: Path) -> ModelSettings:
    return ModelSettings("nano", trainee.family, checkpoint=str(folder), device="cpu", **trainee.run_part())


def prompt(settings: ModelSettings, text: str) -> str:
    return render(Sample("s"), prompt=text.replace("{", ""), template=settings.template, images=1, name="test")


@pytest.fixture(scope="module", params=TRAINEES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[StockTrainee, Any]:
    """A trained network, and the adapter that has loaded what it saved."""
    trainee = trained(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    trainee.save(folder)
    return trainee, ADAPTERS[request.param].load(run_settings(trainee, folder))


@pytest.mark.parametrize("name", TRAINEES)
def test_a_row_of_several_turns_trains_as_its_turns_alone(name: str) -> None:
    # 1e-5: sums of float32 in another order.
    trainee = fresh(name)
    whole = trainee.loss(BATCH[:2])
    total, tokens = 0.0, 0
    for example in BATCH[:2]:
        for turn in example.turns:
            alone = Example(example.images, (turn,), example.kind)
            count = int((trainee.rows([alone]).targets >= 0).sum())
            total += trainee.loss([alone]).item() * count
            tokens += count
    assert whole.item() == pytest.approx(total / tokens, abs=1e-5)


@pytest.mark.parametrize("name", TRAINEES)
def test_the_loss_reaches_every_weight_that_a_caption_needs(name: str) -> None:
    trainee = fresh(name)
    trainee.loss(BATCH).backward()  # type: ignore[no-untyped-call]
    idle = {n for n, p in trainee.network.named_parameters() if p.grad is None or not bool(p.grad.any())}
    # LLaVA reads the tower before its last norm and without the class token of the last layer.
    assert all("post_layernorm" in n or "k_proj.bias" in n or "key.bias" in n or "qkv.bias" in n for n in idle), idle


def test_training_logits_are_those_of_the_loaded_checkpoint(pair: tuple[StockTrainee, Any]) -> None:
    # 2e-2: weights are stored in float16, logits are of the order of 1.
    trainee, model = pair
    example = Example(BATCH[0].images, BATCH[0].turns[1:2], "question")
    rows = trainee.rows([example])
    with torch.no_grad():
        here = trainee.logits([example], rows)[0]
    text = prompt(model.settings, example.turns[0].prompt) + f" {example.turns[0].answer}"
    asked = item(0, text, pictures=(Image.fromarray(example.images[0]),))
    there = model.forward(model.prepare([asked]).tensors).logits[0, -here.shape[0] :]
    assert float((here - there).abs().max()) < 2e-2
    ids = model.prepare([asked]).tensors["input_ids"][0, -here.shape[0] :]
    assert ids.tolist() == rows.ids[0].tolist()


def test_the_adapter_writes_what_the_trained_network_writes(pair: tuple[StockTrainee, Any]) -> None:
    trainee, model = pair
    tokenizer = trainee.processor.tokenizer
    for example in BATCH:
        for turn in example.turns:
            answer: list[str] = []
            for _ in range(6):
                so_far = Example(example.images, (Turn(turn.prompt, "".join(answer).removeprefix(" ")),), "")
                rows = trainee.rows([so_far])
                width = len(tokenizer.encode(turn.prompt)) + len(tokenizer.encode("".join(answer)))
                with torch.no_grad():
                    best = int(trainee.logits([so_far], rows)[0, width].argmax())
                if best == tokenizer.eos_token_id:
                    break
                answer.append(tokenizer.decode([best], skip_special_tokens=True))
                if not answer[0].startswith(" "):
                    break
            asked = item(0, prompt(model.settings, turn.prompt), pictures=(Image.fromarray(example.images[0]),))
            (found,) = model.generate(model.prepare([asked]), asked.request.generation)
            assert isinstance(found, Generation)
            assert found.text.startswith("".join(answer))


def test_the_adapter_ranks_the_options_of_a_question(pair: tuple[StockTrainee, Any]) -> None:
    trainee, model = pair
    asked = item(0, prompt(model.settings, "What color?"), pictures=(picture(),), choices=("red", "blue"))
    (answer,) = model.choose([asked])
    assert isinstance(answer, Generation)
    single = Example((np.asarray(picture()),), (Turn("What color?", "red"),), "")
    rows = trainee.rows([single])
    with torch.no_grad():
        scores = trainee.logits([single], rows)[0].log_softmax(-1)
    wanted = rows.targets[0, rows.targets[0] >= 0][:-1]
    first = int((rows.targets[0] >= 0).nonzero()[0])
    expected = sum(float(scores[first + n, token]) for n, token in enumerate(wanted))
    # 2e-2: weights are stored in float16.
    assert answer.choice_scores[0] == pytest.approx(expected, abs=2e-2)


def picture() -> Image.Image:
    return Image.fromarray(BATCH[1].images[0])


def test_pixels_in_training_are_those_of_the_processor(pair: tuple[StockTrainee, Any]) -> None:
    trainee, model = pair
    asked = [item(n, prompt(model.settings, ""), pictures=(Image.fromarray(BATCH[n].images[0]),)) for n in range(3)]
    there = model.prepare(asked).tensors["pixel_values"]
    here = trainee.pixels(BATCH[:3])
    assert float((here - there).abs().max()) < 1e-5  # values up to 6 in float32
    whole = trainee.pixels(BATCH)
    assert float(whole.mean((0, 2, 3)).abs().max()) < 1e-4
    assert float((whole.std((0, 2, 3)) - 1).abs().max()) < 1e-3


def test_pictures_of_another_size_and_grey_ones_are_read(pair: tuple[StockTrainee, Any]) -> None:
    trainee, _ = pair
    grey = Example((np.full((40, 90), 200, np.uint8),), (Turn("", "a"),), "")
    assert trainee.pixels([grey]).shape == (1, 3, 64, 64)
    with pytest.raises(TrainingError, match="one image"):
        trainee.pixels([Example((), (Turn("", "a"),), "")])


def test_checkpoints_are_plain_ones_in_half_precision(pair: tuple[StockTrainee, Any]) -> None:
    from safetensors import safe_open

    _, model = pair
    folder = Path(model.settings.checkpoint)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    with safe_open(str(folder / "model.safetensors"), "pt") as stored:
        names = list(stored.keys())
        assert {stored.get_slice(name).get_dtype() for name in names} == {"F16"}
    assert not [name for name in names if "parametrizations" in name]


@pytest.mark.parametrize("name", TRAINEES)
def test_the_default_network_fits_in_four_megabytes(name: str) -> None:
    kind, _ = TRAINEES[name]
    options = kind.checked({}, "recipe")
    trainee = kind.made(options, SOURCE.texts()[:40], BATCH)
    spare = trainee.options.vocabulary - len(trainee.processor.tokenizer)
    weights = sum(p.numel() for p in trainee.network.parameters()) + spare * trainee.options.width
    assert 2 * weights < 4_000_000


def test_prompts_of_a_run_are_those_of_training() -> None:
    part = fresh("llava").run_part()
    for seed in range(20):
        _, asked = questions.compose(Dice(np.random.default_rng(seed)))
        sample = Sample("s", question=asked.question, choices=asked.options, hint=asked.hint)
        text = render(sample, prompt=part["prompts"]["multiple-choice"], template="{{ text }}", images=1, name="test")
        assert text == choice_turn(asked).prompt
    assert part["prompts"]["captioning"] == Scenes().caption_prompt


def test_whitening_evens_the_components_of_patches() -> None:
    pixels = torch.randn(64, 3, 8, 8).cumsum(2).cumsum(3)
    basis = whitening(pixels, 4, 0.0)
    patches = torch.nn.functional.unfold(pixels, 4, stride=4).transpose(1, 2).flatten(0, 1)
    made = (patches - patches.mean(0)) @ basis.T
    assert torch.allclose(made.T @ made / len(made), torch.eye(48), atol=0.05)


def test_whitening_with_a_floor_leaves_the_strongest_component_the_strongest() -> None:
    pixels = torch.randn(64, 3, 8, 8).cumsum(2).cumsum(3)
    patches = torch.nn.functional.unfold(pixels, 4, stride=4).transpose(1, 2).flatten(0, 1)
    variances = ((patches - patches.mean(0)) @ whitening(pixels, 4, 0.1).T).var(0, correction=0)
    assert bool((variances[:-1] >= variances[1:] - 1e-4).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"patch_px": 10}, "no multiple of patch_px"), ({"heads": 3}, "no multiple of heads"), ({"wide": 1}, "wide")],
)
def test_wrong_sizes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        LlavaTrainee.checked(options, "recipe.yaml")


def test_queries_with_places_need_a_square_number() -> None:
    with pytest.raises(TrainingError, match="no places"):
        Blip2Trainee.checked({"queries": 10, "local": 1.0}, "recipe.yaml")
