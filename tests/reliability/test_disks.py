"""Disks that are full or read-only, network file systems, and clocks that go backwards."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.engine.run import run_suite
from harness.errors import StoreError
from harness.store import files
from harness.store.files import FolderLock, publish, write_json
from harness.store.runs import find_runs, read_run
from tests.conftest import Command
from tests.pipeline.test_kill import ANSWERABLE, assert_same, make_big

Card = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("scripted")


class SmallDisk:
    """A memory disk of a few kilobytes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.mounted = False
        place.mkdir()

    def mount(self, options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", self.place], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("mounting a small disk needs root")
        self.mounted = True

    def again(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.place], check=True)

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", self.place], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "disk")
    yield made
    made.unmount()


@pytest.mark.parametrize("kilobytes", [4, 60, 100, 124, 132, 140, 148, 156])
def test_a_full_disk_stops_the_run_by_name_and_it_goes_on_when_there_is_room(
    disk: SmallDisk, chart_suite: Path, card: Card, tmp_path: Path, harness: Command, kilobytes: int
) -> None:
    data, path = make_big(tmp_path / "data"), card("m", log=str(tmp_path / "log"))
    disk.mount(f"size={kilobytes}k")
    out = disk.place / "out"
    command = ["run", "--suite", chart_suite, "--models", path, "--data", data, "--out", out, "--batch-size", 4]
    code, _, err = harness(*command)
    assert code == 2
    assert "Traceback" not in err
    assert str(disk.place) in err
    assert "No space left on device" in err or "disk" in err
    assert not list(out.glob("*/record.json"))
    journals = list(out.glob("*/journal/*.jsonl"))
    whole_lines = sum(p.read_bytes().count(b"\n") for p in journals)
    disk.again("size=20m")
    assert harness(*command)[0] == 0
    asked = (tmp_path / "log").read_text().splitlines()
    assert len(asked) - ANSWERABLE <= 4
    (run,) = find_runs(out)
    assert read_run(run).record.timing["requests_asked"] == ANSWERABLE - whole_lines
    assert_same(read_run(run), run_suite(chart_suite, [path], data=data, out=tmp_path / "whole").runs[0])


def test_a_read_only_folder_is_named_before_anything_is_asked(
    disk: SmallDisk, chart_suite: Path, card: Card, tmp_path: Path, harness: Command
) -> None:
    data, path = make_big(tmp_path / "data"), card("m", log=str(tmp_path / "log"))
    disk.mount("size=10m")
    command = ["run", "--suite", chart_suite, "--models", path, "--data", data, "--out"]
    assert harness(*command, disk.place / "out")[0] == 0
    (tmp_path / "log").unlink()
    disk.again("ro")
    for out in (disk.place / "new", disk.place / "out"):
        code, _, err = harness(*command, out)
        assert code == 2
        assert "Traceback" not in err
        assert str(out) in err
        assert "Read-only file system" in err
    assert not (tmp_path / "log").exists()
    assert harness("show", disk.place / "out")[0] == 0, "what is there can be read"
    assert harness("list", "runs", "--out", disk.place / "out")[0] == 0


def test_two_runs_into_one_folder(chart_suite: Path, card: Card, tmp_path: Path, harness: Command) -> None:
    data, path = make_big(tmp_path / "data"), card("m")
    out = tmp_path / "out"
    whole = run_suite(chart_suite, [path], data=data, out=out).runs[0]
    (whole.path / "record.json").unlink()
    with FolderLock(whole.path):
        code, _, err = harness("run", "--suite", chart_suite, "--models", path, "--data", data, "--out", out)
    assert code == 2
    assert f"{whole.path}: in use by process {os.getpid()} on" in err
    assert harness("run", "--suite", chart_suite, "--models", path, "--data", data, "--out", out)[0] == 0


def test_a_file_system_without_locks_is_no_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"has no locks \(No locks available\)"), FolderLock(tmp_path):
        pass


def test_a_rename_whose_reply_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS repeats a request without an answer: the rename has happened, and its repetition finds no file."""
    rename = Path.replace

    def twice(self: Path, target: Path) -> Path:
        rename(self, target)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", twice)
    write_json(tmp_path / "record.json", {"a": 1})
    assert files.read_json(tmp_path / "record.json") == {"a": 1}

    def lost(self: Path, target: Path) -> Path:
        self.unlink()
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", lost)
    (tmp_path / "part").write_text("x")
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "part", tmp_path / "record.json")


def test_a_clock_that_goes_backwards(
    chart_suite: Path, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime, timedelta

    data, path = make_big(tmp_path / "data"), card("m")
    whole = run_suite(chart_suite, [path], data=data, out=tmp_path / "whole").runs[0]

    class Backwards(datetime):
        ticks = 0

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            cls.ticks += 1
            return datetime(2030, 1, 1, tzinfo=UTC) - timedelta(hours=cls.ticks)

    monkeypatch.setattr("harness.engine.run.datetime", Backwards)
    run = run_suite(chart_suite, [path], data=data, out=tmp_path / "out").runs[0]
    assert_same(run, whole)
    assert run.record.timing["started"] > run.record.timing["ended"]
    assert all(value.estimate is None or value.estimate >= 0 for value in run.record.efficiency)
