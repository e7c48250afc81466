"""The tables of a comparison: every number is there with its interval and source, and hostile text stays text."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.compare.comparison import Comparison, compare
from harness.compare.run_tables import run_tables
from harness.compare.words import overview, sentence
from harness.compare.writing import to_html, to_latex, to_markdown
from harness.engine.run import run_suite
from harness.tasks.schema import Subset


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two controls on the first ten questions of two tasks of the bundled data."""
    folder = tmp_path_factory.mktemp("runs")
    suite = folder / "s.yaml"
    suite.write_text("name: s\nversion: 1\ndescription: d\ndata: bundled\ntasks: [chartqa, scienceqa]\n")
    outcome = run_suite(suite, ["majority-answer", "random-choice"], out=folder, subset=Subset(first=10))
    return compare(outcome.runs, permutations=200, resamples=200)


def test_every_value_stands_with_interval_counts_and_signature(compared: Comparison) -> None:
    text = to_markdown(run_tables(compared))
    for standing in compared.standings:
        value = standing.value
        assert value.estimate is not None
        assert f"{100 * value.estimate:.1f} " in text.replace("\\[", "[")
        assert f"{value.n_scored}/{value.n_total}" in text
        assert value.signature.replace("|", "\\|").replace("_", "\\_") in text


def test_every_main_pair_is_said_in_words(compared: Comparison) -> None:
    said = [line for _, lines in overview(compared) for line in lines]
    assert len(said) == sum(pair.main for pair in compared.pairs) == 2
    assert all("n = 10" in line for line in said)
    charts, science = said
    assert charts == "majority-answer and random-choice score alike on every resampled set (n = 10)."
    assert science.startswith("No difference found between majority-answer and random-choice: ")
    assert "95 % interval" in science
    assert "would be found in 80 %" in science


def test_a_difference_is_said_with_its_winner_whichever_way_is_better(compared: Comparison) -> None:
    from dataclasses import replace

    pair = replace(compared.pairs[0], first="a", second="b", difference=0.2, p_holm=0.01)
    assert sentence(pair).startswith("a is better than b by 20.0 points")
    assert sentence(replace(pair, higher_is_better=False)).startswith("b is better than a by 20.0 points")


def test_hostile_names_stay_text_in_every_format(compared: Comparison) -> None:
    from dataclasses import replace

    name = "<script>alert(1)</script>|\\input{x}"
    standings = tuple(replace(s, model=name) if s.model == "random-choice" else s for s in compared.standings)
    hostile = run_tables(replace(compared, standings=standings))
    assert "<script>" not in to_html(hostile)
    assert "\\input{x}" not in to_latex(hostile)
    assert "\\textbackslash{}input\\{x\\}" in to_latex(hostile)


def booktabs_is_here() -> bool:
    """Whether a TeX engine and the package that the tables use are installed."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode == 0


@pytest.mark.skipif(not booktabs_is_here(), reason="no pdflatex with booktabs on the PATH")
def test_the_latex_compiles(compared: Comparison, tmp_path: Path) -> None:
    (tmp_path / "c.tex").write_text(to_latex(run_tables(compared)), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "c.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_the_command_writes_all_formats_and_prints_json(
    compared: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli.main import main

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["harness", "compare", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return (stopped.value.code or 0), out, err  # type: ignore[return-value]

    folder = str(compared.runs[0].path.parent)
    code, out, _ = call(folder, "--out", str(tmp_path / "c"), "--format", "md,csv,tex,html,json")
    assert code == 0
    assert sorted(p.suffix for p in (tmp_path / "c").iterdir()) == [".csv", ".html", ".json", ".md", ".tex"]
    assert len(out.splitlines()) == 5
    code, out, _ = call(folder, "--json")
    pairs = json.loads(out)["pairs"]
    assert {"difference", "low", "high", "p_value", "p_holm", "detectable", "signature"} <= set(pairs[0])
    code, _, err = call(str(compared.runs[0].path))
    assert code == 2
    assert "at least two runs" in err
