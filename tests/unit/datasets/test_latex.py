r"""Formula sources: im2latex lists with `\r` and form feeds, TexTeller, pairs, formulas alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.datasets.latex import Latex
from harness.errors import DatasetError
from tests.unit.datasets.builders import png, write


def im2latex(root: Path, formulas: bytes, listing: str) -> Path:
    folder = root / "sample"
    write(folder / "formulas.lst", formulas)
    write(folder / "test.lst", listing)
    write(folder / "images/p.png", png())
    return root


def test_line_numbers_count_line_feeds_alone(tmp_path: Path) -> None:
    data = Latex(
        im2latex(tmp_path, b"a\r\x0cb\nsecond \\frac\n\xe2\x80\xa8third\n", "2 q basic\n0 p basic\n1 r fleqn\n")
    )
    assert data.splits() == ("sample/test",)
    third, first, second = data.samples("sample/test")
    assert [s.references for s in (first, second, third)] == [("a\r\x0cb",), ("second \\frac",), ("\u2028third",)]
    assert (first.sample_id, first.cluster) == ("p", "formula-0")
    assert second.metadata == {"source": "sample", "render": "fleqn"}
    assert data.image_bytes(first.images[0]) == png()


def test_a_line_that_is_not_utf8_is_read_as_latin_1_and_says_so(tmp_path: Path) -> None:
    (sample,) = Latex(im2latex(tmp_path, b"\\text{caf\xe9}\n", "0 p basic\n")).samples("sample/test")
    assert sample.references == ("\\text{café}",)
    assert sample.metadata["encoding"] == "latin-1"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("9 p basic", "missing_row"),
        ("x p basic", "malformed_row"),
        ("1", "malformed_row"),
        ("1 p basic", "empty_reference"),
        ("0 ../../p basic", "path_outside_data"),
    ],
)
def test_a_bad_line_is_yielded_with_its_reason(tmp_path: Path, line: str, kind: str) -> None:
    bad, good = Latex(im2latex(tmp_path, b"x\n\n", f"{line}\n0 g basic\n")).samples("sample/test")
    assert bad.problem is not None
    assert bad.problem.kind == kind
    assert good.problem is None


def test_a_picture_listed_twice_is_a_duplicate(tmp_path: Path) -> None:
    _, second = Latex(im2latex(tmp_path, b"x\ny\n", "0 p basic\n1 p basic\n")).samples("sample/test")
    assert second.sample_id == "p#duplicate-2"
    assert second.problem is not None
    assert second.problem.kind == "duplicate_id"


def test_published_file_names_are_known(tmp_path: Path) -> None:
    write(tmp_path / "im2latex/im2latex_formulas.lst", "x\n")
    write(tmp_path / "im2latex/im2latex_train.lst", "0 p basic\n")
    write(tmp_path / "im2latex/im2latex_test.lst", "0 p basic\n")
    write(tmp_path / "im2latex/formula_images/p.png", png())
    data = Latex(tmp_path)
    assert data.splits() == ("im2latex/im2latex_test", "im2latex/im2latex_train")
    assert data.image_bytes(next(data.samples("im2latex/im2latex_test")).images[0]) == png()


def test_texteller_lines(tmp_path: Path) -> None:
    lines = [{"img_name": "0.png", "formula": "\\[x\\]"}, {"formula": "y"}, {"img_name": "/etc/x.png", "formula": "z"}]
    write(tmp_path / "tex/formulas.jsonl", "\n".join(json.dumps(line) for line in lines))
    write(tmp_path / "tex/images/0.png", png())
    data = Latex(tmp_path)
    first, second, third = data.samples("tex")
    assert (first.sample_id, first.references) == ("0.png", ("\\[x\\]",))
    assert data.image_bytes(first.images[0]) == png()
    assert [s.problem.kind for s in (second, third) if s.problem] == ["missing_field", "path_outside_data"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "txt"])
def test_plain_pairs_in_three_forms(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "mine"
    write(folder / "a.png", png())
    write(folder / "b.png", png())
    if form == "csv":
        write(folder / "pairs.csv", 'image,formula\na.png,"x, \\frac{1}{2}"\nb.png,y\n')
    elif form == "jsonl":
        write(
            folder / "pairs.jsonl",
            '{"image": "a.png", "formula": "x, \\\\frac{1}{2}"}\n{"image": "b.png", "formula": "y"}',
        )
    else:
        write(folder / "a.txt", "x, \\frac{1}{2}\n")
        write(folder / "b.txt", "y")
    data = Latex(tmp_path)
    assert data.splits() == ("mine",)
    samples = list(data.samples("mine"))
    assert [(s.sample_id, s.references) for s in samples] == [("a.png", ("x, \\frac{1}{2}",)), ("b.png", ("y",))]
    assert all(data.image_bytes(s.images[0]) == png() for s in samples)


def test_formulas_alone_have_no_picture_and_come_last(tmp_path: Path) -> None:
    write(tmp_path / "alone/val.norm.txt", "x ^ 2\ny\n")
    data = Latex(im2latex(tmp_path, b"x\n", "0 p basic\n"))
    assert data.splits() == ("sample/test", "alone/val")
    first, second = data.samples("alone/val")
    assert (first.sample_id, first.references, first.images) == ("0", ("x ^ 2",), ())
    assert second.problem is not None
    assert second.problem.kind == "no_image"


def test_csv_without_the_columns_is_named(tmp_path: Path) -> None:
    write(tmp_path / "mine/pairs.csv", "file,latex\na.png,x\n")
    with pytest.raises(DatasetError, match="image and formula are expected"):
        list(Latex(tmp_path).samples("mine"))


def test_a_source_given_itself_is_read(tmp_path: Path) -> None:
    root = im2latex(tmp_path, b"x\n", "0 p basic\n") / "sample"
    data = Latex(root)
    assert data.splits() == ("sample/test",)
    assert data.image_bytes(next(data.samples("sample/test")).images[0]) == png()
