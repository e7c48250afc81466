"""lmms-eval's logs become runs: worked files, and every bad file refused by name. lmms-eval itself is not needed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.interop import InteropError
from harness.interop.lmms.logs import import_lmms_eval, is_log
from harness.interop.lmms.settings import generation
from harness.records import GenerationSettings
from tests.conftest import Command

ROWS: list[dict[str, Any]] = [
    {"doc_id": 0, "target": "4", "filtered_resps": "4", "input": "How many?", "relaxed": 1.0, "human": 1.0},
    {"doc_id": 1, "target": "9", "filtered_resps": ["8"], "input": "How much?", "relaxed": 0.0},
    {"doc_id": 2, "target": ["x", "y"], "filtered_resps": "", "input": "Which?", "relaxed": 0.0, "human": 0.0},
]
REPORTED = {"alias": "t", "relaxed,none": 1 / 3, "relaxed_stderr,none": 0.1, "human,none": 0.5}


def log(
    folder: Path, rows: list[dict[str, Any]] = ROWS, reported: dict[str, Any] | None = None, name: str = "m"
) -> Path:
    folder.mkdir(exist_ok=True)
    config = {"test_split": "test", "generation_kwargs": {"max_new_tokens": 5, "until": ["\n"], "temperature": 0}}
    results = {
        "model_name": name,
        "results": {"T": REPORTED if reported is None else reported},
        "configs": {"T": config},
    }
    (folder / "2026_results.json").write_text(json.dumps(results))
    (folder / "2026_samples_T.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_logged_scores_are_values_with_intervals(tmp_path: Path) -> None:
    (made,) = import_lmms_eval([log(tmp_path / "log")], tmp_path / "out")
    (task,) = made.run.record.tasks
    values = {value.variant: value for value in task.values}
    assert values["relaxed"].estimate == pytest.approx(1 / 3)
    assert (values["relaxed"].n_scored, values["human"].n_scored) == (3, 2)
    assert values["relaxed"].signature == "lmms-eval|relaxed|as logged|v1"
    assert values["relaxed"].low is not None
    assert task.plan.generation == GenerationSettings(max_new_tokens=5, stop=("\n",))
    assert "1 of 3 answers are empty" in made.notes[0]


def test_mean_that_is_not_the_reported_value_is_left_out(tmp_path: Path) -> None:
    (made,) = import_lmms_eval([log(tmp_path / "log", reported={**REPORTED, "relaxed,none": 0.4})], tmp_path / "out")
    assert [value.variant for value in made.run.record.tasks[0].values] == ["human"]
    assert "relaxed of T is 0.4, the mean of its documents 0.333333; left out" in made.notes[0]


@pytest.mark.parametrize(
    ("rows", "reported", "message"),
    [
        ([*ROWS, ROWS[0]], None, "line 4: document 0 stood before"),
        ([{"doc_id": 0, "target": "4"}], None, 'line 1: has no "filtered_resps"'),
        ([{**ROWS[0], "filtered_resps": [[-1.0, False]]}], None, 'line 1: "filtered_resps" is list'),
        ([], None, "2026_samples_T.jsonl: is empty"),
        (ROWS, {}, "reports no value of relaxed for T"),
    ],
)
def test_bad_log_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], reported: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(InteropError, match=message.replace("[", r"\[")):
        import_lmms_eval([log(tmp_path / "log", rows, reported)], tmp_path / "out")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    folder = log(tmp_path / "log")
    (folder / "2026_samples_T.jsonl").write_text("[1]\n")
    with pytest.raises(InteropError, match="line 1: a JSON object is expected, found list"):
        import_lmms_eval([folder], tmp_path / "out")
    (folder / "2026_samples_T.jsonl").unlink()
    with pytest.raises(InteropError, match=r"no 2026_samples_TASK\.jsonl beside it"):
        import_lmms_eval([folder], tmp_path / "out")
    with pytest.raises(InteropError, match="names no model; give one with --model"):
        import_lmms_eval([log(tmp_path / "nameless", name="")], tmp_path / "out")
    with pytest.raises(InteropError, match="there is no such file"):
        import_lmms_eval([tmp_path / "nowhere"], tmp_path / "out")
    assert not is_log(tmp_path / "nowhere")


def test_halves_of_surrogate_pairs_are_replaced(tmp_path: Path) -> None:
    (made,) = import_lmms_eval(
        [log(tmp_path / "log", [{**ROWS[0], "filtered_resps": "4 \ud800"}, *ROWS[1:]])], tmp_path
    )
    assert made.run.samples()["text"][0] == "4 \ufffd\ufffd\ufffd"


def test_results_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = log(tmp_path / "log")
    content = json.loads((folder / "2026_results.json").read_text())
    for change, message in (
        ({"results": 1}, "has no object results.T"),
        ({"configs": {"T": [1]}}, "has no object configs.T"),
        ({"configs": {"T": {"generation_kwargs": [1]}}}, "generation_kwargs"),
    ):
        (folder / "2026_results.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(InteropError, match=re.escape(message)):
            import_lmms_eval([folder], tmp_path / "out")


def test_command_tells_logs_from_vlmevalkits_files(tmp_path: Path, harness: Command) -> None:
    code, out, _ = harness(
        "import", log(tmp_path / "log"), "--out", tmp_path / "out", "--metric", "relaxed_accuracy", "--json"
    )
    assert code == 0
    assert {value["metric"] for value in json.loads(out)} == {"lmms-eval", "relaxed_accuracy"}
    code, _, err = harness("import", tmp_path / "log", "--benchmark", "ChartQA_TEST")
    assert code == 2
    assert "VLMEvalKit" in err


@pytest.mark.parametrize(
    ("given", "expected", "unknown"),
    [
        ({}, GenerationSettings(max_new_tokens=1024), []),
        ({"max_new_tokens": 3, "do_sample": True, "temperature": 0}, GenerationSettings(max_new_tokens=3), []),
        (
            {"max_new_tokens": 3, "temperature": 0.5, "top_p": 0.9, "num_beams": 2, "until": "\n"},
            GenerationSettings(3, do_sample=True, temperature=0.5, top_p=0.9, num_beams=2, stop=("\n",)),
            [],
        ),
        ({"max_new_tokens": 3, "image_aspect_ratio": "pad"}, GenerationSettings(3), ["image_aspect_ratio"]),
    ],
)
def test_generation_arguments(given: dict[str, Any], expected: GenerationSettings, unknown: list[str]) -> None:
    assert generation(given) == (expected, unknown)
