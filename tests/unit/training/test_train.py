"""The training loop: the same weights after a kill, refusals, early stop, the card that a run takes as is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from harness.cards.loading import load_card
from harness.engine.run import run_suite
from harness.errors import ModelError, TrainingError
from harness.models.wavelet.checkpoint import WaveletConfig
from harness.models.wavelet.family import Wavelet
from harness.models.wavelet.network import Captioner
from harness.training.progress import Silent
from harness.training.recipe import Recipe, read_recipe
from harness.training.sources import mixture_of
from harness.training.state import Point, State
from harness.training.train import made_optimiser, made_trainee, multiply_adds, rate, train, update
from harness.training.trainees.wavelet import WaveletTrainee
from tests.unit.training.making import TINY_NETWORK, recipe


class StopAt(Silent):
    """Raises after a step, as a kill would end the process."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, done: int, loss: float) -> None:
        if done == self._step:
            raise KeyboardInterrupt


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_training_that_was_stopped_ends_with_the_weights_of_one_that_was_not(tmp_path: Path, step: int) -> None:
    whole = train(recipe(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path / "stopped", progress=StopAt(step), save_every_s=0)
    again = train(recipe(), tmp_path / "stopped", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    first, second = (yaml.safe_load(done.card.read_text())["trained"] for done in (whole, again))
    assert first["data_sha256"] == second["data_sha256"]
    assert [p["exact"] for p in first["curve"]] == [p["exact"] for p in second["curve"]]


def test_a_training_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    long = recipe(optimiser={"learning_rate": 0.003, "batch": 4, "steps": 40, "warm_up": 2})
    path.write_text(yaml.safe_dump(long.model_dump(mode="json")))
    program = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from harness.training.recipe import read_recipe; from harness.training.train import train\n"
        "train(read_recipe(Path(sys.argv[1])), Path(sys.argv[2]), resume=True, save_every_s=0)"
    )
    command = [sys.executable, "-c", program, str(path), str(tmp_path / "killed")]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = tmp_path / "killed" / "state.pt"
    deadline = time.monotonic() + 60
    while not state.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert state.exists()
    subprocess.run(command, check=True, capture_output=True)
    train(read_recipe(path), tmp_path / "whole")
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))


def test_a_begun_training_is_not_overwritten(tmp_path: Path) -> None:
    train(recipe(), tmp_path / "one")
    with pytest.raises(TrainingError, match="give --resume"):
        train(recipe(), tmp_path / "one")
    with pytest.raises(TrainingError, match="another recipe"):
        train(recipe(seed=5), tmp_path / "one", resume=True)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="holds no training"):
        train(recipe(), tmp_path)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    train(recipe(), tmp_path / "one")
    (tmp_path / "one" / "state.pt").write_bytes(b"torn")
    with pytest.raises(TrainingError, match=r"state\.pt: is damaged"):
        train(recipe(), tmp_path / "one", resume=True)


def test_a_loss_that_is_no_number_ends_the_training_with_advice(tmp_path: Path) -> None:
    wild = recipe(optimiser={"learning_rate": 1e30, "batch": 4, "steps": 6, "warm_up": 0, "clip": 1e30})
    with pytest.raises(TrainingError, match=r"loss of step .* lower optimiser\.learning_rate"):
        train(wild, tmp_path / "one")


def test_the_training_stops_early_where_nothing_gets_better() -> None:
    point = Point(1, 4, 1.0, 1.0, 1.0, 0.5, 1.0, 10)
    state = State()
    for exact in (0.5, 0.4, 0.3):
        state.add(replace(point, exact=exact))
    assert state.no_better_since(2)
    assert not state.no_better_since(3)
    assert not state.no_better_since(None)
    assert state.best().exact == 0.5


def test_the_learning_rate_warms_up_and_falls_to_its_last_share() -> None:
    chosen = recipe(optimiser={"learning_rate": 1.0, "steps": 1000, "warm_up": 10, "last": 0.1})
    assert rate(0, chosen) == pytest.approx(0.1)
    assert rate(10, chosen) == pytest.approx(1.0, abs=0.01)
    assert rate(999, chosen) == pytest.approx(0.1, abs=0.01)


def test_the_card_runs_as_it_is(tmp_path: Path) -> None:
    done = train(recipe(), tmp_path / "one")
    card = load_card(done.card)
    assert card.card.trained is not None
    assert card.card.trained.samples == 24
    outcome = run_suite("smoke", [str(done.card)], out=tmp_path / "results")
    (task,) = outcome.runs[0].record.tasks
    assert task.n_answered == task.n_samples


def test_a_corrupted_checkpoint_is_refused(tmp_path: Path) -> None:
    done = train(recipe(), tmp_path / "one")
    file = done.checkpoint / "model.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-100] ^= 255
    file.write_bytes(damaged)
    with pytest.raises(ModelError, match="the file is damaged or of another training"):
        Wavelet.load(load_card(done.card).settings())
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="is damaged or no safetensors file"):
        Wavelet.load(replace(load_card(done.card).settings(), sha256=None))


def test_a_checkpoint_with_another_decoder_is_refused(tmp_path: Path) -> None:
    one = train(recipe(), tmp_path / "one")
    two = train(recipe(seed=1), tmp_path / "two")
    settings = load_card(one.card).settings()
    mixed = load_file(one.checkpoint / "model.safetensors")
    theirs = load_file(two.checkpoint / "model.safetensors")
    mixed |= {name: weight for name, weight in theirs.items() if name.startswith("decoder.")}
    save_file(mixed, one.checkpoint / "model.safetensors")
    with pytest.raises(ModelError, match="is not the one this checkpoint was trained with"):
        Wavelet.load(replace(settings, sha256=None))


def test_another_decoder_answers_only_where_the_published_mistake_is_asked_for(tmp_path: Path) -> None:
    one = train(recipe(), tmp_path / "one")
    two = train(recipe(seed=1), tmp_path / "two")
    paired = replace(load_card(one.card).settings(), options={"original_decoder": str(two.checkpoint)})
    with pytest.raises(ModelError, match="published_inference: true"):
        Wavelet.load(paired)
    allowed = replace(paired, options={**paired.options, "published_inference": True})
    assert same(
        Wavelet.load(allowed).network.decoder.state_dict(),
        Wavelet.load(load_card(two.card).settings()).network.decoder.state_dict(),
    )
    assert any("decoder of" in warning for warning in Wavelet.identify(allowed).warnings)


def test_a_frozen_decoder_is_that_of_the_other_checkpoint_after_the_training(tmp_path: Path) -> None:
    blind = train(recipe(network={**TINY_NETWORK, "design": None}), tmp_path / "blind")
    seeing = train(recipe(network={**TINY_NETWORK, "frozen_decoder": str(blind.checkpoint)}), tmp_path / "seeing")
    ours, theirs = weights(tmp_path / "seeing"), weights(tmp_path / "blind")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert any(name.startswith("eye.") for name in ours)
    assert seeing.checkpoint.is_dir()


def test_several_turns_at_once_give_the_loss_of_each_alone() -> None:
    chosen = recipe(data=[{"source": "scenes", "options": {"questions": 2}}])
    source = mixture_of(chosen, "test")
    trainee = made_trainee(chosen, source, "test")
    example = source.draw(np.random.default_rng(3), 1.0)
    together = float(trainee.loss([example]).detach())
    total, tokens = 0.0, 0
    for turn in example.turns:
        alone = replace(example, turns=(turn,))
        n = int((trainee.rows([alone]).targets >= 0).sum())  # type: ignore[attr-defined]
        total += float(trainee.loss([alone]).detach()) * n
        tokens += n
    assert together == pytest.approx(total / tokens, abs=1e-5)
    assert multiply_adds(trainee, [example]) > 1_000_000


def test_a_part_that_joins_late_is_not_drawn_before() -> None:
    chosen = recipe(data=[{"source": "scenes", "end": 0.5}, {"source": "charts", "begin": 0.5}])
    source = mixture_of(chosen, "test")
    kinds = {source.draw(np.random.default_rng(k), 0.2).kind for k in range(20)}
    assert kinds == {"scene"}
    assert {source.held_out(np.random.default_rng(k)).kind for k in range(20)} <= {"bar", "hbar", "line", "pie"}


def test_a_gap_in_the_data_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"no source takes part from 0\.5 on"):
        mixture_of(recipe(data=[{"source": "scenes", "end": 0.5}, {"source": "charts", "begin": 0.6}]), "test")


def test_an_unknown_field_of_the_network_is_named_with_its_file(tmp_path: Path) -> None:
    wrong = recipe(network={**TINY_NETWORK, "wdth": 3})
    with pytest.raises(TrainingError, match=r"mine\.yaml: network\.wdth"):
        train(wrong, tmp_path / "one", where="mine.yaml")


@pytest.mark.gpu
def test_a_training_on_a_cuda_device_gives_a_card_that_answers_on_the_cpu(tmp_path: Path) -> None:
    done = train(recipe(), tmp_path / "one", device="cuda")
    outcome = run_suite("smoke", [str(done.card)], out=tmp_path / "results", device="cpu")
    assert outcome.runs[0].record.tasks[0].n_answered > 0


def test_recipes_are_compared_by_everything_in_them() -> None:
    assert isinstance(recipe(), Recipe)
    assert recipe(seed=1) != recipe()


def test_spotted_words_are_read_at_the_image_vectors_of_their_places() -> None:
    network = {**TINY_NETWORK, "design": {"levels": 4, "projection": "pyramid", "encoder_layers": 0, "merge": 1}}
    made = recipe(
        network={**network, "height": 128, "width_px": 128, "spotting": 1.0},
        data=[{"source": "charts"}],
        optimiser={"learning_rate": 0.01, "batch": 8, "steps": 60, "warm_up": 2},
    )
    source = mixture_of(made, "here")
    trainee = made_trainee(made, source, "here")
    assert isinstance(trainee, WaveletTrainee)
    batch = [source.draw(np.random.default_rng(n), 0.0) for n in range(8)]
    optimiser = made_optimiser(trainee, made)
    plain = WaveletTrainee(trainee.options.model_copy(update={"spotting": 0.0}), *parts(trainee))
    extra = [(trainee.loss(batch) - plain.loss(batch)).item()]
    for step in range(60):
        update(trainee, optimiser, made, step, batch)
    extra.append((trainee.loss(batch) - plain.loss(batch)).item())
    assert 4 < extra[0] < 8
    assert extra[1] < 1
    moved = [replace(e, spots=tuple(replace(s, row=127 - s.row) for s in e.spots)) for e in batch]
    assert (trainee.loss(moved) - plain.loss(moved)).item() > 3


def parts(trainee: WaveletTrainee) -> tuple[WaveletConfig, Captioner, object]:
    return trainee.config, trainee.network, trainee.tokenizer
