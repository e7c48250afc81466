"""COCO captions, official and Karpathy's file: worked examples and faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.datasets.base import ImageError
from harness.datasets.coco import CocoCaptions, read_annotations
from harness.errors import DatasetError
from tests.unit.datasets.builders import caption, coco, jpeg, write

IMAGES = [{"id": 2, "file_name": "2.jpg"}, {"id": 1, "file_name": "1.jpg"}]
CAPTIONS = [caption(1, "one a"), caption(2, "two a"), caption(1, "one b")]


def test_captions_meet_their_image_in_file_order_of_both(tmp_path: Path) -> None:
    samples = list(CocoCaptions(coco(tmp_path, IMAGES, CAPTIONS)).samples("val2017"))
    assert [(s.sample_id, s.references) for s in samples] == [("2", ("two a",)), ("1", ("one a", "one b"))]
    assert [s.cluster for s in samples] == ["2", "1"]
    assert samples[0].images[0].locator == "val2017/2.jpg"


def test_order_of_the_two_lists_in_the_file_does_not_matter(tmp_path: Path) -> None:
    root = coco(tmp_path, IMAGES, CAPTIONS)
    expected = list(CocoCaptions(root).samples("val2017"))
    write(root / "annotations/captions_val2017.json", {"images": IMAGES, "annotations": CAPTIONS})
    assert list(CocoCaptions(root).samples("val2017")) == expected


def test_image_without_caption_and_caption_without_image_have_a_reason(tmp_path: Path) -> None:
    data = CocoCaptions(coco(tmp_path, IMAGES, [caption(1, "a"), caption(9, "b"), caption(2, " ")]))
    two, one, nine = data.samples("val2017")
    assert [s.problem.kind if s.problem else None for s in (two, one, nine)] == ["empty_reference", None, "missing_row"]
    assert nine.sample_id == "9"


def test_second_entry_of_an_image_is_a_duplicate_with_its_own_id(tmp_path: Path) -> None:
    data = CocoCaptions(coco(tmp_path, [*IMAGES, IMAGES[0]], CAPTIONS))
    ids = [(s.sample_id, s.problem.kind if s.problem else None) for s in data.samples("val2017")]
    assert ids == [("2", None), ("1", None), ("2#duplicate-2", "duplicate_id")]


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"file_name": "1.jpg"}, "missing_field"),
        ({"id": 1}, "missing_field"),
        ({"id": 1, "file_name": "/x"}, "path_outside_data"),
    ],
)
def test_bad_image_entry_is_yielded_with_its_reason(tmp_path: Path, entry: dict[str, object], kind: str) -> None:
    bad, good, *_ = CocoCaptions(coco(tmp_path, [entry, IMAGES[0]], CAPTIONS)).samples("val2017")
    assert bad.problem is not None
    assert bad.problem.kind == kind
    assert good.problem is None


def test_truncated_and_missing_jpegs_are_found_on_reading(tmp_path: Path) -> None:
    root = coco(tmp_path, IMAGES, CAPTIONS)
    (root / "val2017" / "2.jpg").unlink()
    data = CocoCaptions(root)
    two, one = data.samples("val2017")
    assert data.image_bytes(one.images[0])[:2] == jpeg()[:2]
    with pytest.raises(ImageError):
        data.image_bytes(two.images[0])


def test_text_only_split_uses_the_images_of_the_split_it_extends_and_feeds_its_corpus(tmp_path: Path) -> None:
    coco(tmp_path, IMAGES, CAPTIONS)
    more = [*IMAGES, *({"id": i, "file_name": f"{i}.jpg"} for i in range(3, 9))]
    data = CocoCaptions(coco(tmp_path, more, [*CAPTIONS, caption(3, "three")], split="val2017_text_only"))
    assert data.splits() == ("val2017", "val2017_text_only")
    assert next(data.samples("val2017_text_only")).images[0].key == "val2017/2.jpg"
    assert data.reference_corpus("val2017") == {"1": ("one a", "one b"), "2": ("two a",), "3": ("three",)}
    assert [path.stem for path in data.files("val2017")] == ["captions_val2017", "captions_val2017_text_only"]


def test_corpus_is_the_splits_own_captions_where_nothing_larger_is_there(tmp_path: Path) -> None:
    data = CocoCaptions(coco(tmp_path, IMAGES, CAPTIONS))
    assert data.reference_corpus("val2017") == {"1": ("one a", "one b"), "2": ("two a",)}


def test_karpathy_file_gives_its_four_splits(tmp_path: Path) -> None:
    def entry(number: int, part: str) -> dict[str, object]:
        sentences = [{"raw": f"caption {number}"}, {"raw": "another"}]
        return {
            "filepath": "val2014",
            "filename": f"{number}.jpg",
            "cocoid": number,
            "split": part,
            "sentences": sentences,
        }

    parts = ["train", "test", "restval", "val", "test"]
    write(
        tmp_path / "dataset_coco.json", {"images": [entry(i, part) for i, part in enumerate(parts)], "dataset": "coco"}
    )
    write(tmp_path / "val2014" / "1.jpg", jpeg())
    data = CocoCaptions(tmp_path)
    assert data.splits() == ("karpathy-test", "karpathy-val", "karpathy-restval", "karpathy-train")
    samples = list(data.samples("karpathy-test"))
    assert [s.sample_id for s in samples] == ["1", "4"]
    assert samples[0].references == ("caption 1", "another")
    assert data.image_bytes(samples[0].images[0])[:2] == b"\xff\xd8"
    assert data.reference_corpus("karpathy-test") == {"1": ("caption 1", "another"), "4": ("caption 4", "another")}


def test_annotation_file_is_read_wherever_it_lies_without_pictures(tmp_path: Path) -> None:
    path = coco(tmp_path, IMAGES, CAPTIONS) / "annotations/captions_val2017.json"
    samples = list(read_annotations(path))
    assert [s.sample_id for s in samples] == ["2", "1"]
    assert samples[0].images == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [{"id": 1, "file_name": "\xff"}], "annotations": []}', "byte 36 is not UTF-8"),
        (b'{"images": [', "not valid JSON"),
        (b"[]", "an object"),
        (b'{"annotations": []}', "no list `images`"),
        (b'{"annotations": [{"caption": "x"}], "images": []}', "annotation 1 has no `image_id`"),
    ],
)
def test_a_file_unreadable_as_a_whole_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    write(tmp_path / "annotations/captions_val2017.json", content)
    with pytest.raises(DatasetError, match=f"captions_val2017.json.*{words}"):
        list(CocoCaptions(tmp_path).samples("val2017"))


def test_flickr30k_in_karpathys_form_is_read_with_its_pictures_names_as_ids(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "flickr30k-images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "flickr30k-images" / "1007129816.jpg")
    sentences = [{"raw": f"caption {k}", "tokens": ["caption", str(k)], "imgid": 0, "sentid": k} for k in range(5)]
    images = [
        {"sentids": [0, 1, 2, 3, 4], "imgid": 0, "sentences": sentences, "split": "test", "filename": "1007129816.jpg"}
    ]
    (tmp_path / "dataset_flickr30k.json").write_text(json.dumps({"images": images, "dataset": "flickr30k"}))
    data = CocoCaptions(tmp_path)
    (sample,) = data.samples("karpathy-test")
    assert (sample.sample_id, len(sample.references), sample.problem) == ("1007129816", 5, None)
    assert data.image_bytes(sample.images[0])
    queries = list(CocoCaptions(tmp_path, {"view": "retrieval"}).samples("karpathy-test"))
    assert len(queries) == 6
