"""Writers: escaping of hostile text, files that other programs read back, and a document that LaTeX compiles."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.compare.cards import compare_cards
from harness.compare.tables import Cell, Comparison, Row, Table
from harness.compare.writing import FORMATS, tex, to_csv, to_html, to_latex, to_markdown, write_comparison
from harness.errors import CardError

HOSTILE = r'<script>alert("x")</script> & 50 % of $a_b$ # {c} ~ ^ \input{x} | `y` =1+1 é – Ж'


def hostile() -> Comparison:
    rows = (
        Row(HOSTILE, (Cell(HOSTILE, (HOSTILE, "b")), Cell("=1+1"))),
        Row("n", (Cell("-3.7"), Cell("x | y", ("b",)))),
    )
    return Comparison(HOSTILE, (Table("T", ("one", "two"), rows, "note"),))


def test_markdown_keeps_one_line_for_each_row_and_shows_no_html() -> None:
    text = to_markdown(hostile())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    assert "<script>" not in text
    assert text.endswith("1. " + rows[2].split(" | ")[0].removeprefix("| ") + "\n2. b\n")


def test_csv_reads_back_and_no_field_is_a_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(hostile()))))
    assert len(rows) == 4
    assert rows[0]["value"] == HOSTILE
    assert rows[1]["value"] == "'=1+1"
    assert rows[2]["value"] == "-3.7"


def test_html_is_one_page_without_scripts_or_outside_files() -> None:
    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[tuple[str, dict[str, str | None]]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append((tag, dict(attrs)))

    page = to_html(hostile())
    parser = Tags()
    parser.feed(page)
    names = {tag for tag, _ in parser.found}
    assert not names & {"script", "link", "img", "iframe"}
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page
    targets = {str(attrs["href"])[1:] for tag, attrs in parser.found if tag == "a"}
    assert targets == {str(attrs["id"]) for tag, attrs in parser.found if tag == "li"}


def test_latex_escapes_every_character_that_means_something() -> None:
    assert tex("a_b & 5 % # $ { } ~ ^ \\") == (
        r"a\_b \& 5 \% \# \$ \{ \} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert tex("é – Ж") == "é -- [U+0416]"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("which", ["hostile", "cards"])
def test_pdflatex_compiles_the_document(tmp_path: Path, which: str) -> None:
    found = subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, text=True, check=False)
    if not found.stdout.strip():
        pytest.skip("the LaTeX package booktabs is not installed (Debian: texlive-latex-recommended)")
    made = hostile() if which == "hostile" else compare_cards(["llava-1.5-7b", "deplot", "ofa-large"])
    (tmp_path / "c.tex").write_text(to_latex(made), encoding="utf-8")
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "c.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    log = run.stdout.decode("utf-8", "replace")
    assert run.returncode == 0, log[-2000:]
    assert "Overfull \\hbox" not in log or "in alignment" not in log


def test_a_table_without_columns_is_written_with_its_rows() -> None:
    text = to_latex(Comparison("C", (Table("T", (), (Row("nothing computed", ()),), ""),)))
    assert r"\begin{longtable}{>{\raggedright\arraybackslash}p{0.120\linewidth}}" in text
    assert "nothing computed" in text


def test_files_are_written_in_the_chosen_formats(tmp_path: Path) -> None:
    paths = write_comparison(hostile(), tmp_path / "new" / "folder", ["md", "csv", "md"])
    assert [p.name for p in paths] == ["comparison.md", "comparison.csv"]
    for name in ("pdf", ""):
        with pytest.raises(CardError, match=r"known: md, csv, tex, html"):
            write_comparison(hostile(), tmp_path, [name] if name else [])


def test_two_writings_of_one_comparison_are_equal() -> None:
    for write in FORMATS.values():
        assert write(hostile()) == write(hostile())
