"""The report on a folder and the checksum of a set: worked examples."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from harness.datasets.chartqa import ChartQA
from harness.datasets.check import MAX_EXAMPLES, check_dataset
from harness.datasets.coco import CocoCaptions
from harness.fingerprint import SampleSetChecksum, file_sha256
from harness.records import ImageRef, Problem, Sample
from tests.unit.datasets.builders import caption, chartqa, coco, jpeg, png, png_header, write


def test_every_fault_of_a_folder_is_counted_and_named(tmp_path: Path) -> None:
    names = ["1.jpg", "2.jpg", "cut.jpg", "huge.png", "page.jpg", "none.jpg", "../x.jpg", "1.jpg"]
    images = [{"id": i, "file_name": name} for i, name in enumerate(names, 1)]
    root = coco(tmp_path, [*images, images[0]], [caption(i, "a") for i in range(1, 9)])
    write(root / "val2017/cut.jpg", jpeg()[:900])
    write(root / "val2017/huge.png", png_header(30_000, 30_000))
    write(root / "val2017/page.jpg", b"<html>")
    (report,) = check_dataset(CocoCaptions(root))
    assert {p.kind: p.count for p in report.problems} == {
        "duplicate_id": 1,
        "image_too_large": 1,
        "missing_image": 1,
        "path_outside_data": 1,
        "truncated_image": 1,
        "unreadable_image": 1,
    }
    assert (report.n_samples, report.n_images, report.n_unique_images) == (9, 8, 1)
    assert report.duplicate_ids == ()
    assert report.files == {
        "annotations/captions_val2017.json": file_sha256(root / "annotations/captions_val2017.json")
    }
    missing = next(p for p in report.problems if p.kind == "missing_image")
    assert missing.examples[0].startswith("6: ")
    assert "none.jpg" in missing.examples[0]


def test_a_clean_folder_has_no_problems_and_examples_are_few_in_a_bad_one(tmp_path: Path) -> None:
    good = {"imgname": "a.png", "query": "q", "label": "1"}
    (report,) = check_dataset(ChartQA(chartqa(tmp_path / "good", [good])), split="test")
    assert report.problems == ()
    (report,) = check_dataset(ChartQA(chartqa(tmp_path / "bad", [{**good, "label": ""}] * 20)))
    assert (report.problems[0].count, len(report.problems[0].examples)) == (20, MAX_EXAMPLES)


def test_checksum_is_that_of_a_run_over_the_whole_split(tmp_path: Path) -> None:
    data = ChartQA(chartqa(tmp_path, [{"imgname": n, "query": "q", "label": "1"} for n in ("a.png", "b.png")]))
    checksum = SampleSetChecksum()
    for sample in data.samples("test"):
        checksum.add(sample, tuple(hashlib.sha256(data.image_bytes(i)).hexdigest() for i in sample.images))
    assert check_dataset(data)[0].checksum == checksum.hexdigest()


SAMPLE = Sample("1", "q", (ImageRef("a.png", "k"),), ("r",), ("x", "y"), "h", problem=None)


def digest(*samples: Sample, hashes: tuple[str, ...] | None = None) -> str:
    checksum = SampleSetChecksum()
    for sample in samples:
        checksum.add(sample, hashes)
    return checksum.hexdigest()


def test_checksum_by_hand() -> None:
    line = json.dumps(["1", "q", "h", ["x", "y"], ["r"], None, ["a.png"]], separators=(",", ":"))
    assert digest(SAMPLE) == hashlib.sha256(line.encode() + b"\n").hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"sample_id": "2"},
        {"question": "p"},
        {"hint": ""},
        {"choices": ("y", "x")},
        {"references": ("s",)},
        {"problem": Problem("duplicate_id", "")},
        {"images": (ImageRef("b.png", "k"),)},
    ],
)
def test_whatever_is_asked_changes_the_checksum(change: dict[str, object]) -> None:
    assert digest(dataclasses.replace(SAMPLE, **change)) != digest(SAMPLE)


def test_order_counts_and_the_place_of_a_picture_does_not_once_its_content_is_known() -> None:
    other = dataclasses.replace(SAMPLE, sample_id="2")
    moved = dataclasses.replace(SAMPLE, images=(ImageRef("elsewhere.png", "z"),))
    assert digest(SAMPLE, other) != digest(other, SAMPLE)
    assert digest(SAMPLE, hashes=("ab",)) == digest(moved, hashes=("ab",))
    assert digest(SAMPLE, hashes=("ab",)) != digest(SAMPLE, hashes=("cd",))
    assert digest(dataclasses.replace(SAMPLE, metadata={"a": "b"}, cluster="c", group="g")) == digest(SAMPLE)


def test_pictures_are_equal_by_content_not_by_name(tmp_path: Path) -> None:
    root = chartqa(tmp_path, [{"imgname": n, "query": "q", "label": "1"} for n in ("a.png", "b.png")])
    write(root / "ChartQA Dataset/test/png/b.png", png())
    (report,) = check_dataset(ChartQA(root))
    assert (report.n_images, report.n_unique_images) == (2, 1)
