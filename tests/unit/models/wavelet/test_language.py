"""An eye before a tiny Qwen2: what trains, what a checkpoint holds, and which language model it is run with.

Evidence: equality of two ways to compute one number, and properties of three steps of training.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from harness.errors import ModelError, TrainingError
from harness.models.base import Generation
from harness.models.wavelet.family import Wavelet
from harness.models.wavelet.language import LanguageWavelet, Text
from harness.records import GenerationSettings, ModelSettings, Problem
from harness.training.examples import Example, Turn, batches
from harness.training.procedural import Scenes
from harness.training.trainees.language import LanguageTrainee
from tests.model_inputs import item, picture
from tests.tiny_checkpoints import build

TUNINGS = ("frozen", "lora", "full")
(BATCH,) = batches(Scenes(questions=1), seed=4, size=3, steps=1)
GREEDY = GenerationSettings(max_new_tokens=8)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("lm"), ["qwen2"])["qwen2"]


@pytest.fixture(scope="module")
def other(qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same language model with other weights."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("other") / "qwen2"
    shutil.copytree(qwen, folder)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.full_like(weight, 0.01))
    model.save_pretrained(folder)
    return folder


def fresh(qwen: Path, **options: Any) -> LanguageTrainee:
    torch.manual_seed(5)
    given = {
        "language_model": str(qwen), "height": 64, "width_px": 64, "heads": 2,
        "design": {"levels": 4, "encoder_layers": 1}, "rank": 2, **options,
    }  # fmt: skip
    return LanguageTrainee.made(LanguageTrainee.checked(given, "recipe"), [], BATCH)


def step(trainee: LanguageTrainee, steps: int = 3) -> None:
    weights = [w for w in trainee.network.parameters() if w.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=1e-2)
    for _ in range(steps):
        trainee.network.train()
        optimiser.zero_grad()
        trainee.loss(BATCH).backward()
        optimiser.step()
    trainee.network.eval()


def loaded(folder: Path, **options: Any) -> LanguageWavelet:
    model = Wavelet.load(ModelSettings("tiny", "wavelet", checkpoint=str(folder), device="cpu", options=options))
    assert isinstance(model, LanguageWavelet)
    return model


def answers(model: LanguageWavelet, settings: GenerationSettings = GREEDY) -> list[str]:
    asked = [item(n, prompt) for n, prompt in enumerate(("what colour ?", "", "how many people are there ?"))]
    found = model.generate(model.prepare(asked), settings)
    return [answer.text for answer in found if isinstance(answer, Generation)]


@pytest.fixture(scope="module", params=TUNINGS)
def trained(request: pytest.FixtureRequest, qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tuning, trainee after three steps, weights before, folder of the checkpoint."""
    trainee = fresh(qwen, tuning=request.param)
    before = {name: w.detach().clone() for name, w in trainee.network.named_parameters()}
    step(trainee)
    folder = tmp_path_factory.mktemp(request.param)
    trainee.save(folder)
    return request.param, trainee, before, folder


def test_three_steps_change_what_is_tuned_and_nothing_else(trained: Any) -> None:
    tuning, trainee, before, _ = trained
    changed = {n for n, w in trainee.network.named_parameters() if not torch.equal(w, before[n])}
    eye = {n for n in before if not n.startswith("decoder.")}
    tuned = {"frozen": set(), "lora": {n for n in before if "lora_" in n}, "full": before.keys() - eye}[tuning]
    assert changed - tuned == eye
    assert changed & tuned == tuned
    assert tuned or tuning == "frozen"


def test_a_checkpoint_holds_what_was_trained_in_half_precision(trained: Any) -> None:
    tuning, trainee, _, folder = trained
    with safe_open(str(folder / "model.safetensors"), "pt") as stored:
        names = set(stored.keys())
        assert {stored.get_slice(name).get_dtype() for name in names} == {"F16"}
    decoder = {name for name in names if name.startswith("decoder.")}
    assert bool(decoder) == (tuning != "frozen")
    assert all("lora_" in name for name in decoder) == (tuning != "full")
    assert {"marks", "eye.front_end.gain"} <= names
    config = json.loads((folder / "config.json").read_text())["decoder"]
    assert (config["tuning"], len(config["fingerprint"])) == (tuning, 64)
    assert (config["fingerprint"] != trainee.config.decoder.fingerprint) == (tuning == "full")


def test_the_loaded_checkpoint_has_the_trained_logits(trained: Any) -> None:
    # 3e-2: weights are stored in float16, logits are of the order of 5.
    _, trainee, _, folder = trained
    model = loaded(folder)
    given = trainee._inputs(BATCH)
    with torch.no_grad():
        here, _ = trainee.network.logits(trainee.network.rows(*given), 0)
        there, _ = model.network.logits(model.network.rows(*given), 0)
    assert float((here - there).abs().max()) < 3e-2


def test_saved_and_loaded_again_the_answers_are_equal(trained: Any, tmp_path: Path) -> None:
    _, _, _, folder = trained
    from harness.models.wavelet.language import save

    model = loaded(folder)
    save(tmp_path, model.network, model.config, model.tokenizer)
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    for settings in (GREEDY, GenerationSettings(max_new_tokens=8, num_beams=3)):
        first = answers(model, settings)
        assert len(first) == 3
        assert first == answers(loaded(tmp_path), settings)


def test_answers_do_not_depend_on_the_batch(trained: Any) -> None:
    model = loaded(trained[3])
    asked = [item(n, prompt) for n, prompt in enumerate(("a", "what colour is the largest bar ?"))]
    together = model.generate(model.prepare(asked), GREEDY)
    assert together == [model.generate(model.prepare([one]), GREEDY)[0] for one in asked]


def test_options_are_ranked_by_the_likelihood_that_training_uses(trained: Any) -> None:
    # 1e-4: sums of float32 in another order.
    model = loaded(trained[3])
    asked = item(0, "what ?", choices=("yes", "two cats"))
    (answer,) = model.choose([asked])
    assert isinstance(answer, Generation)
    prepared = model.prepare([asked])
    assert prepared.pixels is not None
    for score, choice in zip(answer.choice_scores, ("yes", "two cats"), strict=True):
        text = Text(0, prepared.prompts[0], model.option_ids(choice))
        with torch.no_grad():
            total, _ = model.network.total_loss(prepared.pixels.float(), [1], [text])
        assert score == pytest.approx(-float(total), abs=1e-4)


def test_another_language_model_is_refused(trained: Any, other: Path) -> None:
    tuning, _, _, folder = trained
    words = "take run.options.language_model out" if tuning == "full" else "was trained with language model"
    with pytest.raises(ModelError, match=words):
        loaded(folder, language_model=str(other))


def test_published_inference_answers_by_the_untrained_model_and_says_so(trained: Any, qwen: Path) -> None:
    tuning, _, _, folder = trained
    wrong = loaded(folder, language_model=str(qwen), published_inference=True)
    assert not any("lora_" in name for name, _ in wrong.network.decoder.named_parameters()) or tuning == "frozen"
    from harness.models.wavelet.language import language_fingerprint, load_language_model

    untrained = load_language_model(wrong.settings, str(qwen))
    assert language_fingerprint(wrong.network.decoder) == language_fingerprint(untrained)
    identity = Wavelet.identify(wrong.settings)
    assert any("untrained language model" in warning for warning in identity.warnings)
    assert not Wavelet.identify(ModelSettings("tiny", "wavelet", checkpoint=str(folder))).warnings
    ends = []

    def generate(**named: Any) -> torch.Tensor:
        ends.append(named["generation_config"].eos_token_id)
        return torch.zeros(1, 1, dtype=torch.long)

    right = loaded(folder)
    for model in (wrong, right):
        model.network.decoder.generate = generate  # type: ignore[assignment]
        model.generate(model.prepare([item(0)]), GREEDY)
    assert ends == [2, right.tokenizer.eos_token_id]


def test_a_missing_language_model_says_what_to_fetch(trained: Any, qwen: Path) -> None:
    tuning, _, _, folder = trained
    if tuning == "full":
        return
    with pytest.raises(ModelError, match="hf download nobody/nothing"):
        loaded(folder, language_model="nobody/nothing")
    with pytest.raises(ModelError, match="hf download nobody/nothing"):
        fresh(qwen, language_model="nobody/nothing")


def test_the_network_is_known_without_the_language_model(trained: Any) -> None:
    _, trainee, _, folder = trained
    network: Any = Wavelet.meta_network(ModelSettings("tiny", "wavelet", checkpoint=str(folder)))
    assert {w.device.type for w in network.parameters()} == {"meta"}
    assert sum(w.numel() for w in network.parameters()) == sum(w.numel() for w in trainee.network.parameters())


def test_turns_train_as_each_alone_and_in_parts_as_together(qwen: Path) -> None:
    # 1e-5: sums of float32 in another order.
    trainee = fresh(qwen)
    whole = float(trainee.loss(BATCH).detach())
    total, tokens = 0.0, 0
    for example in BATCH:
        for turn in example.turns:
            found, count = trainee.network.total_loss(*trainee._inputs([Example(example.images, (turn,), "")]))
            total, tokens = total + float(found.detach()), tokens + count
    assert whole == pytest.approx(total / tokens, abs=1e-5)
    with torch.no_grad():
        assert float(trainee.loss([*BATCH] * 5)) == pytest.approx(whole, abs=1e-5)


def test_the_sequence_is_the_published_one(qwen: Path) -> None:
    trainee = fresh(qwen)
    network = trainee.network
    pixels, counts, texts = trainee._inputs(BATCH[:1])
    row = network.rows(pixels, counts, texts[:1])[0]
    system, seen = len(network.system), network.eye.tokens if network.eye else 0
    assert torch.equal(row[system], network.marks[0])
    assert torch.equal(row[system + 1 + seen], network.marks[1])
    assert torch.equal(row[system + 2 + seen], network.marks[2])
    bot = network.prompt_length(1, len(texts[0].prompt)) - 1
    assert torch.equal(row[bot], network.marks[3])
    assert len(row) == bot + len(texts[0].answer)
    assert texts[0].answer[-1] == trainee.tokenizer.eos_token_id


def test_image_vectors_match_words_where_that_is_asked(qwen: Path) -> None:
    trainee = fresh(qwen, match_words=True)
    pixels, _, _ = trainee._inputs(BATCH)
    assert pixels is not None
    size = float(trainee.network.image_vectors(pixels).detach().square().mean().sqrt())
    assert size == pytest.approx(trainee.network.words_size(), rel=1e-3)


def test_a_literal_end_is_learned_and_cut_off(qwen: Path, tmp_path: Path) -> None:
    trainee = fresh(qwen, end="</s>")
    ids = trainee.tokenizer("</s>", add_special_tokens=False).input_ids
    assert list(trainee._inputs(BATCH)[2][0].answer[-len(ids) :]) == ids
    trainee.save(tmp_path)
    model = loaded(tmp_path)
    (ended,) = model._criteria()
    rows = torch.tensor([[1, *ids], [*ids, 1]])
    assert ended(rows, None).tolist() == [True, False]
    assert answers(model)


def test_rows_are_cut_and_a_prompt_that_is_too_long_is_told(qwen: Path, tmp_path: Path) -> None:
    trainee = fresh(qwen, positions=40)
    turns = (Turn("what ?", "two cats on the grass " * 20),)
    (row,) = trainee.network.rows(*trainee._inputs([Example(BATCH[0].images, turns, "")]))
    assert len(row) == 40
    with pytest.raises(ModelError, match="within 40 positions"):
        trainee.loss([Example(BATCH[0].images, (Turn("cats " * 40, "two"),), "")])
    trainee.save(tmp_path)
    model = loaded(tmp_path)
    (answer,) = model.generate(model.prepare([item(0, "cats " * 40)]), GREEDY)
    assert isinstance(answer, Problem)
    assert answer.kind == "prompt_too_long"


def test_several_images_and_none_are_read(qwen: Path, tmp_path: Path) -> None:
    trainee = fresh(qwen, max_images=2)
    two = Example((BATCH[0].images[0], BATCH[1].images[0]), (Turn("same ?", "no"),), "")
    assert torch.isfinite(trainee.loss([two, BATCH[0], Example((), (Turn("a", "b"),), "")]))
    trainee.save(tmp_path)
    model = loaded(tmp_path)
    asked = [item(0, "a", pictures=(picture(0), picture(1))), item(1, "a"), item(2, "a", pictures=())]
    assert all(isinstance(a, Generation) for a in model.generate(model.prepare(asked), GREEDY))


def test_sampling_and_repeated_ngrams_follow_the_settings(qwen: Path, tmp_path: Path) -> None:
    fresh(qwen).save(tmp_path)
    sampled = GenerationSettings(max_new_tokens=6, do_sample=True, temperature=1.5, seed=3)
    assert answers(loaded(tmp_path), sampled) == answers(loaded(tmp_path), sampled)
    long = GenerationSettings(max_new_tokens=40, min_new_tokens=40)
    model = loaded(tmp_path, no_repeat_ngram_size=1)
    decoder: Any = model.network.decoder
    library, ids = decoder.generate, []

    def generate(**named: Any) -> torch.Tensor:
        ids.append(library(**named))
        return ids[0]

    decoder.generate = generate
    (found,) = model.generate(model.prepare([item(0, "a")]), long)
    assert isinstance(found, Generation)
    assert found.output_tokens == 40
    assert len(set(ids[0][0].tolist())) == 40


def test_a_state_of_a_training_goes_back_in(qwen: Path) -> None:
    for tuning in TUNINGS:
        trainee = fresh(qwen, tuning=tuning)
        step(trainee, 1)
        kept = {n: w.clone() for n, w in trainee.network.state_dict().items()}
        again = fresh(qwen, tuning=tuning)
        again.network.load_state_dict(kept)
        assert float(again.loss(BATCH).detach()) == pytest.approx(float(trainee.loss(BATCH).detach()), abs=1e-5)
        with pytest.raises(RuntimeError, match="marks"):
            again.network.load_state_dict({n: w for n, w in kept.items() if n != "marks"})


@pytest.mark.parametrize(
    ("options", "words"),
    [({"tuning": "half"}, "network.tuning"), ({"widht": 3}, "network.widht"), ({}, "language_model")],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        LanguageTrainee.checked(options, "recipe.yaml")


def test_options_of_the_other_kind_are_refused(qwen: Path, tmp_path: Path) -> None:
    fresh(qwen).save(tmp_path)
    with pytest.raises(ModelError, match="give language_model"):
        loaded(tmp_path, original_decoder="somewhere")


def test_a_recipe_trains_it(qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.training.trainees.language.LanguageTrainee.measured", 8)
    monkeypatch.setattr(Scenes, "texts", lambda self: [])
    from harness.training.recipe import Recipe
    from harness.training.train import train

    network = {"language_model": str(qwen), "height": 64, "width_px": 64, "design": {"levels": 4}, "heads": 2}
    recipe = Recipe.model_validate(
        {
            "name": "tiny", "description": "d", "trainee": "wavelet-language", "network": network,
            "data": [{"source": "scenes"}],
            "optimiser": {"learning_rate": 1e-3, "batch": 2, "accumulate": 2, "steps": 2},
            "validation": {"every": 2, "examples": 2, "max_new_tokens": 4},
        }
    )  # fmt: skip
    done = train(recipe, tmp_path / "out")
    assert (done.checkpoint / "language_model.json").is_file()
    again = train(recipe, tmp_path / "out", resume=True)
    assert again.curve == done.curve
