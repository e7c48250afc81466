"""The YAML reader: worked examples of what is read and of every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import CardError
from harness.yaml_files import MAX_BYTES, read_yaml


def read(tmp_path: Path, text: str | bytes) -> dict[str, object]:
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml(path, CardError).data


def test_only_true_and_false_are_booleans_and_dates_stay_text(tmp_path: Path) -> None:
    data = read(tmp_path, "a: no\nb: on\nc: true\nd: 2023-10-05\ne: 1e-3\nf: 0.5\ng: 12:30\nh: 007\ni: null\nj: -3\n")
    assert data == {
        "a": "no", "b": "on", "c": True, "d": "2023-10-05", "e": 0.001, "f": 0.5, "g": "12:30", "h": "007", "i": None,
        "j": -3,
    }  # fmt: skip


def test_lines_are_known_for_every_field(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("# comment\na:\n  b:\n    - c: 1\n")
    document = read_yaml(path, CardError)
    assert document.where(("a", "b", 0, "c")) == f"{path}:4"
    assert document.where(("a", "missing")) == f"{path}:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['true']\n", r":1: tag .* is not allowed"),
        ("a: !custom 1\n", r":1: tag '!custom' is not allowed"),
        ("a: 1\na: 2\n", r':2: "a" is given twice'),
        ("a: [1, 2\nb: 3\n", r"x\.yaml:\d+: not valid YAML"),
        ("- 1\n- 2\n", r":1: the file holds a list"),
        ("", r":1: the file is empty"),
        ("a: &x [*x]\n", r":1: (an alias contains itself|not valid YAML)"),
        ("? [1, 2]\n: 3\n", r":1: a key is a sequence"),
        (b"a: \xff\xfe\n", r"byte 3 is not UTF-8"),
        ("a: " + "[" * 5000 + "]" * 5000, r"nested more than"),
    ],
)
def test_what_the_safe_subset_leaves_out_is_refused_with_its_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(CardError, match=message):
        read(tmp_path, text)


def test_an_anchor_bomb_is_refused_before_it_is_built(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(CardError, match="more than 100000 values"):
        read(tmp_path, "\n".join(lines))


def test_a_file_over_one_mebibyte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=f"at most {MAX_BYTES}"):
        read(tmp_path, "a: " + "x" * MAX_BYTES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"gone\.yaml: cannot be read"):
        read_yaml(tmp_path / "gone.yaml", CardError)
