"""SIGKILL at a hundred random instants: nothing is lost, nothing answered is asked again, nothing torn is read.

Instants are drawn over the whole time of a command: 60 over a run (asking, journal, cache, tables, seal), 15 over a
rescoring, 15 over a night of the gate, 10 over the acceptance of a baseline. docs/reliability.md names these counts.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import StoreError
from harness.store.files import read_json
from harness.store.runs import RECORD, Run, find_runs, read_run
from harness.store.tables import TIMING_COLUMNS
from tests.conftest import CHART_SUITE
from tests.pipeline.test_kill import ANSWERABLE, make_big

ROOT = Path(__file__).resolve().parents[2]
BATCH = 2
Order = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Order]:
    """Carries out a command in a folder, and kills it after a time."""
    site = tmp_path_factory.mktemp("site")
    (site / "scripted_plugin-1.0.dist-info").mkdir()
    (site / "scripted_plugin-1.0.dist-info" / "METADATA").write_text("Name: scripted-plugin\nVersion: 1.0\n")
    points = "[harness.models]\nscripted = tests.scripted_model:Scripted\n"
    (site / "scripted_plugin-1.0.dist-info" / "entry_points.txt").write_text(points)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    zygote = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("zygote.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    lines_in, lines_out = zygote.stdin, zygote.stdout

    def give(folder: Path, *arguments: object, after_s: float | None = None) -> dict[str, Any]:
        order = {"folder": str(folder), "arguments": [str(a) for a in arguments], "after_s": after_s}
        lines_in.write(json.dumps(order) + "\n")
        lines_in.flush()
        reply = json.loads(lines_out.readline())
        if after_s is None:
            assert reply["code"] == 0, (folder / "output.txt").read_text()
        return dict(reply)

    yield give
    zygote.communicate(timeout=30)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The arguments of the run: data, suite, and a model that logs what it is asked below the current folder."""
    folder = tmp_path_factory.mktemp("given")
    make_big(folder / "data")
    (folder / "two-charts.yaml").write_text(CHART_SUITE)
    run = {"family": "scripted", "options": {"log": "asked.log", "seconds": 0.002}}
    (folder / "m.yaml").write_text(json.dumps({"name": "m", "run": run}))
    data, suite, card = folder / "data", folder / "two-charts.yaml", folder / "m.yaml"
    (folder / "gate.yaml").write_text(
        json.dumps({"suites": [str(suite)], "models": [str(card)], "data": str(data), "batch_size": BATCH})
    )
    return ("run", "--suite", suite, "--models", card, "--data", data, "--batch-size", BATCH)


class Instants:
    """Random moments over a command's whole time, until so many have killed it; it is also right after the others."""

    def __init__(self, wanted: int, seconds: float, seed: int) -> None:
        self._wanted, self._seconds, self._chance = wanted, seconds, random.Random(seed)
        self.tried = self.killed = 0

    def __iter__(self) -> Iterator[float]:
        while self.killed < self._wanted:
            assert self.tried < 10 * self._wanted, f"{self.killed} of {self.tried} instants fell into the command"
            self.tried += 1
            yield self._chance.uniform(0.0, self._seconds)

    def after(self, reply: dict[str, Any]) -> None:
        """Count what came of the last one; a command that was faster than the one before sets the scale."""
        if reply["killed"]:
            self.killed += 1
        else:
            self._seconds = min(self._seconds, reply["seconds"])


def asked(folder: Path) -> list[str]:
    log = folder / "asked.log"
    return [line.split("\t")[1] for line in log.read_text().splitlines()] if log.exists() else []


def journalled(out: Path) -> set[str]:
    """Samples with a whole line in a journal."""
    found = set()
    for path in out.glob("*/journal/*.jsonl"):
        lines = path.read_bytes().split(b"\n")[:-1]
        found |= {json.loads(line)["sample_id"] for line in lines}
    return found


def whole_or_refused(out: Path) -> None:
    """Every run folder and rescoring is read whole, or refused for not being sealed; never read in part."""
    for folder in (p for pattern in ("*--*", "*--*/rescore-*") for p in out.glob(pattern)):
        if not (folder / RECORD).exists():
            with pytest.raises(StoreError, match=r"not sealed|no run here"):
                read_run(folder)
            continue
        run = read_run(folder)
        assert len(run.samples()) == run.record.tasks[0].n_samples
        assert set(run.scores()["signature"]) == {v.signature for v in run.record.tasks[0].values if v.n_scored}


def same(run: Run, whole: Run) -> None:
    """Equal in everything but times."""
    columns = list(TIMING_COLUMNS)
    pd.testing.assert_frame_equal(run.samples().drop(columns=columns), whole.samples().drop(columns=columns))
    pd.testing.assert_frame_equal(run.scores(), whole.scores())
    assert run.record.tasks == whole.record.tasks
    assert (run.record.key, run.record.identity) == (whole.record.key, whole.record.identity)


def sealed(out: Path) -> Run:
    return read_run(find_runs(out)[-1])


@pytest.fixture(scope="module")
def whole(order: Order, given: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, float]:
    """The run that nothing happened to, and how long it takes."""
    seconds = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("whole")
        seconds.append(order(folder, *given)["seconds"])
    assert sorted(asked(folder)) == sorted(set(asked(folder)))
    assert len(asked(folder)) == ANSWERABLE
    return sealed(folder / "results"), min(seconds)


@pytest.mark.parametrize("seed", range(6))
def test_a_run(
    order: Order,
    given: tuple[object, ...],
    whole: tuple[Run, float],
    tmp_path: Path,
    seed: int,
    record_property: Callable[[str, int], None],
) -> None:
    moments = Instants(10, whole[1], seed)
    for n, after_s in enumerate(moments):
        folder = tmp_path / str(n)
        folder.mkdir()
        out = folder / "results"
        moments.after(order(folder, *given, after_s=after_s))
        answered = journalled(out)
        before = asked(folder)
        assert answered <= set(before)
        assert len(before) - len(answered) <= BATCH, "only the batch in flight is not in the journal"
        whole_or_refused(out)
        order(folder, *given)
        after = asked(folder)[len(before) :]
        assert not answered & set(after), "no answered request is asked again"
        assert set(before) | set(after) == {str(s) for s in whole[0].samples().dropna(subset=["text"])["sample_id"]}
        same(sealed(out), whole[0])
    record_property("instants", moments.killed)


def copy_of(whole: Run, folder: Path) -> Path:
    """The run, in a folder of its own."""
    shutil.copytree(whole.path.parent, folder / "results")
    return folder / "results" / whole.path.name


def test_a_rescoring(
    order: Order, whole: tuple[Run, float], tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    def rescored(name: str, after_s: float | None = None) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            copy_of(whole[0], folder)
        run = folder / "results" / whole[0].path.name
        return run, order(folder, "rescore", run, "--reason", "again", after_s=after_s)

    first, reply = rescored("whole")
    expected = read_run(first / "rescore-001")
    moments = Instants(15, reply["seconds"], 7)
    for n, after_s in enumerate(moments):
        run, done = rescored(str(n), after_s)
        moments.after(done)
        whole_or_refused(run.parent)
        rescored(str(n))
        last = read_run(sorted(run.glob("rescore-*/record.json"))[-1].parent)
        assert last.record.tasks == expected.record.tasks
        pd.testing.assert_frame_equal(last.scores(), expected.scores())
        same(read_run(run), whole[0])
    record_property("instants", moments.killed)


def report_of(folder: Path) -> dict[str, Any]:
    """What the gate found, without times and names of runs."""
    (report, *_) = sorted((folder / "results" / "nightly").glob("*/*.json"), reverse=True)
    content = json.loads(report.read_text())
    return {key: content[key] for key in ("findings", "failures", "interrupted", "exit_code")}


def test_a_night(
    order: Order,
    given: Sequence[object],
    whole: tuple[Run, float],
    tmp_path: Path,
    record_property: Callable[[str, int], None],
) -> None:
    gate = Path(str(given[2])).with_name("gate.yaml")

    def night(name: str, after_s: float | None = None) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        shutil.copy(gate, folder / "gate.yaml")
        return folder, order(folder, "nightly", "gate.yaml", after_s=after_s)

    expected, reply = night("whole")
    moments = Instants(15, reply["seconds"], 8)
    for n, after_s in enumerate(moments):
        folder, done = night(str(n), after_s)
        moments.after(done)
        answered, before = journalled(folder / "results"), asked(folder)
        whole_or_refused(folder / "results")
        night(str(n))
        assert not answered & set(asked(folder)[len(before) :])
        same(sealed(folder / "results"), whole[0])
        assert report_of(folder) == report_of(expected)
    record_property("instants", moments.killed)


def test_an_acceptance_of_a_baseline(
    order: Order, whole: tuple[Run, float], tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    def accepted(name: str, after_s: float | None = None) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            copy_of(whole[0], folder)
        run = Path("results") / whole[0].path.name
        return folder, order(folder, "baseline", "accept", run, "--who", "me", "--reason", "x", after_s=after_s)

    def names(folder: Path) -> list[str]:
        (file,) = (folder / "results" / "baselines").glob("*.json")
        return [item["run"] for item in read_json(file)["accepted"]]

    first, reply = accepted("whole")
    assert names(first) == [whole[0].record.run_id]
    moments = Instants(10, reply["seconds"], 9)
    for n, after_s in enumerate(moments):
        folder, done = accepted(str(n), after_s)
        moments.after(done)
        there = list((folder / "results" / "baselines").glob("*.json"))
        before = names(folder) if there else []
        assert before in ([], [whole[0].record.run_id])
        accepted(str(n))
        assert names(folder)[-1] == whole[0].record.run_id
    record_property("instants", moments.killed)
