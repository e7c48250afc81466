"""The commands as their user meets them, baselines among them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import nightly
from harness.engine.run import run_suite
from harness.errors import NightlyError, StoreError
from harness.nightly.baselines import accept, current_run, list_baselines

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def app() -> typer.Typer:
    """The three commands alone."""
    made = typer.Typer()
    made.add_typer(nightly.baseline, name="baseline")
    made.command("nightly")(nightly.nightly_command)
    made.command("history")(nightly.history_command)
    return made


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A gate over the bundled smoke suite and one control."""
    path = tmp_path / "gate.yaml"
    path.write_text("suites: [smoke]\nmodels: [majority-answer]\n")
    return path


def test_a_first_night_an_acceptance_and_a_second_night(app: typer.Typer, gate: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    first = runner.invoke(app, ["nightly", str(gate)])
    assert first.exit_code == 0, first.output
    assert "has no accepted baseline" in first.output
    (run,) = (p.parent for p in (tmp_path / "results").glob("*/record.json"))
    accepted = runner.invoke(app, ["baseline", "accept", str(run), "--reason", "first", "--who", "me"])
    assert "is the baseline" in accepted.output
    second = runner.invoke(app, ["nightly", str(gate), "--json"])
    assert second.exit_code == 0
    content = json.loads(second.stdout)
    assert content["findings"] == []
    assert {cell["nights"] for cell in content["judged"]} == {2}
    assert (Path(content["report"]) / "summary.md").read_text().startswith("# Nightly gate: nothing found")
    shown = runner.invoke(app, ["baseline", "list", "--baselines", str(tmp_path / "results" / "baselines"), "--json"])
    assert [item["model"] for item in json.loads(shown.stdout)] == ["majority-answer"]
    told = runner.invoke(
        app, ["baseline", "show", "smoke", "majority-answer", "--baselines", str(tmp_path / "results" / "baselines")]
    )
    assert "first" in told.output
    assert "current:" in told.output
    figure = tmp_path / "figures" / "nights.svg"
    table = runner.invoke(app, ["history", str(tmp_path / "results"), "--figure", str(figure)])
    assert table.exit_code == 0
    assert "majority-answer" in table.output
    assert figure.read_text().startswith("<svg")
    nights = json.loads(runner.invoke(app, ["history", str(tmp_path / "results"), "--json"]).stdout)
    assert {len(item["line"]["points"]) for item in nights} == {2}


def test_acceptances_are_added_and_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    runs = [run_suite("smoke", ["majority-answer"], out=tmp_path / "out").runs[0] for _ in range(2)]
    accept(folder, runs[0].path, who="a", why="one")
    accept(folder, runs[1].path, who="b", why="two")
    (held,) = list_baselines(folder)
    assert [(one.run, one.who, one.why) for one in held.accepted] == [
        (runs[0].record.run_id, "a", "one"),
        (runs[1].record.run_id, "b", "two"),
    ]
    assert held.current.path == f"../out/{runs[1].record.run_id}"
    assert len(list(folder.glob("*.parquet"))) == 0
    current = current_run(folder, "smoke", "majority-answer")
    assert current is not None
    assert current[1].record.run_id == runs[1].record.run_id
    assert current_run(folder, "smoke", "another") is None


def test_a_moved_folder_keeps_its_baselines_and_a_lost_run_is_named(tmp_path: Path) -> None:
    run = run_suite("smoke", ["majority-answer"], out=tmp_path / "out").runs[0]
    accept(tmp_path / "out" / "baselines", run.path, who="a")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    folder = tmp_path / "elsewhere" / "baselines"
    assert current_run(folder, "smoke", "majority-answer") is not None
    (tmp_path / "elsewhere" / run.record.run_id / "record.json").unlink()
    with pytest.raises(NightlyError, match=rf"the accepted run {run.record.run_id} cannot be read.*accept another"):
        current_run(folder, "smoke", "majority-answer")


def test_what_is_no_whole_run_is_not_accepted(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run here"):
        accept(tmp_path / "b", tmp_path, who="a")
    stopped = run_suite("smoke", ["majority-answer"], out=tmp_path / "out", stop=lambda: True).runs[0]
    with pytest.raises(NightlyError, match="was interrupted in"):
        accept(tmp_path / "b", stopped.path, who="a")
    with pytest.raises(NightlyError, match="no baselines here"):
        list_baselines(tmp_path / "none")


def test_damaged_baselines_are_named(tmp_path: Path) -> None:
    file = tmp_path / "s--m.json"
    file.write_text('{"schema_version": 1, "suite": "s", "model": "m", "accepted": [{"run": "r"}]}')
    with pytest.raises(NightlyError, match=r"s--m.json: is no baseline"):
        list_baselines(tmp_path)
    file.write_text('{"schema_version": 9, "suite": "s", "model": "m", "accepted": []}')
    with pytest.raises(NightlyError, match="version 9 is later than 1"):
        list_baselines(tmp_path)


def test_a_damaged_baseline_is_a_failure_of_that_model_only(app: typer.Typer, tmp_path: Path) -> None:
    gate = tmp_path / "gate.yaml"
    gate.write_text("suites: [smoke]\nmodels: [majority-answer, random-choice]\n")
    folder = tmp_path / "results" / "baselines"
    folder.mkdir(parents=True)
    (folder / "smoke--majority-answer.json").write_text("{}")
    done = CliRunner().invoke(app, ["nightly", str(gate), "--json"])
    assert done.exit_code == 2
    content = json.loads(done.stdout)
    assert [failure["model"] for failure in content["failures"]] == ["majority-answer"]
    assert any("random-choice on smoke has no accepted baseline" in note for note in content["notes"])


def test_a_killed_night_goes_on_and_asks_nothing_twice(
    tmp_path: Path, installed: Callable[..., Path], card: Callable[..., Path], chart_data: Path, chart_suite: Path
) -> None:
    site = installed("scripted-plugin", {"harness.models": {"scripted": "tests.scripted_model:Scripted"}})
    log = tmp_path / "log"
    gate = tmp_path / "gate.yaml"
    models = [str(card("m", log=str(log), seconds=0.3))]
    gate.write_text(
        json.dumps({"suites": [str(chart_suite)], "models": models, "data": str(chart_data), "batch_size": 1})
    )
    command = [sys.executable, "-c", f"from harness.nightly.gate import run_night; run_night({str(gate)!r})"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and len(log.read_text().splitlines()) >= 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    out = tmp_path / "results"
    assert not list(out.glob("*/record.json"))
    before = len(log.read_text().splitlines())
    subprocess.run(command, env=environment, check=True, capture_output=True)
    (record,) = out.glob("*/record.json")
    asked = log.read_text().splitlines()
    assert before < len(asked)
    assert len(set(asked)) == 8  # 12 questions, 4 of them on pictures that cannot be read
    assert len(asked) - len(set(asked)) <= 1  # the batch in flight
    assert json.loads(record.read_text())["tasks"][0]["n_answered"] == 8
