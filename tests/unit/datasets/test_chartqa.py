"""ChartQA in its official layout: worked examples and faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.base import ImageError
from harness.datasets.chartqa import ChartQA, linearise
from harness.errors import DatasetError
from harness.records import ImageRef
from tests.unit.datasets.builders import chartqa, png, write


def row(**changes: object) -> dict[str, object]:
    return {"imgname": "a.png", "query": "How many?", "label": "3", **changes}


def test_a_question_has_its_picture_label_and_subset(tmp_path: Path) -> None:
    data = ChartQA(chartqa(tmp_path, [row()]))
    (sample,) = data.samples("test")
    assert sample.sample_id.startswith("human/a/")
    assert (sample.question, sample.references, sample.cluster) == ("How many?", ("3",), "a.png")
    assert sample.metadata == {"subset": "human"}
    assert data.image_bytes(sample.images[0]) == png()


def test_human_comes_before_augmented_and_splits_before_train(tmp_path: Path) -> None:
    chartqa(tmp_path, [row()], split="train")
    chartqa(tmp_path, [row()], subset="augmented", split="val")
    chartqa(tmp_path, [row(query="b")], subset="augmented")
    data = ChartQA(chartqa(tmp_path, [row(query="a")]))
    assert data.splits() == ("test", "val", "train")
    assert [s.question for s in data.samples("test")] == ["a", "b"]
    assert [path.name for path in data.files("test")] == ["test_human.json", "test_augmented.json"]


def test_a_question_asked_twice_counts_twice_without_a_problem(tmp_path: Path) -> None:
    first, second = ChartQA(chartqa(tmp_path, [row(), row()])).samples("test")
    assert second.sample_id == f"{first.sample_id}#2"
    assert second.problem is None


def test_numbers_as_labels_keep_their_digits(tmp_path: Path) -> None:
    root = chartqa(tmp_path, [])
    write(root / "ChartQA Dataset/test/test_human.json", '[{"imgname": "a.png", "query": "q", "label": 0.30}]')
    (sample,) = ChartQA(root).samples("test")
    assert sample.references == ("0.30",)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"imgname": "../secret.png"}, "path_outside_data"),
        ({"imgname": "/etc/passwd"}, "path_outside_data"),
        ({"imgname": None}, "missing_field"),
        ({"query": " "}, "missing_field"),
        ({"query": ["x"]}, "bad_field"),
        ({"label": ""}, "empty_reference"),
        ({"label": None}, "empty_reference"),
    ],
)
def test_a_bad_row_is_yielded_with_its_reason_and_the_next_is_read(
    tmp_path: Path, change: dict[str, object], kind: str
) -> None:
    bad, good = ChartQA(chartqa(tmp_path, [row(**change), row()])).samples("test")
    assert bad.problem is not None
    assert bad.problem.kind == kind
    assert "test_human.json row 1" in bad.problem.message
    assert good.problem is None


def test_a_row_that_is_no_object_is_yielded_too(tmp_path: Path) -> None:
    bad, _ = ChartQA(chartqa(tmp_path, ["x", row()])).samples("test")
    assert bad.problem is not None
    assert bad.problem.kind == "malformed_row"


def test_path_out_of_the_folder_has_no_picture_and_is_not_read_by_a_forged_reference(tmp_path: Path) -> None:
    write(tmp_path / "secret.png", png())
    data = ChartQA(chartqa(tmp_path / "data", [row(imgname="../../../../secret.png")]))
    (sample,) = data.samples("test")
    assert sample.images == ()
    with pytest.raises(ImageError) as caught:
        data.image_bytes(ImageRef("x", "../secret.png"))
    assert caught.value.kind == "path_outside_data"


def test_missing_picture_shows_when_it_is_read(tmp_path: Path) -> None:
    data = ChartQA(chartqa(tmp_path, [row(imgname="none.png")]))
    (sample,) = data.samples("test")
    assert sample.problem is None
    with pytest.raises(ImageError, match=r"none\.png is not there") as caught:
        data.image_bytes(sample.images[0])
    assert caught.value.kind == "missing_image"


def test_annotation_file_that_links_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    real = chartqa(tmp_path / "real", [row()]) / "ChartQA Dataset/test/test_human.json"
    root = tmp_path / "data"
    link = root / "ChartQA Dataset/test/test_human.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    with pytest.raises(DatasetError, match="link out of the data folder"):
        list(ChartQA(root).samples("test"))


def test_table_is_written_as_deplot_writes_it() -> None:
    assert linearise('Year,"a, b"\r\n2001,"x\ny"\r\n2002,p | q\r\n\r\n') == "Year | a, b\n2001 | x y\n2002 | p|q"


def test_tables_view_gives_one_sample_for_each_table(tmp_path: Path) -> None:
    root = chartqa(tmp_path, [row()])
    tables = root / "ChartQA Dataset/test/tables"
    write(tables / "b.csv", b"Entity,Value\r\nx,1\r\n")
    write(tables / "a.csv", b"")
    write(tables / "c.csv", b"caf\xe9,1\r\n")
    data = ChartQA(root, {"view": "tables"})
    a, b, c = data.samples("test")
    assert (b.sample_id, b.question, b.references) == ("b", "", ("Entity | Value\nx | 1",))
    assert data.image_bytes(b.images[0]) == png((0, 0, 250))
    assert a.problem is not None
    assert a.problem.kind == "empty_reference"
    assert c.problem is not None
    assert "byte 3" in c.problem.message


def test_unknown_option_view_or_split_is_named(tmp_path: Path) -> None:
    root = chartqa(tmp_path, [row()])
    with pytest.raises(DatasetError, match='unknown option "views"; it takes: need_table, view'):
        ChartQA(root, {"views": "tables"})
    with pytest.raises(DatasetError, match="view is 'table'"):
        ChartQA(root, {"view": "table"})
    with pytest.raises(DatasetError, match=r'no split "dev".*there are: test'):
        ChartQA(root).samples("dev")


def test_a_question_has_its_charts_table_where_there_is_one(tmp_path: Path) -> None:
    root = chartqa(tmp_path, [row(), row(imgname="b.png")])
    write(root / "ChartQA Dataset/test/tables/a.csv", "Year,Value\n2001,3\n")
    with_table, without = ChartQA(root).samples("test")
    assert with_table.metadata == {"subset": "human", "table": "Year | Value\n2001 | 3"}
    assert (without.metadata, without.problem) == ({"subset": "human"}, None)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(None, "missing_table"), ("\n\n", "empty_reference"), (b"\xff\xfe\xff", "malformed_row")],
)
def test_a_question_that_needs_its_table_cannot_be_asked_without(
    tmp_path: Path, content: str | bytes | None, kind: str
) -> None:
    root = chartqa(tmp_path, [row()])
    table = root / "ChartQA Dataset/test/tables/a.csv"
    if content is not None:
        table.parent.mkdir()
        table.write_bytes(content.encode() if isinstance(content, str) else content)
    (sample,) = ChartQA(root, {"need_table": True}).samples("test")
    assert sample.problem is not None
    assert sample.problem.kind == kind
    assert "a.csv" in sample.problem.message
    assert next(iter(ChartQA(root).samples("test"))).problem is None


def test_the_revision_of_questions_that_need_their_tables_covers_the_tables(tmp_path: Path) -> None:
    root = chartqa(tmp_path, [row()])
    write(root / "ChartQA Dataset/test/tables/a.csv", "Year,Value\n2001,3\n")
    names = [path.name for path in ChartQA(root, {"need_table": True}).files("test")]
    assert names == ["test_human.json", "a.csv"]


def test_need_table_is_true_or_false(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="need_table is 'yes'; give true or false"):
        ChartQA(chartqa(tmp_path, [row()]), {"need_table": "yes"})
