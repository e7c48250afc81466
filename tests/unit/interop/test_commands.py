"""`harness export` and `harness import` as their user meets them."""

from __future__ import annotations

import json
from pathlib import Path

from harness.interop.exporting import EXPORT_FORMATS
from tests.conftest import Command
from tests.unit.interop.runs import MAJORITY
from tests.unit.interop.test_vlmevalkit import CHART, xlsx


def test_export_prints_files_and_puts_notes_on_the_other_stream(harness: Command, tmp_path: Path) -> None:
    code, out, err = harness("export", MAJORITY, "--to", "model-index", "--out", tmp_path / "card.md")
    assert (code, out.splitlines()) == (0, [str(tmp_path / "card.md")])
    assert "note: majority-answer, coco-captions: spice is left out" in err
    code, out, _ = harness("export", MAJORITY, "--to", "parquet", "--out", tmp_path / "p", "--no-samples", "--json")
    assert code == 0
    assert str(tmp_path / "p" / "values.parquet") in json.loads(out)["files"]


def test_wrong_use_is_one_line_and_exit_code_2(harness: Command, tmp_path: Path) -> None:
    code, _, err = harness("export", MAJORITY, "--to", "model-indx", "--out", tmp_path / "x")
    assert code == 2
    assert 'no export format named "model-indx"; did you mean "model-index"?' in err
    code, _, err = harness(
        "export", MAJORITY, "--to", "every-eval-ever", "--out", tmp_path / "x", "--relationship", "me"
    )
    assert code == 2
    assert 'no relationship named "me"' in err
    code, _, err = harness("export", tmp_path, "--to", "parquet", "--out", tmp_path / "x")
    assert code == 2
    assert "no sealed run here" in err


def test_help_names_every_format(harness: Command) -> None:
    _, out, _ = harness("export", "--help")
    text = " ".join(out.replace("│", " ").split())
    assert all(name in text for name in EXPORT_FORMATS)


def test_import_seals_a_run_that_export_takes(harness: Command, tmp_path: Path) -> None:
    path = xlsx(tmp_path / "m_ChartQA_TEST.xlsx", CHART)
    code, out, err = harness("import", path, "--out", tmp_path / "runs")
    assert code == 0
    assert "warning: " in out
    assert "failures of the model" in err
    code, _, err = harness("export", tmp_path / "runs", "--to", "model-index", "--out", tmp_path / "card.md")
    assert (code, err) == (0, "")
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "imported from VLMEvalKit" in text
    assert "generation: not known" in text
