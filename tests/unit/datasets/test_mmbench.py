"""MMBench: the real circular passes of the 2023-07-12 release, worked examples, faults."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.base import ImageError
from harness.datasets.mmbench import MMBench, movable, passes, question_sample
from harness.datasets.rows import Ids, Row
from harness.errors import DatasetError
from harness.records import Sample
from harness.sample_ids import MMBENCH_PASS
from tests.unit.datasets.builders import mmbench, mmbench_row, png, write


def read(root: Path, **options: Any) -> list[Sample]:
    return list(MMBench(root, options).samples("MMBench_dev"))


def test_every_real_pass_is_rolled_exactly_as_published(shared_data: Path) -> None:
    import openpyxl

    book = openpyxl.load_workbook(shared_data / "mmbench/model_outputs/llava-v1.5-13b_subset.xlsx", read_only=True)
    header, *rows = book.active.iter_rows(values_only=True)
    book.close()
    real: dict[int, dict[str, tuple[tuple[str, ...], str]]] = defaultdict(dict)
    base: dict[int, dict[str, str]] = {}
    for values in rows:
        row = {name: "" if cell is None else str(cell) for name, cell in zip(header, values, strict=True)}
        index = int(row["index"])
        real[index % MMBENCH_PASS][row["index"]] = (tuple(row[c] for c in "ABCD" if row[c]), row["answer"])
        if index < MMBENCH_PASS:
            base[index] = row
    assert len(base) == 627
    ours = {
        index: {
            s.sample_id: (s.choices, s.references[0]) for s in passes(question_sample(Row(row, "x"), None, 1, Ids()))
        }
        for index, row in base.items()
    }
    assert ours == real
    assert sum(len(found) for found in ours.values()) == 2348


def test_options_move_towards_the_end_and_the_letter_follows(tmp_path: Path) -> None:
    samples = read(mmbench(tmp_path, [mmbench_row()]))
    assert [s.sample_id for s in samples] == ["7", "1000007", "2000007", "3000007"]
    assert [s.choices for s in samples] == [
        ("one", "two", "three", "four"),
        ("four", "one", "two", "three"),
        ("three", "four", "one", "two"),
        ("two", "three", "four", "one"),
    ]
    assert [s.references for s in samples] == [("B",), ("C",), ("D",), ("A",)]
    assert [s.metadata["pass"] for s in samples] == ["0", "1", "2", "3"]
    assert {(s.group, s.cluster, s.images) for s in samples} == {("7", "7", samples[0].images)}
    assert samples[3].metadata["category"] == "colour"


def test_two_options_give_two_passes(tmp_path: Path) -> None:
    samples = read(mmbench(tmp_path, [mmbench_row(C="", D="")]))
    assert [s.choices for s in samples] == [("one", "two"), ("two", "one")]


@pytest.mark.parametrize(
    ("choices", "count"),
    [
        (("a", "b", "c", "None of the above"), 3),
        (("a", "b", "c", "both A,B, and C"), 3),
        (("a", "b", "both A and B", "all of them"), 2),
        (("a", "b", "A and B"), 2),
        (("a", "all"), 2),
        (("a", "b", "c", "overall"), 4),
        (("None", "b", "c", "d"), 4),
    ],
)
def test_an_option_about_the_others_keeps_its_place(choices: tuple[str, ...], count: int) -> None:
    assert movable(choices) == count


def test_the_letter_of_a_fixed_option_stays(tmp_path: Path) -> None:
    samples = read(mmbench(tmp_path, [mmbench_row(D="All of these", answer="D")]))
    assert [s.references for s in samples] == [("D",)] * 3
    assert all(s.choices[3] == "All of these" for s in samples)


def test_not_circular_gives_the_first_pass_alone(tmp_path: Path) -> None:
    root = mmbench(tmp_path, [mmbench_row(), mmbench_row(index="1000007", answer="A")])
    assert [s.sample_id for s in read(root, circular=False)] == ["7"]


def test_a_file_that_rolls_its_questions_is_taken_as_it_is_and_its_image_indexes_are_followed(tmp_path: Path) -> None:
    rows = [
        mmbench_row(),
        mmbench_row(index="1000007", A="four", B="one", C="two", D="three", answer="C", image="7"),
        mmbench_row(index="8", C="", D="", image="1000007"),
    ]
    data = MMBench(mmbench(tmp_path, rows))
    samples = list(data.samples("MMBench_dev"))
    assert [s.sample_id for s in samples] == ["7", "1000007", "8", "1000008"]
    assert samples[1].group == "7"
    assert all(data.image_bytes(s.images[0]) == png() for s in samples)


@pytest.mark.parametrize(
    ("cell", "kind"),
    [("", "missing_image"), ("99", "missing_image"), ("7", "missing_image"), ("n@t", "unreadable_image")],
)
def test_image_cell_without_picture_says_so_on_reading(tmp_path: Path, cell: str, kind: str) -> None:
    data = MMBench(mmbench(tmp_path, [mmbench_row(image=cell)]))
    sample = next(data.samples("MMBench_dev"))
    with pytest.raises(ImageError, match=r"MMBench_dev\.tsv row 1") as caught:
        data.image_bytes(sample.images[0])
    assert caught.value.kind == kind


def test_references_hold_no_picture_bytes(tmp_path: Path) -> None:
    sample = read(mmbench(tmp_path, [mmbench_row()]))[0]
    assert len(sample.images[0].key) < 40


def test_line_breaks_in_options_and_hints_are_kept(tmp_path: Path) -> None:
    sample = read(mmbench(tmp_path, [mmbench_row(A='print(\n  "x")', hint="see\tbelow")]))[0]
    assert sample.choices[0] == 'print(\n  "x")'
    assert sample.hint == "see\tbelow"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"answer": "E"}, "bad_answer"),
        ({"answer": "two"}, "bad_answer"),
        ({"answer": "D", "D": ""}, "bad_answer"),
        ({"answer": ""}, "empty_reference"),
        ({"question": ""}, "missing_field"),
        ({"index": ""}, "missing_field"),
        ({"index": "x7"}, "bad_field"),
        ({"B": "", "C": "", "D": ""}, "missing_field"),
        ({"B": ""}, "bad_field"),
    ],
)
def test_a_bad_row_is_yielded_once_with_its_reason(tmp_path: Path, change: dict[str, str], kind: str) -> None:
    bad, *good = read(mmbench(tmp_path, [mmbench_row(**change), mmbench_row(index="8")]))
    assert bad.problem is not None
    assert bad.problem.kind == kind
    assert [s.problem for s in good] == [None] * 4


def test_second_row_with_an_index_is_a_duplicate_in_a_group_of_its_own(tmp_path: Path) -> None:
    samples = read(mmbench(tmp_path, [mmbench_row(), mmbench_row(question="Other?")]))
    assert len(samples) == 5
    last = samples[-1]
    assert (last.sample_id, last.group) == ("7#duplicate-2", "7#duplicate-2")
    assert last.problem is not None
    assert last.problem.kind == "duplicate_id"


def test_a_row_with_too_few_cells_is_malformed(tmp_path: Path) -> None:
    root = mmbench(tmp_path, [mmbench_row()])
    path = root / "MMBench_dev.tsv"
    path.write_text(path.read_text() + "9\tquestion only\n")
    last = read(root)[-1]
    assert last.problem is not None
    assert last.problem.kind == "malformed_row"


def test_a_table_without_the_columns_is_refused_with_its_header(tmp_path: Path) -> None:
    write(tmp_path / "MMBench_dev.tsv", "id\tquestion\n1\tx\n")
    with pytest.raises(DatasetError, match="no column index, A, B, answer, image"):
        read(tmp_path)


def test_circular_takes_true_or_false_only(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="circular is 'yes'"):
        MMBench(mmbench(tmp_path, [mmbench_row()]), {"circular": "yes"})
