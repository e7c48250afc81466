"""The executor `ray` on two nodes with one CPU each: the record of the local executor, whatever is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.engine.groups import GROUP
from harness.engine.ray_executor import IN_FLIGHT
from harness.engine.run import run_suite
from harness.errors import RegistryError
from harness.store.runs import Run, read_run
from harness.store.tables import TIMING_COLUMNS
from tests.conftest import CHART_SUITE
from tests.pipeline.test_kill import ANSWERABLE, make_big

ray = pytest.importorskip("ray", reason="the ray extra is not installed")
ROOT = Path(__file__).resolve().parents[2]
Card = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("scripted")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with one CPU each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    ray.init(made.address, logging_level="error", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_big(tmp_path / "data")


def assert_same(one: Run, other: Run) -> None:
    """Equal but for times, and for fingerprints, which the models' options are part of."""
    for table in ("samples", "scores"):
        a, b = (
            getattr(run, table)().drop(columns=[*TIMING_COLUMNS, "fingerprint"], errors="ignore")
            for run in (one, other)
        )
        pd.testing.assert_frame_equal(a, b)
    first, second = (
        [(t.sample_set, t.n_answered, dict(t.unscored), t.values) for t in run.record.tasks] for run in (one, other)
    )
    assert first == second


def asked(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def when(condition: Callable[[], bool], action: Callable[[], object]) -> threading.Thread:
    """Do something in a thread as soon as a condition holds."""

    def watch() -> None:
        until = time.monotonic() + 60
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_the_record_is_that_of_the_local_executor(
    cluster: Any, chart_suite: Path, data: Path, card: Card, tmp_path: Path
) -> None:
    path = card("m", seconds=0.05)
    local = run_suite(chart_suite, [path], data=data, out=tmp_path / "local").runs[0]
    spread = run_suite(chart_suite, [path], data=data, out=tmp_path / "ray", executor="ray", batch_size=4).runs[0]
    assert_same(local, spread)
    timing = spread.record.timing
    assert (timing["requests_asked"], timing["answers_new"]) == (ANSWERABLE, ANSWERABLE)
    assert timing["load_s"] > 0
    again = run_suite(chart_suite, [path], data=data, out=tmp_path / "ray", executor="ray").runs[0]
    assert again.record.timing["answers_from_cache"] == ANSWERABLE
    assert again.record.timing["requests_asked"] == 0
    assert_same(local, again)


def test_both_nodes_work(cluster: Any, chart_suite: Path, data: Path, card: Card, tmp_path: Path) -> None:
    log = tmp_path / "log"
    slow = card("m", seconds=0.2, log=str(log), logs_process=True)
    run_suite(chart_suite, [slow], data=data, out=tmp_path / "out", executor="ray", batch_size=4)
    assert len({line.split("\t")[-1] for line in asked(log)}) == 2


def test_models_that_read_examples_read_them_on_every_actor(
    cluster: Any, chart_suite: Path, data: Path, tmp_path: Path
) -> None:
    models = ["majority-answer", "random-choice"]
    local = run_suite(chart_suite, models, data=data, out=tmp_path / "local").runs
    spread = run_suite(chart_suite, models, data=data, out=tmp_path / "ray", executor="ray", batch_size=4).runs
    for one, other in zip(local, spread, strict=True):
        assert_same(one, other)


def test_a_node_that_is_killed_costs_nothing_but_time(
    cluster: Any, chart_suite: Path, data: Path, card: Card, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    whole = run_suite(chart_suite, [card("m")], data=data, out=tmp_path / "whole").runs[0]
    lost = cluster.add_node(num_cpus=1)
    slow = card("n", seconds=0.3, log=str(log))
    killer = when(lambda: len(asked(log)) >= 12, lambda: cluster.remove_node(lost, allow_graceful=False))
    run = run_suite(chart_suite, [slow], data=data, out=tmp_path / "out", executor="ray", batch_size=4).runs[0]
    killer.join()
    assert_same(whole, run)
    seen = asked(log)
    assert len(seen) == ANSWERABLE
    assert sum(seen.values()) - ANSWERABLE <= GROUP * IN_FLIGHT, "only what was not answered yet is asked again"
    journal = (run.path / "journal" / "chartqa.jsonl").read_text().splitlines()
    assert Counter(json.loads(line)["sample_id"] for line in journal).most_common(1)[0][1] == 1
    assert len(journal) == ANSWERABLE


def test_a_request_that_kills_its_actors_is_given_up_and_takes_no_other_with_it(
    cluster: Any, chart_suite: Path, data: Path, card: Card, tmp_path: Path
) -> None:
    whole = run_suite(chart_suite, [card("m")], data=data, out=tmp_path / "whole").runs[0]
    answered = whole.samples().dropna(subset=["text"])
    victim = str(answered["sample_id"].iloc[9])
    deadly = card("n", dies_on=victim, seconds=0.02)
    run = run_suite(chart_suite, [deadly], data=data, out=tmp_path / "out", executor="ray", batch_size=4).runs[0]
    samples = run.samples().set_index("sample_id")
    assert samples.loc[victim, "failure_kind"] == "worker_lost"
    assert run.record.tasks[0].unscored["worker_lost"] == 1
    assert run.record.tasks[0].n_answered == ANSWERABLE - 1


def test_a_model_that_cannot_be_loaded_is_named(
    cluster: Any, chart_suite: Path, data: Path, card: Card, tmp_path: Path
) -> None:
    outcome = run_suite(chart_suite, [card("m", load_fails=True)], data=data, out=tmp_path / "out", executor="ray")
    assert not outcome.runs
    assert "weights are damaged" in outcome.failures[0][1]


def test_a_stopped_run_is_sealed_and_the_same_command_asks_the_rest(
    cluster: Any, chart_suite: Path, data: Path, card: Card, tmp_path: Path
) -> None:
    whole = run_suite(chart_suite, [card("m")], data=data, out=tmp_path / "whole").runs[0]
    lists = iter(range(3))
    slow = card("n", seconds=0.05)
    stopped = run_suite(
        chart_suite, [slow], data=data, out=tmp_path / "out", executor="ray", batch_size=4,
        stop=lambda: next(lists, None) is None,
    ).runs[0]  # fmt: skip
    (result,) = stopped.record.tasks
    assert 0 < result.n_answered < ANSWERABLE
    unreadable = result.n_samples - result.n_answered - result.unscored["interrupted"]
    assert 0 <= unreadable <= 2
    rest = run_suite(chart_suite, [slow], data=data, out=tmp_path / "out", executor="ray").runs[0]
    assert rest.record.timing["answers_from_cache"] == result.n_answered
    assert_same(whole, rest)


def test_a_cluster_that_is_not_there_is_named(
    chart_suite: Path, data: Path, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda *args, **kwargs: (_ for _ in ()).throw(ConnectionError("refused")))
    outcome = run_suite(
        chart_suite, [card("m")], data=data, out=tmp_path / "out", executor="ray", address="10.0.0.1:6379"
    )
    assert "no Ray cluster at 10.0.0.1:6379: refused" in outcome.failures[0][1]


def test_a_driver_that_is_killed_goes_on_without_asking_again(
    cluster: Any, tmp_path: Path, data: Path, installed: Callable[..., Path], card: Card
) -> None:
    site = installed("scripted-again", {"harness.models": {"scripted": "tests.scripted_model:Scripted"}})
    log, out = tmp_path / "log", tmp_path / "out"
    suite = tmp_path / "two-charts.yaml"
    suite.write_text(CHART_SUITE)
    slow = card("n", seconds=0.2, log=str(log))
    command = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "--suite",
        str(suite),
        "--models",
        str(slow),
        "--data",
        str(data),
    ]
    command += ["--out", str(out), "--batch-size", "4", "--executor", "ray", "--address", cluster.address]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    journal = next((p for p in (out.glob("*/journal/chartqa.jsonl"))), None)
    until = time.monotonic() + 60
    while time.monotonic() < until and (journal is None or len(journal.read_text().splitlines()) < 8):
        journal = next(iter(out.glob("*/journal/chartqa.jsonl")), None)
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert journal is not None
    answered = {json.loads(line)["sample_id"] for line in journal.read_text().splitlines() if line.endswith("}")}
    assert 8 <= len(answered) < ANSWERABLE
    before = asked(log)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    twice = {line.split("\t")[1] for line, count in asked(log).items() if count > 1}
    assert not twice & answered
    assert sum(asked(log).values()) >= ANSWERABLE > sum(before.values())
    whole = run_suite(suite, [card("m")], data=data, out=tmp_path / "whole").runs[0]
    assert_same(whole, read_run(journal.parents[1]))


def test_without_ray_the_extra_is_named(
    chart_suite: Path, data: Path, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RegistryError, match=r"pip install 'vlm-harness\[ray\]'"):
        run_suite(chart_suite, [card("m")], data=data, out=tmp_path / "out", executor="ray")
