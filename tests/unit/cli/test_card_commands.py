"""`cards check` and `compare-cards` as their user meets them: output, files and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cards.loading import bundled_cards
from tests.conftest import Command


def test_a_wrong_size_is_a_finding(harness: Command, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the models extra is not installed")
    text = (bundled_cards() / "deplot.yaml").read_text().replace("name: deplot\n", "name: mine\n")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("value: 282285696", "value: 300000000"))
    code, out, _ = harness("cards", "check", path)
    assert code == 1
    assert "describe.architecture.parameters: the card claims 300,000,000 (+6.3 %)" in out
    assert "1 cards checked, 1 with faults" in out


def test_what_was_not_built_is_said(harness: Command) -> None:
    code, out, _ = harness("cards", "check", "ofa-large")
    assert code == 0
    assert "architecture: not done for 1: the card has no `run:`" in out


def test_a_comparison_is_printed_or_written(harness: Command, tmp_path: Path) -> None:
    code, out, _ = harness("compare-cards", "deplot", "ofa-large", "--benchmark", "ChartQA")
    assert code == 0
    assert out.startswith("# Comparison of DePlot and OFA large")
    code, out, _ = harness("compare-cards", "deplot", "ofa-large", "--out", tmp_path / "x", "--format", "md,tex")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == ["comparison.md", "comparison.tex"]
    code, out, _ = harness("compare-cards", "deplot", "ofa-large", "--json")
    assert json.loads(out)["tables"][0]["columns"] == ["deplot", "ofa-large"]


@pytest.mark.parametrize("arguments", [["deplot"], ["deplot", "nobody"], ["deplot", "ofa-large", "--benchmark", "x"]])
def test_wrong_use_ends_with_code_2_and_one_line(harness: Command, arguments: list[str]) -> None:
    code, out, err = harness("compare-cards", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
