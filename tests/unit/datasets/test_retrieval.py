"""Captioned images as queries and candidates: worked examples, and the counts of the published protocol."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.datasets.coco import CocoCaptions
from harness.datasets.opening import open_dataset
from harness.datasets.selection import select
from harness.errors import DatasetError
from tests.unit.datasets.builders import caption, coco

IMAGES = [{"id": 2, "file_name": "2.jpg"}, {"id": 1, "file_name": "1.jpg"}]
VIEW = {"view": "retrieval"}


def test_an_image_asks_for_its_captions_and_each_caption_for_its_image(tmp_path: Path) -> None:
    data = CocoCaptions(coco(tmp_path, IMAGES, [caption(1, "one a"), caption(2, "two a"), caption(1, "one b")]), VIEW)
    samples = list(data.samples("val2017"))
    assert [(s.sample_id, s.question, s.references) for s in samples] == [
        ("2", "", ("2#0",)),
        ("2#0", "two a", ("2",)),
        ("1", "", ("1#0", "1#1")),
        ("1#0", "one a", ("1",)),
        ("1#1", "one b", ("1",)),
    ]
    assert [len(s.images) for s in samples] == [1, 0, 1, 0, 0]
    assert [s.cluster for s in samples] == [s.group for s in samples] == ["2", "2", "1", "1", "1"]
    assert Counter(s.metadata["direction"] for s in samples) == {"image-to-text": 2, "text-to-image": 3}


def test_a_sixth_caption_is_left_out(tmp_path: Path) -> None:
    captions = [caption(1, f"caption {n}") for n in range(7)]
    samples = list(CocoCaptions(coco(tmp_path, IMAGES[1:], captions), VIEW).samples("val2017"))
    assert [s.sample_id for s in samples] == ["1", "1#0", "1#1", "1#2", "1#3", "1#4"]
    assert samples[0].references == ("1#0", "1#1", "1#2", "1#3", "1#4")


def test_an_image_with_a_problem_keeps_it_and_its_captions_are_not_asked(tmp_path: Path) -> None:
    data = CocoCaptions(coco(tmp_path, IMAGES, [caption(1, "a"), caption(9, "b")]), VIEW)
    samples = {s.sample_id: s for s in data.samples("val2017")}
    assert {name: s.problem.kind for name, s in samples.items() if s.problem} == {
        "2": "empty_reference",
        "9": "missing_row",
    }
    assert set(samples) == {"2", "1", "1#0", "9"}


def test_a_subset_keeps_an_image_with_all_its_captions(tmp_path: Path) -> None:
    data = CocoCaptions(coco(tmp_path, IMAGES, [caption(n, f"{n} {k}") for n in (1, 2) for k in range(3)]), VIEW)
    chosen = [s.sample_id for s in select(lambda: data.samples("val2017"), {"first": 1})]
    assert chosen == ["2", "2#0", "2#1", "2#2"]


def test_the_view_leaves_the_reference_corpus_alone(tmp_path: Path) -> None:
    root = coco(tmp_path, IMAGES, [caption(1, "one a"), caption(2, "two a")])
    assert CocoCaptions(root, VIEW).reference_corpus("val2017") == CocoCaptions(root).reference_corpus("val2017")


def test_another_view_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'matching'; give captions or retrieval"):
        CocoCaptions(coco(tmp_path, IMAGES, []), {"view": "matching"})


def test_the_hubs_form_has_the_same_view(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the hub extra is not installed")
    from PIL import Image

    picture = Image.new("RGB", (4, 4))
    rows = {"image": [picture, picture], "captions": [["a", "b"], ["c"]], "cocoid": [7, 8]}
    features = datasets.Features(
        image=datasets.Image(), captions=datasets.Sequence(datasets.Value("string")), cocoid=datasets.Value("int64")
    )
    datasets.DatasetDict({"test": datasets.Dataset.from_dict(rows, features)}).save_to_disk(tmp_path / "coco")
    data = open_dataset("coco", tmp_path, VIEW)
    assert [s.sample_id for s in data.samples("test")] == ["7", "7#0", "7#1", "8", "8#0"]
    assert data.reference_corpus("test") == {"7": ("a", "b"), "8": ("c",)}
    with pytest.raises(DatasetError, match="give captions or retrieval"):
        open_dataset("coco", tmp_path, {"view": "other"})


def test_coco_val2017_has_five_queries_an_image_beside_the_image(shared_data: Path) -> None:
    samples = list(open_dataset("coco", shared_data, VIEW).samples("val2017"))
    assert Counter(s.metadata["direction"] for s in samples) == {"image-to-text": 80, "text-to-image": 400}
