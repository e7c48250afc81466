"""ResNet-18 with and without a Haar level, and the experiment that compares them.

Evidence: published parameter counts; PyWavelets; a whole run of the experiment at a size of seconds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import pywt
import torch

from harness.training.resnet import Arm, ResNet18, multiply_adds, sub_bands

EXPERIMENT = Path(__file__).parents[3] / "experiments" / "wavelet_resnet"
TINY = ["--device", "cpu", "--train", "24", "--test", "20", "--width", "2", "--epochs", "1", "--batch", "8"]


@pytest.mark.parametrize(("arm", "count"), [("baseline", 11_173_962), ("wavelet", 11_179_146)])
def test_parameters_at_width_64_are_the_published_counts(arm: Arm, count: int) -> None:
    with torch.device("meta"):
        network = ResNet18(arm, classes=10)
    assert sum(p.numel() for p in network.parameters()) == count


def test_sub_bands_are_those_of_pywavelets_colour_by_colour() -> None:
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    expected = []
    for colour in image[0]:
        approximation, details = pywt.dwt2(colour, "haar", mode="periodization")
        expected += [approximation, *details]
    found = sub_bands(torch.from_numpy(image))
    assert found.shape == (1, 12, 16, 16)
    torch.testing.assert_close(found[0], torch.from_numpy(np.stack(expected)), atol=1e-5, rtol=0)


def test_gradients_reach_the_picture_through_the_transform() -> None:
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    ResNet18("wavelet", classes=4, width=2)(image).sum().backward()
    assert image.grad is not None
    assert float(image.grad.abs().max()) > 0


def test_multiply_adds_of_the_stem_and_head_follow_by_hand() -> None:
    counts = {arm: multiply_adds(ResNet18(arm, classes=10, width=4)) for arm in ("baseline", "wavelet")}
    # after the stem the wavelet maps have a quarter of the positions; the head is the same matrix
    stem, wavelet_stem, head = 9 * 3 * 4 * 32**2, 9 * 12 * 4 * 16**2, 32 * 10
    assert counts["baseline"] - stem - head == 4 * (counts["wavelet"] - wavelet_stem - head)


def test_counting_leaves_network_in_its_mode() -> None:
    network = ResNet18("baseline", classes=2, width=2).train()
    before = network.stem_norm.running_mean.clone()  # type: ignore[union-attr, operator]
    multiply_adds(network)
    assert network.training
    torch.testing.assert_close(network.stem_norm.running_mean, before)


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXPERIMENT)
    for name in ("run", "arms", "report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run  # type: ignore[import-not-found, unused-ignore]

    return run


def test_experiment_goes_on_after_the_trainings_that_are_done(experiment: ModuleType, tmp_path: Path) -> None:
    assert experiment.main(["--out", str(tmp_path), "--seeds", "1", *TINY]) == 0
    once = json.loads((tmp_path / "results.json").read_text())
    assert experiment.main(["--out", str(tmp_path), "--seeds", "2", *TINY]) == 0
    twice = json.loads((tmp_path / "results.json").read_text())
    assert twice["runs"][:2] == once["runs"]
    assert [(r["arm"], r["seed"]) for r in twice["runs"]] == [
        ("baseline", 0),
        ("wavelet", 0),
        ("wavelet", 1),
        ("baseline", 1),
    ]
    page = (tmp_path / "README.md").read_text()
    assert "reported by the authors" in page
    assert "| all |" in page


def test_experiment_gives_the_same_answers_again(experiment: ModuleType, tmp_path: Path) -> None:
    answers = []
    for name in ("a", "b"):
        assert experiment.main(["--out", str(tmp_path / name), "--seeds", "1", *TINY]) == 0
        answers.append([r["answers"] for r in json.loads((tmp_path / name / "results.json").read_text())["runs"]])
    assert answers[0] == answers[1]


def test_results_of_other_settings_are_refused(
    experiment: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"settings": {"learning_rate": 0.5}, "runs": []}))
    assert experiment.main(["--out", str(tmp_path), "--seeds", "1", *TINY]) == 2
    assert "learning_rate" in capsys.readouterr().err


def test_crops_move_by_at_most_the_padding(experiment: ModuleType) -> None:
    from arms import flipped_and_cropped  # type: ignore[import-not-found, unused-ignore]

    images = np.zeros((200, 3, 32, 32), np.uint8)
    images[:, :, 16, 10] = 255
    moved = flipped_and_cropped(images, np.random.default_rng(0))
    _, rows, columns = np.nonzero(moved[:, 0])
    assert len(rows) == 200
    assert (rows.min(), rows.max()) == (12, 20)
    assert set(columns) == {*range(6, 15), *range(17, 26)}
