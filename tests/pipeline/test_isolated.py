"""A model in a process of its own: the record of the local executor, and faults that stay with the model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.engine.run import run_suite
from harness.store.runs import Run
from tests.conftest import Command
from tests.pipeline.test_kill import ANSWERABLE, assert_same, make_big

Card = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("scripted")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_big(tmp_path / "data")


def isolated(suite: Path, card: Path, data: Path, out: Path, time_limit_s: float | None = None) -> Run:
    outcome = run_suite(suite, [card], data=data, out=out, executor="process", batch_size=8, time_limit_s=time_limit_s)
    assert not outcome.failures
    return outcome.runs[0]


def failures(run: Run) -> dict[str, str]:
    frame = run.samples()
    lost = frame[frame["text"].isna() & ~frame["failure_kind"].isin(["missing_image", "truncated_image"])]
    return dict(zip(lost["sample_id"], lost["failure_kind"], strict=True))


def some_sample(suite: Path, data: Path, card: Path, out: Path) -> tuple[Run, str]:
    whole = run_suite(suite, [card], data=data, out=out).runs[0]
    answered = whole.samples().dropna(subset=["text"])
    return whole, str(answered["sample_id"].iloc[11])


def test_the_record_is_that_of_the_local_executor(chart_suite: Path, data: Path, card: Card, tmp_path: Path) -> None:
    path = card("m")
    local = run_suite(chart_suite, [path], data=data, out=tmp_path / "local").runs[0]
    apart = isolated(chart_suite, path, data, tmp_path / "apart")
    assert_same(apart, local)
    timing = apart.record.timing
    assert (timing["requests_asked"], timing["answers_new"]) == (ANSWERABLE, ANSWERABLE)
    again = isolated(chart_suite, path, data, tmp_path / "apart")
    assert again.record.timing["requests_asked"] == 0


def test_a_request_that_kills_its_process_takes_no_other_with_it(
    chart_suite: Path, data: Path, card: Card, tmp_path: Path
) -> None:
    whole, victim = some_sample(chart_suite, data, card("m"), tmp_path / "whole")
    log = tmp_path / "log"
    run = isolated(chart_suite, card("n", dies_on=victim, log=str(log)), data, tmp_path / "out")
    assert failures(run) == {victim: "worker_died"}
    reason = run.samples().set_index("sample_id").loc[victim, "failure_message"]
    assert "signal SIGKILL" in reason
    ours, theirs = (dict(zip(r.samples()["sample_id"], r.samples()["text"], strict=True)) for r in (run, whole))
    assert {s: t for s, t in ours.items() if s != victim} == {s: t for s, t in theirs.items() if s != victim}


def test_a_request_without_end_is_timed_out_alone(chart_suite: Path, data: Path, card: Card, tmp_path: Path) -> None:
    whole, victim = some_sample(chart_suite, data, card("m"), tmp_path / "whole")
    started = time.monotonic()
    run = isolated(chart_suite, card("n", hangs_on=victim), data, tmp_path / "out", time_limit_s=0.5)
    assert failures(run) == {victim: "time_limit"}
    assert time.monotonic() - started < 60
    value = run.record.tasks[0].values[0]
    assert value.n_scored == whole.record.tasks[0].values[0].n_scored - 1


def test_a_process_that_dies_while_loading_stops_this_model_and_no_other(
    chart_suite: Path, data: Path, card: Card, tmp_path: Path
) -> None:
    outcome = run_suite(
        chart_suite, [card("m", load_dies=True), card("n")], data=data, out=tmp_path / "out", executor="process"
    )
    ((name, reason),) = outcome.failures
    assert (name, len(outcome.runs)) == ("m", 1)
    assert "ended with signal SIGKILL while the model was loaded" in reason


def test_command_line(chart_suite: Path, data: Path, card: Card, tmp_path: Path, harness: Command) -> None:
    base = ["run", "--suite", chart_suite, "--models", card("m"), "--data", data, "--out", tmp_path / "out"]
    assert harness(*base, "--isolate", "--time-limit", "30")[0] == 0
    code, _, err = harness(*base, "--time-limit", "30")
    assert (code, "needs --isolate" in err) == (2, True)
    code, _, err = harness(*base, "--isolate", "--executor", "ray")
    assert (code, "belongs to --executor local" in err) == (2, True)


def test_the_process_ends_with_the_one_that_started_it(
    chart_suite: Path, data: Path, card: Card, tmp_path: Path
) -> None:
    path = card("m", seconds=30)
    program = f"""
        from harness.engine.run import run_suite
        run_suite({str(chart_suite)!r}, [{str(path)!r}], data={str(data)!r}, out={str(tmp_path / "out")!r},
                  executor="process")
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    starter = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env=environment)
    children: list[psutil.Process] = []
    until = time.monotonic() + 60
    while not children and time.monotonic() < until:
        children = psutil.Process(starter.pid).children()
        time.sleep(0.05)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert children
    assert not alive


@pytest.fixture
def other_environment(tmp_path: Path, scripted: None) -> Path:
    """Another virtual environment that sees this one's packages; its interpreter."""
    folder = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "here.pth").write_text("\n".join(path for path in sys.path if path) + "\n")
    return folder / "venv" / "bin" / "python"


def test_a_card_names_its_own_environment(
    chart_suite: Path, data: Path, tmp_path: Path, other_environment: Path
) -> None:
    log = tmp_path / "log"
    path = tmp_path / "own.yaml"
    run = {"family": "scripted", "python": str(other_environment), "options": {"log": str(log), "logs_python": True}}
    path.write_text(json.dumps({"name": "own", "run": run}))
    outcome = run_suite(chart_suite, [path], data=data, out=tmp_path / "out")
    assert not outcome.failures
    assert Counter(line.split("\t")[-1] for line in log.read_text().splitlines()) == {
        str(other_environment): ANSWERABLE
    }
    ((_, reason),) = run_suite(chart_suite, [path], data=data, out=tmp_path / "o", executor="ray").failures
    assert "run.python: a model in its own environment" in reason


def test_an_environment_that_cannot_be_used_is_named(chart_suite: Path, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    for python, message in (
        ("./nowhere/python", "cannot be started"),
        ("/bin/false", "is the harness installed there"),
    ):
        path.write_text(f"name: own\nrun: {{family: scripted, python: {python}}}\n")
        ((_, reason),) = run_suite(chart_suite, [path], data=data, out=tmp_path / "out").failures
        assert message in reason
        assert python.removeprefix("./") in reason
