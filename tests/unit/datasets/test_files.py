"""JSON, TSV and path safety: worked examples with faults at known bytes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.datasets import json_files, tsv
from harness.datasets.base import ImageError
from harness.datasets.folder import inside, leaves_folder
from harness.errors import DatasetError
from tests.unit.datasets.builders import write


def test_array_is_streamed_with_digits_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '[{"label": 0.30}, 2, "x"]')
    first, *rest = json_files.array_items(path)
    assert str(first["label"]) == "0.30"
    assert rest == [2, "x"]


def test_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", b"\xef\xbb\xbf[1]")
    assert list(json_files.array_items(path)) == [1]
    assert json_files.load(path) == [1]
    assert [value for _, value in json_files.json_lines(path)] == [[1]]


def test_bad_utf8_names_file_and_byte(tmp_path: Path) -> None:
    content = b'[{"a": "caf\xe9"}]'
    path = write(tmp_path / "latin.json", content)
    for read in (lambda: list(json_files.array_items(path)), lambda: json_files.load(path)):
        with pytest.raises(DatasetError, match=rf"latin\.json: byte {content.index(0xE9)} is not UTF-8"):
            read()


def test_bad_byte_is_found_beyond_the_first_block_and_across_its_border(tmp_path: Path) -> None:
    blanks = b" " * 65_535
    good = b'["' + "é".encode() + b'"]'
    path = write(tmp_path / "a.json", blanks[: 65_536 - 3] + good[:-2] + b'\xff"]')
    with pytest.raises(DatasetError, match=f"byte {65_536 - 3 + len(good) - 2} is not UTF-8"):
        list(json_files.array_items(path))


def test_malformed_json_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '[{"a": 1}, {"a": ]')
    items = json_files.array_items(path)
    with pytest.raises(DatasetError, match=r"a\.json: not valid JSON, near byte 18"):
        list(items)


@pytest.mark.parametrize("content", ["", "[1, 2", '{"images": [1'])
def test_cut_json_is_an_error_not_an_end(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "a.json", content)
    with pytest.raises(DatasetError, match="not valid JSON"):
        list(json_files.array_items(path, "images.item" if content.startswith("{") else "item"))


def test_object_where_an_array_belongs_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"data": []}')
    with pytest.raises(DatasetError, match="an array"):
        list(json_files.array_items(path))


def test_lines_end_in_line_feeds_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.lst", "a\rb\n\x0cc\u2028d\n\ne")
    assert list(json_files.text_lines(path)) == [(1, "a\rb"), (2, "\x0cc\u2028d"), (3, ""), (4, "e")]


def test_bad_line_is_given_back_but_a_bad_first_line_is_an_error(tmp_path: Path) -> None:
    assert list(json_files.json_lines(write(tmp_path / "a", '{"a": 1}\n\n{"a": \n3'))) == [
        (1, {"a": 1}),
        (3, '{"a": '),
        (4, 3),
    ]
    with pytest.raises(DatasetError, match="line 1"):
        list(json_files.json_lines(write(tmp_path / "b", '[\n{"a": 1}\n]')))


def test_bad_utf8_in_lines_names_the_byte_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b'\xef\xbb\xbf{"a": 1}\n{"b": "\xff"}\n')
    with pytest.raises(DatasetError, match=r"byte 19 \(line 2\)"):
        list(json_files.json_lines(path))


def test_tsv_offsets_find_each_record_again(tmp_path: Path) -> None:
    text = 'a\tb\n1\t"two\nlines ""quoted"""\n\n2\té\n'
    path = write(tmp_path / "a.tsv", text)
    found = list(tsv.records(path))
    assert [cells for _, cells in found] == [["a", "b"], ["1", 'two\nlines "quoted"'], ["2", "é"]]
    for offset, cells in found:
        assert next(tsv.records(path, offset))[1] == cells


def test_tsv_cells_may_be_longer_than_the_modules_limit_which_stays(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    path = write(tmp_path / "a.tsv", "x" * (2 * limit) + "\ty\n")
    rows = tsv.records(path)
    assert len(next(rows)[1][0]) == 2 * limit
    assert csv.field_size_limit() == limit


def test_tsv_with_open_quote_or_bad_utf8_names_the_byte(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="record at byte 4"):
        list(tsv.records(write(tmp_path / "a.tsv", 'a\tb\n1\t"open\n')))
    with pytest.raises(DatasetError, match="byte 6 is not UTF-8"):
        list(tsv.records(write(tmp_path / "b.tsv", b"a\tb\n1\t\xff\n")))


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "..", "a\\..\\..\\x", "C:\\x", "C:x", "\\\\host\\x", "a\x00b"]
)
def test_names_that_leave_the_folder_are_seen(name: str, tmp_path: Path) -> None:
    assert leaves_folder(name)
    with pytest.raises(ImageError) as caught:
        inside(tmp_path, name)
    assert caught.value.kind == "path_outside_data"


@pytest.mark.parametrize("name", ["a.png", "a/b..c.png", "...", "a b.png", "ä.png"])
def test_names_that_stay_are_let_through(name: str) -> None:
    assert not leaves_folder(name)


def test_link_out_of_the_folder_is_refused_and_one_within_is_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.png", b"secret")
    root = tmp_path / "data"
    inner = write(root / "real.png", b"inner")
    (root / "out.png").symlink_to(secret)
    (root / "in.png").symlink_to(inner)
    (root / "folder").symlink_to(tmp_path)
    (root / "loop.png").symlink_to(root / "loop.png")
    assert inside(root, "in.png").read_bytes() == b"inner"
    for name, kind in [
        ("out.png", "path_outside_data"),
        ("folder/secret.png", "path_outside_data"),
        ("loop.png", "missing_image"),
        ("none.png", "missing_image"),
        ("x" * 300, "missing_image"),
    ]:
        with pytest.raises(ImageError) as caught:
            inside(root, name)
        assert caught.value.kind == kind, name


def test_a_data_folder_may_itself_be_reached_by_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a.png", b"a")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path / "link", "a.png").read_bytes() == b"a"
