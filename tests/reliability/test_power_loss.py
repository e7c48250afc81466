"""Power lost before each `fsync` of a run: what is left is resumed to the same record; no durable answer is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.engine.run import run_suite
from harness.nightly.baselines import accept, baseline_file
from harness.store.files import publish, read_json
from harness.store.runs import RECORD, Run, read_run
from tests.pipeline.test_kill import ANSWERABLE, assert_same, make_big
from tests.reliability.power import Disk, PowerCut

Card = Callable[..., Path]
BATCH = 8
pytestmark = pytest.mark.usefixtures("scripted")


def lines(out: Path) -> list[str]:
    return [json.loads(line)["sample_id"] for path in out.glob("*/journal/*") for line in path.read_text().splitlines()]


def test_a_run(chart_suite: Path, card: Card, tmp_path: Path) -> None:
    data, path = make_big(tmp_path / "data"), card("m")

    def run_in(out: Path) -> Run:
        return run_suite(chart_suite, [path], data=data, out=out, batch_size=BATCH).runs[0]

    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    with pytest.MonkeyPatch.context() as patch:
        disk.watch(patch)
        whole = run_in(disk.root / "out")
    last = disk.syncs
    assert last > ANSWERABLE // BATCH
    kept = []
    for cut_at in range(1, last + 1):
        (tmp_path / f"disk-{cut_at}").mkdir()
        disk = Disk(tmp_path / f"disk-{cut_at}")
        disk.cut_at = cut_at
        with pytest.MonkeyPatch.context() as patch:
            disk.watch(patch)
            with pytest.raises(PowerCut):
                run_in(disk.root / "out")
        written = lines(disk.root / "out")
        disk.survivors(tmp_path / f"left-{cut_at}")
        out = tmp_path / f"left-{cut_at}" / "out"
        durable = lines(out) if out.exists() else []
        kept.append(len(durable))
        assert len(written) - len(durable) <= BATCH, "only the batch whose fsync did not come is gone"
        records = list(out.glob(f"*/{RECORD}"))
        for record in records:
            assert_same(read_run(record.parent), whole)
        resumed = run_in(out)
        if not records:
            assert resumed.record.timing["requests_asked"] == ANSWERABLE - len(durable)
        assert_same(resumed, whole)
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert kept[-1] == ANSWERABLE


def test_an_acceptance_of_a_baseline_is_old_or_new(chart_suite: Path, card: Card, tmp_path: Path) -> None:
    data = make_big(tmp_path / "data")
    runs = [run_suite(chart_suite, [card("m")], data=data, out=tmp_path / "out").runs[0] for _ in range(2)]
    old, new = (run.record.run_id for run in runs)
    seen = set()
    for cut_at in range(1, 20):
        root = tmp_path / f"disk-{cut_at}"
        root.mkdir()
        disk = Disk(root)
        with pytest.MonkeyPatch.context() as patch:
            disk.watch(patch)
            accept(root / "baselines", runs[0].path, who="me")
            disk.cut_at = disk.syncs + cut_at
            try:
                accept(root / "baselines", runs[1].path, who="me")
            except PowerCut:
                pass
            else:
                break
        disk.survivors(tmp_path / f"left-{cut_at}")
        file = baseline_file(tmp_path / f"left-{cut_at}" / "baselines", runs[0].record.suite, "m")
        accepted = tuple(item["run"] for item in read_json(file)["accepted"])
        assert accepted in ((old,), (old, new))
        seen.add(accepted)
    assert seen >= {(old,)}


def test_the_model_of_the_disk_forgets_what_was_not_synced(tmp_path: Path) -> None:
    """The shim itself: a name without its folder's fsync, and bytes without their file's, are gone."""
    root = tmp_path / "disk"
    root.mkdir()
    disk = Disk(root)
    with pytest.MonkeyPatch.context() as patch:
        disk.watch(patch)
        (root / "part").write_text("whole")
        publish(root / "part", root / "good")
        (root / "later").write_text("never synced")
        with (root / "good").open("a") as file:
            file.write(" and more")
    disk.survivors(tmp_path / "left")
    assert {p.name: p.read_text() for p in (tmp_path / "left").iterdir()} == {"good": "whole"}
