"""Drawn formulas: what mathtext knows is drawn once, what it does not know is left as text, nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the report extra is not installed")

from harness.report.formulas import LONGEST, Formulas, compact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$x ^ { 2 }$", "x^{2}"),
        (r"\alpha y", r"\alpha y"),
        (r"\frac { a } { b }", r"\frac{a}{b}"),
        (r"\[ \sqrt { x } \]", r"\sqrt{x}"),
    ],
)
def test_spaces_go_but_for_the_one_after_a_command(text: str, expected: str) -> None:
    assert compact(text) == expected


def test_equal_formulas_are_one_file_of_equal_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = Formulas(tmp_path / "a"), Formulas(tmp_path / "b")
    name = one.draw("x ^ { 2 }")
    assert name is not None
    assert one.draw("$x^{2}$") == other.draw("x^{2}") == name
    assert [p.name for p in (tmp_path / "a").iterdir()] == [name]
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert b"<script" not in (tmp_path / "a" / name).read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        r"\unknown{x}",
        r"\input{/etc/passwd}",
        "x^{",
        "a $ b",
        "x" * (LONGEST + 1),
        r"\begin{array}{c}a\end{array}",
    ],
)
def test_what_cannot_be_drawn_is_left_as_text(text: str | None, tmp_path: Path) -> None:
    assert Formulas(tmp_path).draw(text) is None
    assert list(tmp_path.iterdir()) == []
