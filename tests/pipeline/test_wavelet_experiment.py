"""The experiment on wavelets and patches, whole at toy size, and its statistics on made-up scores.

Evidence: properties (a second call does nothing, conclusions follow the scores, coverage on simulated data) and worked
examples small enough to check by hand.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("pywt", reason="wavelets need PyWavelets")

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "wavelet_vs_patches"
MODULES = ("arms", "run", "testing", "analysis", "wording", "figures", "reporting")


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The experiment's modules, which are scripts beside each other and no package."""
    held = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    monkeypatch.syspath_prepend(FOLDER)
    import importlib

    loaded: dict[str, ModuleType] = {name: importlib.import_module(name) for name in MODULES}
    monkeypatch.setattr(loaded["analysis"], "_PERMUTATIONS", 1000)
    yield SimpleNamespace(**loaded)
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(held)


def made_up(experiment: SimpleNamespace, level: dict[str, float], n: int = 80) -> object:
    """Frames of scenes in which every arm is right on a fixed share of the pictures."""
    rng = np.random.default_rng(0)
    scores, curves, trainings, answers = [], [], [], []
    hard = rng.random(n)
    for arm, share in level.items():
        for seed in (0, 1, 2):
            who = {"task": "scenes", "arm": arm, "seed": seed}
            sample = [f"{k:03d}" for k in range(n)]
            right = (hard + rng.normal(0, 0.05, n) < share).astype(float)
            shown = {"clean": right, "shuffled": np.zeros(n)}
            if seed == 0:
                shown |= {c: right * (rng.random(n) < 0.5) for c in experiment.analysis.CONDITIONS}
            for condition, value in shown.items():
                for metric in ("exact_match", "cider"):
                    row = {**who, "condition": condition, "metric": metric, "sample": sample, "value": value}
                    scores.append(pd.DataFrame(row))
            points = [{"step": s, "samples": 16.0 * s, "cpu_s": 0.1 * s, "multiply_adds": 1e9 * s} for s in (100, 200)]
            curves += [{**who, **p, "exact": share * p["step"] / 200} for p in points]
            cost = {"parameters": 1000, "multiply_adds_per_sample": 10, "cpu_s": 20.0, "steps": 200, "samples": 3200}
            trainings.append({**who, **cost})
            answers.append(pd.DataFrame({**who, "sample": sample, "text": "a small red circle"}))
    return experiment.analysis.Frames(
        pd.DataFrame(trainings), pd.DataFrame(curves), pd.concat(scores, ignore_index=True),
        pd.concat(answers, ignore_index=True), (),
    )  # fmt: skip


@pytest.mark.slow
def test_the_whole_experiment_at_toy_size(
    experiment: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arms, run = experiment.arms, experiment.run
    scenes = dataclasses.replace(arms.TASKS["scenes"], steps=3, validate_every=3)
    monkeypatch.delitem(arms.TASKS, "formulas")
    monkeypatch.setitem(arms.TASKS, "scenes", scenes)
    for name in set(arms.FRONT_ENDS) - {"patches", "v1"}:
        monkeypatch.delitem(arms.FRONT_ENDS, name)
    monkeypatch.setattr(run, "SEEDS", (0,))
    monkeypatch.setattr(run, "FROZEN", ("v1",))
    monkeypatch.setattr(run, "TEST_N", 8)
    out = tmp_path / "out"

    run.main(["--out", str(out)])

    said = capsys.readouterr().out
    assert "4 trainings to do" in said
    assert said.count("\ntested ") == 7  # four networks, three of them also with exchanged pictures
    report = out / "report"
    page, text = (report / "index.html").read_text(), (report / "README.md").read_text()
    results = json.loads((report / "results.json").read_text())
    assert [row["arm"] for row in results["rows"]] == ["blind", "patches", "v1"]
    assert [row["arm"] for row in results["frozen"]] == ["blind", "v1-frozen", "v1"]
    assert len(results["drops"]) == 8
    assert results["missing"] == []
    for title in ("Conclusion, scenes", "scenes: exact match", "worse minus clean", "The failure reproduced", "Why"):
        assert title in page
        assert title in text
    assert page.count("data:image/png;base64,") == 6
    assert page.count("<svg ") == 2
    assert "<script" not in page

    before = sorted(p.name for p in (out / "results").iterdir())
    monkeypatch.setattr("harness.engine.worker.ModelWorker.__init__", lambda *_: pytest.fail("a model was opened"))
    run.main(["--out", str(out)])
    assert capsys.readouterr().out == "0 trainings to do\n"
    assert sorted(p.name for p in (out / "results").iterdir()) == before
    assert (report / "README.md").read_text() == text

    (out / "trainings" / "scenes-v1-s0" / "scenes-v1-s0.yaml").unlink()
    run.main(["--out", str(out), "--step", "report"])
    missing = json.loads((report / "results.json").read_text())["missing"]
    assert missing == [{"name": "scenes-v1-s0", "reason": "not trained yet"}]
    assert "not trained yet" in (report / "index.html").read_text()


def test_a_folder_with_something_else_is_not_overwritten(experiment: SimpleNamespace, tmp_path: Path) -> None:
    from harness.errors import StoreError

    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="no report"):
        experiment.reporting.write_report([], tmp_path / "out", tmp_path)


@pytest.mark.parametrize(("wavelet", "zca", "expected"), [
    (0.8, 0.4, ("haar-dense scores", "higher than patches (", "more than whitening the pixels gives")),
    (0.8, 0.8, ("haar-dense scores", "higher than patches (", "cannot be credited to the wavelet")),
    (0.1, 0.4, ("haar-dense scores", "lower than patches (", "no gain for the control to explain")),
    (0.4, 0.4, ("haar-dense and patches are not told apart", "no gain for the control to explain")),
])  # fmt: skip
def test_the_conclusion_follows_the_scores(
    experiment: SimpleNamespace, wavelet: float, zca: float, expected: tuple[str, ...]
) -> None:
    level = {"blind": 0.0, "patches": 0.4, "patches-zca": zca, "haar-dense": wavelet}
    found = experiment.analysis.analyse(made_up(experiment, level))
    text = " ".join(experiment.wording.conclusions(found, "scenes"))
    for words in expected:
        assert words in text


def test_one_seed_is_no_evidence_about_a_design(experiment: SimpleNamespace) -> None:
    frames = made_up(experiment, {"patches": 0.2, "patches-zca": 0.2, "haar-dense": 0.9})
    frames = dataclasses.replace(frames, scores=frames.scores[frames.scores["seed"] == 0])
    text = " ".join(experiment.wording.conclusions(experiment.analysis.analyse(frames), "scenes"))
    assert "one seed is no evidence about the design" in text
    assert "1 firmly above patches" not in text


def test_seeds_tested_on_other_samples_are_refused(experiment: SimpleNamespace) -> None:
    frames = made_up(experiment, {"patches": 0.4})
    fewer = frames.scores[~((frames.scores["seed"] == 1) & (frames.scores["sample"] == "000"))]
    with pytest.raises(ValueError, match="seeds differ in their samples"):
        experiment.analysis.array(fewer, "scenes", "patches")


def test_the_interval_covers_new_pictures_and_new_seeds(experiment: SimpleNamespace) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        chance = rng.beta(1.2, 1.2, 200) * 0.6 + 0.2 + rng.normal(0, 0.04, (3, 1))
        found = experiment.analysis.estimate((rng.random((3, 200)) < chance).astype(float))
        hits += found.low < 0.5 < found.high
    assert (
        0.90 <= hits / 400 <= 0.99
    )  # 95 % aimed at; 400 repetitions are good to 2 points, and 3 seeds cover a bit less


def test_equal_scores_claim_no_certainty(experiment: SimpleNamespace) -> None:
    none_right = experiment.analysis.estimate(np.zeros((3, 40)))
    assert none_right.low == 0
    assert none_right.high == pytest.approx(0.0876, abs=1e-4)  # Wilson, 0 of 40
    assert experiment.analysis.estimate(np.zeros((3, 40)), rate=False).high is None


def test_the_cost_of_a_target_is_read_off_the_curve(experiment: SimpleNamespace) -> None:
    crossing = experiment.analysis.crossing
    assert crossing([10, 20, 30], [0.0, 0.4, 0.8], 0.6) == pytest.approx(25)
    assert crossing([10, 20, 30], [0.5, 0.4, 0.8], 0.25) == pytest.approx(5)
    assert crossing([10, 20], [0.1, 0.2], 0.3) is None


def test_a_caption_keeps_its_form_whatever_it_names(experiment: SimpleNamespace) -> None:
    form = experiment.analysis.caption_form
    assert form("an orange circle at the top left") == form("a red cross at the bottom right")
    assert form("a small red circle") != form("a small red")
