"""Texts to wavelet coefficients to pictures: bins, the painter, its training and the experiment.

Evidence: worked examples, properties, and a whole run of the experiment at a size of seconds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from harness.errors import ModelError, TrainingError
from harness.mini import scenes
from harness.mini.streams import Dice
from harness.models.wavelet.design import Design
from harness.models.wavelet.front_end import coloured
from harness.training.fitting import fit, fresh
from harness.training.painting import Bins, Painter, SettledScenes, request, rgb_of, settled
from harness.training.progress import Silent
from harness.training.recipe import Recipe, read_recipe
from tests.unit.training.making import recipe

EXPERIMENT = Path(__file__).parents[3] / "experiments" / "text_to_wavelets"
RED = scenes.Thing("red", "circle", "small", "top left", 6, 10, (0.1, 0.9))
CROSS = scenes.Thing("blue", "cross", "large", "bottom right", 11, -5, (0.7, 0.2))


def painter_recipe(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "name": "tiny-painter",
        "trainee": "painter",
        "network": {"bins": [3, 3, 9], "width": 16, "heads": 2, "layers": 1},
        "data": [{"source": "settled-scenes"}],
        "optimiser": {"learning_rate": 0.01, "batch": 4, "steps": 6, "warm_up": 2},
        **changes,
    }
    return recipe(**fields)


def made(**changes: Any) -> Painter:
    return fresh(Painter, painter_recipe(**changes), SettledScenes(), "test", measured=48)


@pytest.fixture(scope="module")
def painter() -> Painter:
    """An untrained painter, which no test changes."""
    fresh_one = made()
    fresh_one.network.eval()
    return fresh_one


def drawn(number: int) -> list[Any]:
    rng = np.random.default_rng(5)
    return [SettledScenes().held_out(rng) for _ in range(number)]


def test_a_request_names_size_colour_shape_place_and_ground() -> None:
    asked = request(scenes.Layout((RED, CROSS), "pink"))
    assert asked == "a small red circle at the top left and a large blue cross at the bottom right on a pink background"


def test_a_settled_scene_depends_on_its_request_alone() -> None:
    moved = scenes.Thing("red", "circle", "small", "top left", 7, 0, (0.5, 0.3))
    one, two = (settled(scenes.Layout((t, CROSS), "gray")) for t in (RED, moved))
    assert one == two
    assert settled(one) == one


def test_bins_keep_values_that_are_taken_often() -> None:
    samples = torch.tensor([[0.0]] * 80 + [[-2.0]] * 10 + [[5.0]] * 10)
    bins = Bins(1, 4)
    bins.measure(samples)
    assert set(bins.values[0].tolist()) >= {-2.0, 0.0, 5.0}
    assert torch.equal(bins.of(bins.classes(samples)), samples)


def test_bins_part_values_at_the_nearest() -> None:
    bins = Bins(2, 3)
    bins.values.copy_(torch.tensor([[-1.0, 0.0, 1.0], [0.0, 10.0, 30.0]]))
    bins.edges.copy_((bins.values[:, 1:] + bins.values[:, :-1]) / 2)
    assert bins.classes(torch.tensor([[0.4, 21.0], [-0.6, 4.0]])).tolist() == [[1, 2], [0, 0]]


@pytest.mark.parametrize("centre", [True, False])
def test_colours_come_back_from_luminance_and_chrominance(centre: bool) -> None:
    design = Design(centre=centre)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    planes = coloured(torch.from_numpy(pixels).movedim(-1, 1).float(), design)
    assert np.array_equal(rgb_of(planes, design), pixels)


def test_quantised_pictures_are_near_the_true_ones_and_more_bins_are_nearer() -> None:
    pictures = [e.images[0] for e in drawn(8)]
    errors = []
    for bins in ([3, 3, 5], [9, 15, 40]):
        painter = made(network={"bins": bins, "width": 16, "heads": 2, "layers": 1})
        back = painter.pictures_of(painter.classes(pictures))
        errors.append(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(pictures, back, strict=True)]))
    assert errors[1] < errors[0] < 12
    assert errors[1] < 2


def test_padding_changes_no_picture(painter: Painter) -> None:
    short, long = (request(scenes.Layout(things, "black")) for things in ((RED,), (RED, CROSS)))
    together = painter.network(painter.ids([short, long]))[0][0]
    torch.testing.assert_close(together, painter.network(painter.ids([short]))[0][0], atol=1e-5, rtol=1e-5)


def test_a_seed_draws_the_same_pictures_again_and_the_likeliest_need_none(painter: Painter) -> None:
    texts = [e.turns[0].prompt for e in drawn(2)]
    one, two, other = (painter.paint(texts, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert np.array_equal(painter.paint(texts), painter.paint(texts))
    assert one[0].shape == (64, 64, 3)


class StopAt(Silent):
    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, done: int, loss: float) -> None:
        if done == self._step:
            raise KeyboardInterrupt


def test_a_training_that_was_stopped_ends_with_the_pictures_of_one_that_was_not(tmp_path: Path) -> None:
    asked, source = painter_recipe(), SettledScenes()
    whole = fit(made(), asked, source, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(made(), asked, source, tmp_path / "stopped", progress=StopAt(4), save_every_s=0)
    again = fit(made(), asked, source, tmp_path / "stopped")
    assert (again.step, again.data, again.losses) == (6, whole.data, whole.losses)
    one, two = (Painter.opened(tmp_path / name / "checkpoint") for name in ("whole", "stopped"))
    assert all(torch.equal(w, two.network.state_dict()[name]) for name, w in one.network.state_dict().items())
    with pytest.raises(TrainingError, match="another recipe"):
        fit(made(), painter_recipe(seed=3), source, tmp_path / "whole")


def test_the_loss_falls(tmp_path: Path) -> None:
    asked = painter_recipe(optimiser={"learning_rate": 0.01, "batch": 8, "steps": 25, "warm_up": 2})
    painter = made()
    state = fit(painter, asked, SettledScenes(), tmp_path)
    assert np.mean(state.losses[-5:]) < 0.7 * state.losses[0]


def test_a_folder_without_a_painter_and_a_picture_of_another_size_are_refused(painter: Painter, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no whole painter"):
        Painter.opened(tmp_path)
    with pytest.raises(TrainingError, match=r"correct network\.height"):
        painter.groups([np.zeros((32, 32, 3), np.uint8)])


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The experiment's run.py."""
    monkeypatch.syspath_prepend(str(EXPERIMENT))
    for name in ("run", "reading", "sheet"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run

    yield run
    for name in ("run", "reading", "sheet"):
        sys.modules.pop(name, None)


def test_true_pictures_have_their_ground_and_quarters_and_a_caption_is_read_in_order(experiment: ModuleType) -> None:
    reading = sys.modules["reading"]
    layouts = [scenes.plan(Dice(np.random.default_rng(k))) for k in range(40)]

    given = iter([scenes.captions(layout)[0] for layout in layouts])
    found = [
        reading._reading(layout, scenes.render(layout), caption, True)
        for layout, caption in zip(layouts, given, strict=True)
    ]
    summary = reading.summary(found)
    assert {summary[name] for name in experiment.COLUMNS} == {1.0}
    half = reading._reading(
        scenes.Layout((RED, CROSS), "pink"), scenes.render(layouts[0]), "a small blue circle", False
    )
    assert (half.exact, half.number, half.colours, half.shapes, half.sizes) == (False, False, 0, 1, 1)


def test_the_experiment_writes_its_report(
    experiment: ModuleType, tiny_checkpoints: Mapping[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "painter.yaml"
    short = {"learning_rate": 0.01, "batch": 4, "steps": 2}
    path.write_text(yaml.safe_dump(painter_recipe(optimiser=short).model_dump(mode="json")))
    out, captioner = tmp_path / "out", str(tiny_checkpoints["wavelet"])
    command = ["--out", str(out), "--recipe", str(path), "--captioner", captioner, "--pictures", "8"]
    assert experiment.main(command) == 0
    results = json.loads((out / "report" / "results.json").read_text())
    assert set(results["summary"]) == set(experiment.ROWS)
    assert results["painter"]["training_texts"] == 8
    assert "![" in (out / "report" / "README.md").read_text()
    assert (out / "report" / "pictures.png").stat().st_size > 1000


def test_an_unknown_captioner_is_refused_before_anything_is_trained(experiment: ModuleType, tmp_path: Path) -> None:
    assert experiment.main(["--out", str(tmp_path / "out"), "--captioner", "nano-wavelet-semm"]) == 2
    assert not (tmp_path / "out").exists()


def test_the_recipe_of_the_experiment_is_valid() -> None:
    found = read_recipe(EXPERIMENT / "painter.yaml")
    Painter.checked(found.network, "painter.yaml")
