"""SIGKILL in the middle of a run: the same command asks no answered request again and seals the same record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness.store.runs import Run, read_run
from harness.store.tables import TIMING_COLUMNS
from tests.conftest import CHART_SUITE, make_chart_data

ANSWERABLE = 64
"""60 questions made here and 6 of the small folder, less 2 whose pictures cannot be read."""
ROOT = Path(__file__).resolve().parents[2]


def make_big(root: Path) -> Path:
    """Thirty charts with two questions each."""
    from PIL import Image

    data = make_chart_data(root)
    test = data / "chartqa" / "ChartQA Dataset" / "test"
    questions = []
    for number in range(30):
        name = f"more{number}.png"
        Image.new("RGB", (20, 20), (number * 8, 0, 9)).save(test / "png" / name)
        questions += [{"imgname": name, "query": f"Question {k} of {number}?", "label": "1"} for k in range(2)]
    (test / "test_human.json").write_text(json.dumps(questions))
    return data


def comparable(run: Run) -> tuple[pd.DataFrame, pd.DataFrame, list[object]]:
    values = [(t.sample_set, t.n_answered, dict(t.unscored), t.values) for t in run.record.tasks]
    return run.samples().drop(columns=list(TIMING_COLUMNS)), run.scores(), values


def assert_same(run: Run, whole: Run) -> None:
    """Equal in everything but times."""
    a, b = comparable(run), comparable(whole)
    pd.testing.assert_frame_equal(a[0], b[0])
    pd.testing.assert_frame_equal(a[1], b[1])
    assert a[2] == b[2]


@pytest.mark.parametrize("after", [4, 17, 41])
def test_a_killed_run_goes_on_without_asking_again(tmp_path: Path, installed: Callable[..., Path], after: int) -> None:
    site = installed("scripted-plugin", {"harness.models": {"scripted": "tests.scripted_model:Scripted"}})
    data, log, out = make_big(tmp_path / "data"), tmp_path / "log", tmp_path / "out"
    suite = tmp_path / "two-charts.yaml"
    suite.write_text(CHART_SUITE)

    def command(name: str, folder: Path) -> list[str]:
        card = tmp_path / f"{name}.yaml"
        options = {"log": str(log), "seconds": 0.02} if name == "killed" else {}
        card.write_text(json.dumps({"name": name, "run": {"family": "scripted", "options": options}}))
        arguments = ["--suite", str(suite), "--models", str(card), "--data", str(data), "--out", str(folder)]
        return [sys.executable, "-m", "harness", "run", *arguments, "--batch-size", "2"]

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    process = subprocess.Popen(
        command("killed", out), env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and len(log.read_text().splitlines()) >= after):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(log.read_text().splitlines())
    assert after <= before < ANSWERABLE
    assert not list(out.glob("*/record.json"))
    (folder,) = [p for p in out.iterdir() if (p / "plan.json").exists()]
    journalled = sum(len(p.read_text().splitlines()) for p in folder.glob("journal/*.jsonl"))

    subprocess.run(command("killed", out), env=environment, check=True, capture_output=True)
    asked = Counter(log.read_text().splitlines())
    # the batch in flight when the process died was asked but never answered: only it may be asked twice
    assert len(asked) == ANSWERABLE
    assert sum(asked.values()) - ANSWERABLE == before - journalled <= 2

    subprocess.run(command("whole", tmp_path / "whole"), env=environment, check=True, capture_output=True)
    resumed = read_run(folder)
    (other,) = [p for p in (tmp_path / "whole").iterdir() if (p / "record.json").exists()]
    whole = read_run(other)
    a, b = comparable(resumed), comparable(whole)
    pd.testing.assert_frame_equal(a[0].drop(columns="fingerprint"), b[0].drop(columns="fingerprint"))
    pd.testing.assert_frame_equal(a[1], b[1])
    assert a[2] == b[2]


def test_ctrl_c_finishes_the_batch_and_seals(tmp_path: Path, installed: Callable[..., Path]) -> None:
    site = installed("scripted-plugin", {"harness.models": {"scripted": "tests.scripted_model:Scripted"}})
    data, log, out = make_big(tmp_path / "data"), tmp_path / "log", tmp_path / "out"
    suite = tmp_path / "two-charts.yaml"
    suite.write_text(CHART_SUITE)
    card = tmp_path / "slow.yaml"
    card.write_text(
        json.dumps({"name": "slow", "run": {"family": "scripted", "options": {"log": str(log), "seconds": 0.05}}})
    )
    arguments = ["--suite", str(suite), "--models", str(card), "--data", str(data), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", *arguments, "--batch-size", "2"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    while not log.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"stopping after this batch" in errors
    assert b"interrupted: unanswered samples are unscored" in output
    (record,) = out.glob("*/record.json")
    result = read_run(record.parent).record.tasks[0]
    assert 0 < result.n_answered < ANSWERABLE
    assert result.unscored["interrupted"] > 0
    assert sum(result.unscored.values()) + result.n_answered == result.n_samples
