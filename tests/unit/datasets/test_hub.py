"""The hub's form, on data sets built and saved here with the columns of the published ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.base import ImageError
from harness.datasets.chartqa import ChartQA
from harness.datasets.hub import HubDataset
from harness.datasets.mmbench import MMBench
from harness.errors import DatasetError
from harness.records import Sample
from tests.unit.datasets.builders import chartqa, mmbench, mmbench_row, png, write

datasets = pytest.importorskip("datasets", reason="the hub extra is not installed")
datasets.disable_progress_bars()

Save = Callable[[Path, list[dict[str, Any]], Any], None]


def save_dict(root: Path, rows: list[dict[str, Any]], features: Any = None) -> None:
    datasets.DatasetDict({"test": datasets.Dataset.from_list(rows, features=features)}).save_to_disk(root)


def save_parquet(root: Path, rows: list[dict[str, Any]], features: Any = None) -> None:
    (root / "data").mkdir(parents=True)
    half = len(rows) // 2
    for shard, part in enumerate((rows[:half], rows[half:])):
        if part:
            name = f"test-0000{shard}-of-00002.parquet"
            datasets.Dataset.from_list(part, features=features).to_parquet(root / "data" / name)


forms = pytest.mark.parametrize("save", [save_dict, save_parquet])


def picture(color: tuple[int, int, int] = (9, 9, 9), path: str | None = None) -> dict[str, Any]:
    return {"bytes": png(color), "path": path}


def read(root: Path, name: str, **options: Any) -> tuple[HubDataset, list[Sample]]:
    data = HubDataset(root, options, name=name)
    return data, list(data.samples("test"))


@forms
def test_chartqa_with_class_numbers(tmp_path: Path, save: Save) -> None:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "query": datasets.Value("string"),
            "label": datasets.List(datasets.Value("string")),
            "human_or_machine": datasets.ClassLabel(names=["human", "machine"]),
        }
    )
    rows = [
        {"image": picture((i, 0, 0)), "query": f"q{i}", "label": [str(i)], "human_or_machine": i % 2} for i in range(40)
    ]
    save(tmp_path, rows, features)
    data, samples = read(tmp_path, "chartqa")
    assert data.form == "hub"
    assert [s.metadata["subset"] for s in samples[:2]] == ["human", "augmented"]
    assert samples[3].references == ("3",)
    assert samples[3].sample_id.startswith(f"augmented/{hashlib.sha256(png((3, 0, 0))).hexdigest()[:16]}/")
    assert [data.image_bytes(s.images[0]) for s in samples] == [png((i, 0, 0)) for i in range(40)]
    assert len({s.sample_id for s in samples}) == 40


@forms
def test_chartqa_in_the_other_form_has_the_official_ids_where_names_are_kept(tmp_path: Path, save: Save) -> None:
    rows = [{"type": "human_test", "question": "How many?", "answer": "3", "image": picture(path="a.png")}]
    save(
        tmp_path / "hub",
        rows,
        datasets.Features(
            {**{c: datasets.Value("string") for c in ("type", "question", "answer")}, "image": datasets.Image()}
        ),
    )
    _, (sample,) = read(tmp_path / "hub", "chartqa")
    official = ChartQA(chartqa(tmp_path / "official", [{"imgname": "a.png", "query": "How many?", "label": "3"}]))
    (expected,) = official.samples("test")
    assert (sample.sample_id, sample.cluster) == (expected.sample_id, expected.cluster)
    assert (sample.question, sample.references, sample.metadata) == (
        expected.question,
        expected.references,
        expected.metadata,
    )


@forms
def test_mmbench_has_the_official_ids_passes_and_fields(tmp_path: Path, save: Save) -> None:
    row: dict[str, Any] = {**mmbench_row(D="nan"), "hint": "nan", "source": "x", "comment": "nan", "index": 7}
    row["L2-category"] = row.pop("l2-category")
    row["image"] = {"bytes": png(), "path": None}
    save(tmp_path / "hub", [row, {**row, "index": 8}], None)
    data, samples = read(tmp_path / "hub", "mmbench")
    official = MMBench(mmbench(tmp_path / "official", [mmbench_row(D=""), mmbench_row(D="", index="8")]))
    for ours, theirs in zip(samples, official.samples("MMBench_dev"), strict=True):
        assert (ours.sample_id, ours.choices, ours.references) == (theirs.sample_id, theirs.choices, theirs.references)
        assert (ours.group, ours.hint, ours.metadata) == (theirs.group, theirs.hint, theirs.metadata)
        assert data.image_bytes(ours.images[0]) == png()
    assert len(read(tmp_path / "hub", "mmbench", circular=False)[1]) == 2


@forms
def test_coco_id_comes_from_the_files_name(tmp_path: Path, save: Save) -> None:
    rows = [
        {"image": picture(), "question_id": "COCO_val2014_000000391895.jpg", "answer": ["a", "b"], "id": 0},
        {"image": picture(), "question_id": "COCO_val2014_000000000042.jpg", "answer": [], "id": 1},
    ]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "question_id": datasets.Value("string"),
            "answer": datasets.List(datasets.Value("string")),
            "id": datasets.Value("int64"),
        }
    )
    save(tmp_path, rows, features)
    data, (first, second) = read(tmp_path, "coco")
    assert (first.sample_id, first.references) == ("391895", ("a", "b"))
    assert second.sample_id == "42"
    assert second.problem is not None
    assert second.problem.kind == "empty_reference"
    assert data.reference_corpus("test") == {"391895": ("a", "b")}


@forms
def test_scienceqa_picture_may_be_null_and_ids_do_not_depend_on_order(tmp_path: Path, save: Save) -> None:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            **{c: datasets.Value("string") for c in ("question", "hint", "subject")},
            "choices": datasets.List(datasets.Value("string")),
            "answer": datasets.Value("int8"),
        }
    )
    rows = [
        {"image": None, "question": "Which?", "hint": "", "subject": "social", "choices": ["x", "y"], "answer": 1},
        {"image": picture(), "question": "What?", "hint": "h", "subject": "nature", "choices": ["x", "y"], "answer": 5},
    ]
    save(tmp_path / "a", rows, features)
    save(tmp_path / "b", rows[::-1], features)
    data, (text, image) = read(tmp_path / "a", "scienceqa")
    assert (text.references, text.images, text.metadata) == (("B",), (), {"modality": "text", "subject": "social"})
    assert data.image_bytes(image.images[0]) == png((9, 9, 9))
    assert image.problem is not None
    assert image.problem.kind == "bad_answer"
    assert {s.sample_id for s in read(tmp_path / "b", "scienceqa")[1]} == {text.sample_id, image.sample_id}


@pytest.mark.parametrize("together", [False, True])
@forms
def test_nlvr2_pictures_in_two_columns_or_one(tmp_path: Path, save: Save, together: bool) -> None:
    left, right = picture((1, 1, 1)), picture((2, 2, 2))
    words = {c: datasets.Value("string") for c in ("sentence", "label", "identifier")}
    row: dict[str, Any] = {"sentence": "Two dogs.", "label": "True", "identifier": "dev-9-1-0"}
    if together:
        row, pictures = {**row, "images": [left, right]}, {"images": datasets.List(datasets.Image())}
    else:
        row = {**row, "left_image": left, "right_image": right}
        pictures = {"left_image": datasets.Image(), "right_image": datasets.Image()}
    save(
        tmp_path, [row, {**row, "identifier": "dev-9-2-0", "label": "False"}], datasets.Features({**words, **pictures})
    )
    data, (first, second) = read(tmp_path, "nlvr2")
    assert (first.sample_id, first.references, first.group, first.cluster) == (
        "dev-9-1-0",
        ("True",),
        "dev-9-*-0",
        "dev-9",
    )
    assert second.group == first.group
    assert [data.image_bytes(image) for image in first.images] == [png((1, 1, 1)), png((2, 2, 2))]


def test_nlvr2_labels_may_be_numbers_and_identifiers_absent(tmp_path: Path) -> None:
    row = {"question": "Two dogs.", "answer": 1, "left_image": picture(), "right_image": picture((1, 1, 1))}
    save_dict(tmp_path, [row, {**row, "answer": 0}])
    _, (first, second) = read(tmp_path, "nlvr2")
    assert [first.references, second.references] == [("True",), ("False",)]
    assert first.group == second.group != ""
    assert first.sample_id != second.sample_id


@pytest.mark.parametrize("column", ["latex_formula", "text"])
@forms
def test_formulas(tmp_path: Path, save: Save, column: str) -> None:
    features = datasets.Features({"image": datasets.Image(), column: datasets.Value("string")})
    save(tmp_path, [{"image": picture(), column: "x^2"}, {"image": picture(), column: "x^2"}], features)
    data, (first, second) = read(tmp_path, "latex")
    assert first.references == ("x^2",)
    assert second.sample_id == f"{first.sample_id}#2"
    assert data.image_bytes(second.images[0]) == png((9, 9, 9))


def test_one_saved_data_set_is_the_split_all(tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"image": picture(), "text": "x"}]).save_to_disk(tmp_path)
    data = HubDataset(tmp_path, name="latex")
    assert data.splits() == ("all",)
    assert len(list(data.samples("all"))) == 1
    assert data.files("all")[0].suffix == ".arrow"


def test_parquet_splits_are_read_from_folders_too_and_test_comes_first(tmp_path: Path) -> None:
    for split in ("train", "test"):
        folder = tmp_path / "default" / split
        folder.mkdir(parents=True)
        datasets.Dataset.from_list([{"image": picture(), "text": "x"}]).to_parquet(folder / "0000.parquet")
    assert HubDataset(tmp_path, name="latex").splits() == ("test", "train")


def test_undecodable_bytes_are_given_back_as_they_are(tmp_path: Path) -> None:
    save_dict(tmp_path, [{"image": {"bytes": b"\xff\xd8 cut", "path": None}, "text": "x"}])
    data, (sample,) = read(tmp_path, "latex")
    assert data.image_bytes(sample.images[0]) == b"\xff\xd8 cut"


def test_a_stored_path_is_read_only_inside_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "secret.png", png())
    root = tmp_path / "data"
    features = datasets.Features(
        {
            "image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "text": datasets.Value("string"),
        }
    )
    rows = [
        {"image": {"bytes": None, "path": path}, "text": "x"} for path in (str(tmp_path / "secret.png"), "in.png", None)
    ]
    save_dict(root, rows, features)
    write(root / "in.png", png())
    data, samples = read(root, "latex")
    kinds = []
    for index in (0, 2):
        with pytest.raises(ImageError) as caught:
            data.image_bytes(samples[index].images[0])
        kinds.append(caught.value.kind)
    assert kinds == ["path_outside_data", "missing_image"]
    assert data.image_bytes(samples[1].images[0]) == png()


def test_missing_columns_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    save_dict(tmp_path, [{"picture": "x", "text": "y"}])
    with pytest.raises(DatasetError, match=r"split test .* has no column image; it has picture, text"):
        read(tmp_path, "latex")


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", b"PAR1 garbage")
    with pytest.raises(DatasetError, match=r"test\.parquet: not a readable parquet file"):
        read(tmp_path, "latex")


def test_tables_view_is_refused_where_there_are_none(tmp_path: Path) -> None:
    save_dict(tmp_path, [{"image": picture(), "query": "q", "label": "x", "type": "human"}])
    with pytest.raises(DatasetError, match="holds no tables"):
        HubDataset(tmp_path, {"view": "tables"}, name="chartqa")
