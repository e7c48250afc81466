"""NLVR2 and NLVR in their official layouts: worked examples and faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.datasets.base import ImageError
from harness.datasets.nlvr import NLVR
from harness.errors import DatasetError
from tests.unit.datasets.builders import nlvr2, pair, png, write


def test_a_pair_has_two_pictures_a_sentence_group_and_a_set(tmp_path: Path) -> None:
    root = nlvr2(tmp_path, [pair("dev-896-3-0"), pair("dev-896-1-0", label="false"), pair("dev-896-1-1")])
    first, second, third = NLVR(root).samples("dev")
    assert [image.key for image in first.images] == ["images/dev/dev-896-3-img0.png", "images/dev/dev-896-3-img1.png"]
    assert (first.group, first.cluster) == ("dev-896-*-0", "dev-896")
    assert second.group == first.group
    assert third.group == "dev-896-*-1"
    assert [s.references for s in (first, second)] == [("True",), ("False",)]
    assert first.choices == ("True", "False")


@pytest.mark.parametrize("place", ["images/dev", "dev"])
def test_pictures_are_found_in_both_places(tmp_path: Path, place: str) -> None:
    root = nlvr2(tmp_path, [pair()])
    for side, colour in enumerate([(1, 1, 1), (2, 2, 2)]):
        write(root / place / f"dev-1-0-img{side}.png", png(colour))
    data = NLVR(root)
    left, right = next(data.samples("dev")).images
    assert (data.image_bytes(left), data.image_bytes(right)) == (png((1, 1, 1)), png((2, 2, 2)))


def test_training_pictures_lie_in_their_directory(tmp_path: Path) -> None:
    root = nlvr2(tmp_path, [pair("train-10-0-1", directory=27)], name="train")
    write(root / "images/train/27/train-10-0-img0.png", png())
    data = NLVR(root)
    assert data.image_bytes(next(data.samples("train")).images[0]) == png()


def test_absent_photographs_leave_the_sample_and_fail_on_reading(tmp_path: Path) -> None:
    data = NLVR(nlvr2(tmp_path, [pair()]))
    (sample,) = data.samples("dev")
    assert sample.problem is None
    with pytest.raises(ImageError) as caught:
        data.image_bytes(sample.images[1])
    assert caught.value.kind == "missing_image"


def test_splits_are_the_files_dev_first(tmp_path: Path) -> None:
    for name in ("train", "test1", "dev", "balanced/balanced_dev", "unbalanced/unbalanced_test1"):
        nlvr2(tmp_path, [pair()], name=name)
    write(tmp_path / "data/vocabulary.json", "{}")
    assert NLVR(tmp_path).splits() == ("dev", "test1", "train", "balanced_dev", "unbalanced_test1")


def test_old_nlvr_gives_one_sample_for_each_layout(tmp_path: Path) -> None:
    line = json.dumps({"identifier": "27-1", "sentence": "A tower.", "label": "true", "directory": "5"})
    write(tmp_path / "nlvr1/dev/dev.json", line + "\n")
    for k in range(6):
        write(tmp_path / f"nlvr1/dev/images/5/dev-27-1-{k}.png", png((k, k, k)))
    data = NLVR(tmp_path)
    assert data.splits() == ("nlvr1-dev",)
    samples = list(data.samples("nlvr1-dev"))
    assert [s.sample_id for s in samples] == [f"27-1-{k}" for k in range(6)]
    assert (samples[4].group, samples[4].cluster, samples[4].metadata) == ("27-4", "27", {"layout": "4"})
    assert samples[4].references == ("True",)
    assert data.image_bytes(samples[4].images[0]) == png((4, 4, 4))


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (pair("dev-2-0-0", label="maybe"), "bad_answer"),
        (pair("dev-2-0-0", label=None), "empty_reference"),
        (pair("dev-2-0-0", sentence=""), "missing_field"),
        (pair("no number"), "bad_field"),
        (pair(""), "missing_field"),
        (pair("dev-2-0-0", directory="../.."), "path_outside_data"),
        ('{"identifier": "dev-2-', "malformed_row"),
        ("[1]", "malformed_row"),
    ],
)
def test_a_bad_line_is_yielded_with_its_reason(tmp_path: Path, row: object, kind: str) -> None:
    good, bad, last = NLVR(nlvr2(tmp_path, [pair(), row, pair("dev-3-0-0")])).samples("dev")
    assert bad.problem is not None
    assert bad.problem.kind == kind
    assert "dev.json line 2" in bad.problem.message
    assert (good.problem, last.problem) == (None, None)


def test_second_line_with_an_identifier_does_not_join_the_group(tmp_path: Path) -> None:
    first, second = NLVR(nlvr2(tmp_path, [pair(), pair()])).samples("dev")
    assert second.sample_id == "dev-1-0-0#duplicate-2"
    assert second.group != first.group


def test_a_json_array_is_refused_as_no_json_lines(tmp_path: Path) -> None:
    write(tmp_path / "data/dev.json", json.dumps([pair()], indent=1))
    with pytest.raises(DatasetError, match=r"dev\.json: not valid JSON, line 1"):
        list(NLVR(tmp_path).samples("dev"))
