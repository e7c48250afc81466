"""The command line as its user meets it: output, exit codes, and one line for every fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.output import printable
from tests.conftest import Command


def values(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)
    return found


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics", "tasks", "suites"])
def test_everything_can_be_listed_as_table_and_as_json(harness: Command, kind: str) -> None:
    code, out, _ = harness("list", kind)
    assert code == 0
    assert len(out.splitlines()) > 4
    code, out, _ = harness("list", kind, "--json")
    rows = values(out)
    assert code == 0
    assert all(row["name"] and row["state"] for row in rows)
    assert not [row for row in rows if row["state"].startswith("broken")]


def test_a_broken_plugin_is_listed_and_hides_nothing(harness: Command, installed: Callable[..., Path]) -> None:
    installed("bad", {"harness.metrics": {"worse": "no_such_module:Metric"}})
    rows = {row["name"]: row for row in values(harness("list", "metrics", "--json")[1])}
    assert rows["worse"]["state"] == "broken"
    assert "no_such_module" in rows["worse"]["why"]
    assert rows["rnss"]["state"] == "ready"


def test_controls_run_here_and_models_without_weights_say_why(harness: Command) -> None:
    rows = {row["name"]: row for row in values(harness("list", "models", "--json")[1])}
    assert rows["random-choice"]["state"] == "runs here"
    assert rows["llava-1.5-7b"]["state"] == "weights not here"
    assert "hf download llava-hf/llava-1.5-7b-hf" in rows["llava-1.5-7b"]["why"]


def test_cards_check_exits_1_with_every_fault(harness: Command, tmp_path: Path) -> None:
    card = tmp_path / "c.yaml"
    card.write_text("name: c\nrun: {famly: llava}\n")
    code, out, _ = harness("cards", "check", card)
    assert code == 1
    assert re.search(r'c\.yaml:2: run\.famly: unknown field; did you mean "family"\?', out)
    assert out.endswith("1 cards checked, 1 with faults\n")
    assert harness("cards", "check")[0] == 0


def test_data_check_counts_and_exits_1_on_faults(harness: Command, chart_data: Path) -> None:
    code, out, _ = harness("data", "check", "chartqa", "--data", chart_data)
    assert code == 1
    assert "missing_image x2" in out
    assert "truncated_image x2" in out
    assert harness("data", "check", "chartqa")[0] == 0


def test_a_run_prints_a_table_and_says_where_results_lie(harness: Command, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    code, out, err = harness("run", "--suite", "smoke", "--models", "majority-answer,random-choice", "--out", out_dir)
    assert code == 0, err
    assert "relaxed_accuracy@pix2struct" in out
    assert "20/20" in out
    assert re.search(r"results: .*smoke--majority-answer--[0-9a-f]{8}--001", out)
    code, out, _ = harness("show", out_dir)
    assert code == 0
    assert "majority-answer on smoke" in out
    assert max(len(line) for line in out.splitlines()) <= 100
    code, out, _ = harness("show", out_dir, "--json")
    assert {"run", "model", "task", "metric", "estimate", "low", "high", "n_scored"} <= set(values(out)[0])
    run = next(p for p in out_dir.iterdir() if p.name.startswith("smoke--maj"))
    code, out, _ = harness("rescore", run, "--reason", "to see")
    assert code == 0
    assert "rescore-001" in out


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    harness: Command, tmp_path: Path, chart_data: Path, chart_suite: Path
) -> None:
    arguments = ("--suite", chart_suite, "--models", "majority-answer", "--data", chart_data, "--out", tmp_path / "out")
    code, out, _ = harness("run", *arguments, "--dry-run")
    assert code == 0
    assert "12 samples, 12 images, missing_image x2" in out
    assert "first prompt: 'How many bars in 0?" in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--suite", "minii", "--models", "x"), 'error: no suite named "minii"; did you mean "mini"?'),
        (("run", "--suite", "mini", "--models", "randm-choice"), 'no model card named "randm-choice"; did you mean'),
        (("run", "--suite", "charts", "--models", "random-choice"), "--data DIR"),
        (("show", "/nowhere"), "no sealed run here"),
        (("score", "chartqa", "--predictions", "/nowhere.json"), "/nowhere.json"),
        (("score", "chart", "--predictions", "x"), 'no data set named "chart"; did you mean "chartqa"?'),
        (("data", "check", "coco", "--data", "/nowhere"), "/nowhere"),
    ],
)
def test_wrong_use_is_one_named_error_and_exit_2(harness: Command, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = harness(*arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--suite", "mini", "--models", "x", "--batch-size", "many"),
        ("run", "--suite", "mini", "--models", "x", "--limit", "3", "--sample", "3"),
        ("run", "--suite", "mini", "--models", ","),
        ("fly",),
    ],
)
def test_wrong_options_exit_2(harness: Command, arguments: tuple[str, ...]) -> None:
    assert harness(*arguments)[0] == 2


def test_a_failed_model_makes_the_exit_code_2(harness: Command, tmp_path: Path) -> None:
    card = tmp_path / "gone.yaml"
    card.write_text("name: gone\nrun: {family: llava, checkpoint: ./nothing-here}\n")
    code, out, _ = harness("run", "--suite", "smoke", "--models", f"{card},random-choice", "--out", tmp_path / "out")
    assert code == 2
    assert "failed: gone: " in out
    assert "nothing-here" in out
    assert "random-choice" in out


def test_own_predictions_are_scored(harness: Command, chart_data: Path, tmp_path: Path) -> None:
    import harness as library

    samples = list(library.open_dataset("chartqa", chart_data).samples("test"))
    file = tmp_path / "answers.jsonl"
    rows = [{"sample_id": s.sample_id, "text": s.references[0]} for s in samples[:9]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = harness("score", "chartqa", "--predictions", file, "--data", chart_data, "--json")
    assert code == 0
    first = values(out)[0]
    assert {"metric", "variant", "signature", "subset", "estimate", "low", "high", "n_scored", "n_total"} <= set(first)
    assert (first["estimate"], first["n_scored"], first["n_total"]) == (1.0, 9, 12)
    assert "3 of 12 samples have no answer in answers.jsonl" in err


def test_model_output_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mred\x07\u202e") == "a\\x1b[31mred\\x07\\x202e"
    assert printable("zwölf\tgood\n") == "zwölf\tgood\n"


def test_released_weights_are_converted_and_other_families_say_no(harness: Command, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the models extra is not installed")
    state = {
        "visual_encoder.visual.class_embedding": torch.zeros(4),
        "visual_encoder_m.visual.class_embedding": torch.zeros(4),
    }
    torch.save({"model": state}, tmp_path / "weights.pth")
    code, out, _ = harness("convert", "mplug", tmp_path / "weights.pth", tmp_path / "converted")
    assert code == 0
    assert "1 tensors written" in out
    assert "1 of training left out" in out
    assert "a run also needs: " in out
    code, _, err = harness("convert", "llava", tmp_path / "weights.pth", tmp_path / "other")
    assert code == 2
    assert "no older layout to convert" in err
