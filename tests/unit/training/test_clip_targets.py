"""Approximating a CLIP by wavelet tokens, on a tiny CLIP with random weights.

Evidence: worked examples, and properties of a training of seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from harness.errors import ModelError, TrainingError
from harness.training.clip_targets import approximate_clip, main, measured, nearest
from harness.training.fitting import fresh
from harness.training.recipe import Recipe
from harness.training.sources import mixture_of
from harness.training.trainees.wavelet_clip import WaveletClipTrainee
from tests.unit.training.making import recipe


def clip_recipe(clip: Path | str, **changes: Any) -> Recipe:
    design = {"levels": 4, "encoder_layers": 1, "merge": 1}
    fields: dict[str, Any] = {
        "name": "tiny-clip",
        "trainee": "wavelet-clip",
        "network": {"clip": str(clip), "design": design, "width": 32, "heads": 2},
        "optimiser": {"learning_rate": 0.003, "batch": 16, "steps": 20, "warm_up": 2},
        "validation": {"examples": 24},
        **changes,
    }
    return recipe(**fields)


@pytest.fixture(scope="module")
def clip(tiny_checkpoints: Mapping[str, Path]) -> Path:
    return tiny_checkpoints["clip"]


def test_the_cosine_rises_and_the_checkpoint_gives_the_same_embeddings(clip: Path, tmp_path: Path) -> None:
    asked = clip_recipe(clip)
    source = mixture_of(asked, "test")
    untrained = measured(fresh(WaveletClipTrainee, asked, source, "test", measured=64), source, asked)
    found = approximate_clip(asked, tmp_path)
    assert found.cosine > untrained.cosine
    assert found.n == 24
    assert found.retrieval_chance == pytest.approx(1 / 23)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["cosine"], results["steps"]) == (found.cosine, 20)
    pictures = [source.held_out(np.random.default_rng(k)).images[0] for k in range(3)]
    first, second = (WaveletClipTrainee.opened(tmp_path / "checkpoint") for _ in range(2))
    assert torch.equal(first.embeddings(pictures), second.embeddings(pictures))
    again = approximate_clip(asked, tmp_path)
    assert again == found
    with pytest.raises(TrainingError, match="opened without its CLIP"):
        first.targets(pictures)


def test_saved_and_opened_embedders_agree(clip: Path, tmp_path: Path) -> None:
    asked = clip_recipe(clip)
    source = mixture_of(asked, "test")
    trainee = fresh(WaveletClipTrainee, asked, source, "test", measured=16)
    trainee.network.eval()
    trainee.save(tmp_path)
    pictures = [source.held_out(np.random.default_rng(k)).images[0] for k in range(3)]
    found = WaveletClipTrainee.opened(tmp_path).embeddings(pictures)
    assert torch.equal(found, trainee.embeddings(pictures))
    assert found.norm(dim=-1) == pytest.approx(1.0, abs=1e-5)


def test_clip_is_neither_trained_nor_saved(clip: Path) -> None:
    asked = clip_recipe(clip)
    trainee = fresh(WaveletClipTrainee, asked, mixture_of(asked, "test"), "test", measured=16)
    assert not any("clip" in name or "vision" in name for name in trainee.network.state_dict())


def test_a_missing_clip_is_refused_with_what_to_fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(clip_recipe(tmp_path / "nowhere").model_dump(mode="json")))
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "nowhere" in said
    assert "hf download openai/clip-vit-base-patch32" in said


def test_another_trainee_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="this training is for wavelet-clip"):
        approximate_clip(recipe(), tmp_path)


def test_a_folder_without_an_embedder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no whole embedder"):
        WaveletClipTrainee.opened(tmp_path)


def test_the_nearest_other_row_is_never_the_row_itself() -> None:
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), dim=-1)
    assert nearest(vectors).tolist() == [1, 0, 1]
