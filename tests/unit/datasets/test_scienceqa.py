"""ScienceQA in its official layout: worked examples and faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.datasets.base import ImageError
from harness.datasets.scienceqa import ScienceQA
from harness.errors import DatasetError
from tests.unit.datasets.builders import png, problem, scienceqa, write


def test_a_problem_has_choices_letter_and_modality(tmp_path: Path) -> None:
    root = scienceqa(tmp_path, {"5": problem(subject="biology", grade="grade3", skill="")})
    (sample,) = ScienceQA(root).samples("test")
    assert (sample.sample_id, sample.choices, sample.references) == ("5", ("x", "y", "z"), ("B",))
    assert sample.metadata == {"modality": "text", "subject": "biology", "grade": "grade3"}
    assert sample.images == ()


def test_picture_lies_under_the_problems_own_split_whatever_list_names_it(tmp_path: Path) -> None:
    root = scienceqa(tmp_path, {"5": problem(image="image.png")}, {"minitest": ["5"], "test": ["5"]})
    write(root / "images/test/5/image.png", png())
    data = ScienceQA(root)
    assert data.splits() == ("test", "minitest")
    (sample,) = data.samples("minitest")
    assert data.image_bytes(sample.images[0]) == png()
    assert sample.metadata["modality"] == "image"


def test_picture_may_lie_without_a_split_folder(tmp_path: Path) -> None:
    root = scienceqa(tmp_path, {"5": problem(image="image.png")})
    write(root / "images/5/image.png", png())
    data = ScienceQA(root)
    assert data.image_bytes(next(data.samples("test")).images[0]) == png()


def test_splits_follow_the_list_and_order_follows_the_problems(tmp_path: Path) -> None:
    problems = {pid: problem() for pid in ("9", "3", "7")}
    data = ScienceQA(scienceqa(tmp_path, problems, {"train": ["7"], "test": ["3", "9"]}))
    assert [s.sample_id for s in data.samples("test")] == ["9", "3"]
    assert [s.sample_id for s in data.samples("train")] == ["7"]


def test_repository_layout_is_read_too(tmp_path: Path) -> None:
    root = scienceqa(tmp_path / "data/scienceqa", {"5": problem(image="image.png")})
    write(root / "images/test/5/image.png", png())
    data = ScienceQA(tmp_path)
    assert data.image_bytes(next(data.samples("test")).images[0]) == png()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"answer": 3}, "bad_answer"),
        ({"answer": -1}, "bad_answer"),
        ({"answer": "B"}, "bad_answer"),
        ({"answer": True}, "bad_answer"),
        ({"answer": None}, "empty_reference"),
        ({"choices": None}, "missing_field"),
        ({"question": None}, "missing_field"),
        ({"image": "../../x.png"}, "path_outside_data"),
    ],
)
def test_a_bad_problem_is_yielded_with_its_reason(tmp_path: Path, change: dict[str, Any], kind: str) -> None:
    bad, good = ScienceQA(scienceqa(tmp_path, {"1": problem(**change), "2": problem()})).samples("test")
    assert bad.problem is not None
    assert bad.problem.kind == kind
    assert "problems.json 1" in bad.problem.message
    assert good.problem is None


def test_a_pid_that_stands_twice_is_a_duplicate(tmp_path: Path) -> None:
    root = scienceqa(tmp_path, {"1": problem()})
    text = (root / "problems.json").read_text()
    write(root / "problems.json", f"{text[:-1]}, {text[1:]}")
    first, second = ScienceQA(root).samples("test")
    assert first.problem is None
    assert second.sample_id == "1#duplicate-2"
    assert second.problem is not None
    assert second.problem.kind == "duplicate_id"


def test_a_listed_pid_without_a_problem_is_yielded(tmp_path: Path) -> None:
    _, missing = ScienceQA(scienceqa(tmp_path, {"1": problem()}, {"test": ["8", "1"]})).samples("test")
    assert missing.sample_id == "8"
    assert missing.problem is not None
    assert missing.problem.kind == "missing_row"


def test_missing_picture_shows_on_reading(tmp_path: Path) -> None:
    data = ScienceQA(scienceqa(tmp_path, {"1": problem(image="image.png")}))
    with pytest.raises(ImageError, match=r"images/test/1/image\.png is not there"):
        data.image_bytes(next(data.samples("test")).images[0])


@pytest.mark.parametrize(
    ("content", "words"), [("[]", "an object"), ('{"test": "1"}', "lists of pids"), ("{", "not valid")]
)
def test_a_bad_list_of_splits_is_named(tmp_path: Path, content: str, words: str) -> None:
    root = scienceqa(tmp_path, {"1": problem()})
    write(root / "pid_splits.json", content)
    with pytest.raises(DatasetError, match=f"pid_splits.json.*{words}"):
        ScienceQA(root).splits()
