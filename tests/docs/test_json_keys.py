"""`--json` of every command: the option is there, and the keys are those of docs/reference/json.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import Command
from tests.docs.documents import ROOT
from tests.docs.test_commands import MINI, command_tree

PAGE = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
VALUE = set(re.findall(r"`(\w+)`", PAGE.split("The keys of a value are")[1].split(";")[0]))
ROWS = {
    match[1]: (
        match[2],
        set(re.findall(r"`(\$?\w+)`", match[3])) | (VALUE if "those of a value" in match[3] else set()),
    )
    for match in re.finditer(r"^\| `([^`]+)` \| (object|list) \| (.+) \|$", PAGE, re.MULTILINE)
}


def leaves() -> dict[str, Any]:
    found = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        for name, each in command.commands.items():
            if hasattr(each, "commands"):
                walk(each, (*words, name))
            else:
                found[" ".join((*words, name))] = each

    walk(command_tree(), ())
    return found


def test_every_command_has_the_option_and_a_row() -> None:
    commands = leaves()
    lacking = [name for name, command in commands.items() if not any("--json" in p.opts for p in command.params)]
    assert lacking == []
    assert set(commands) == {name.split(" --")[0] for name in ROWS}


def checked(harness: Command, name: str, *arguments: object, code: int = 0) -> Any:
    """The value, after its shape and keys were held against the page."""
    got, out, err = harness(*arguments, "--json")
    assert got == code, err
    value = json.loads(out)
    shape, keys = ROWS[name]
    assert isinstance(value, list if shape == "list" else dict), name
    entries = value if isinstance(value, list) else [value]
    assert entries, name
    for entry in entries:
        assert keys <= set(entry), (name, keys - set(entry))
        if name not in ("list", "cards schema"):
            assert set(entry) == keys, (name, set(entry) ^ keys)
    return value


def test_the_keys_of_reading_commands(harness: Command, folder: Path) -> None:
    for kind, columns in re.findall(
        r"(\w+) ((?:`\w+` ?)+)(?=[,.])", PAGE.split("further columns for each kind:")[1].replace("\n", " ")
    ):
        rows = checked(harness, "list", "list", kind)
        assert set(re.findall(r"`(\w+)`", columns)) <= set(rows[0]), kind
    checked(harness, "cards check", "cards", "check", "deplot")
    checked(harness, "cards schema", "cards", "schema")
    checked(harness, "compare-cards", "compare-cards", "deplot", "ofa-large")
    checked(harness, "data check", "data", "check", "chartqa")
    checked(harness, "data make-mini", "data", "make-mini", "mini", "--n", 4)
    checked(harness, "show", "show", "results")
    checked(harness, "compare", "compare", "results")
    checked(harness, "report", "report", "results", "--out", "report")


def test_the_keys_of_runs_and_scores(harness: Command, folder: Path) -> None:
    run = ["run", "--suite", "smoke", "--models", "majority-answer", "--limit", 4, "--out", "new"]
    checked(harness, "run --dry-run", *run, "--dry-run")
    checked(harness, "run", *run)
    made = next((folder / "new").glob("smoke--*"))
    checked(harness, "rescore", "rescore", made)
    import harness as library

    sample = next(iter(library.open_dataset("chartqa").samples("test")))
    (folder / "answers.jsonl").write_text(json.dumps({"sample_id": sample.sample_id, "text": "1"}) + "\n")
    checked(harness, "score", "score", "chartqa", "--predictions", "answers.jsonl", "--data", MINI)
    (folder / "perturbed.yaml").write_text(
        "name: perturbed\nversion: 1\ndescription: for a test\ndata: bundled\n"
        "tasks: [chartqa, {task: chartqa, name: grey, variant_of: chartqa, image_steps: [grey]}]\n"
    )
    assert (
        harness("run", "--suite", "perturbed.yaml", "--models", "majority-answer", "--limit", 4, "--out", "d")[0] == 0
    )
    checked(harness, "drops", "drops", "d")


def test_the_keys_of_the_gate(harness: Command, folder: Path) -> None:
    checked(harness, "nightly", "nightly", "gate.yaml")
    run = next((folder / "results").glob("smoke--majority*"))
    checked(harness, "baseline accept", "baseline", "accept", run)
    checked(harness, "baseline list", "baseline", "list")
    checked(harness, "baseline show", "baseline", "show", "smoke", "majority-answer")
    checked(harness, "history", "history")


def test_the_keys_of_training_converting_and_attributing(
    harness: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="the models extra is not installed")
    checked(harness, "train", "train", "RECIPE.yaml", "--out", "trained")
    torch.save({"model": {"visual_encoder.visual.class_embedding": torch.zeros(4)}}, folder / "weights.pth")
    checked(harness, "convert", "convert", "mplug", "weights.pth", "converted")
    import pandas as pd

    empty = SimpleNamespace(signature="s", summary=pd.DataFrame({"n": [1]}), samples=pd.DataFrame({"n": [1]}))
    monkeypatch.setattr("harness.engine.two_stage.attribute_errors", lambda *_, **__: empty)
    runs = sorted((folder / "results").glob("smoke--*"))
    checked(harness, "attribute", "attribute", *runs)


def test_the_keys_of_exchange_with_other_tools(harness: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(harness, "export", "export", "results", "--to", "parquet", "--out", "exported")
    from harness.store.runs import find_runs, read_run

    read = SimpleNamespace(run=read_run(find_runs(folder / "results")[0]), notes=())
    monkeypatch.setattr("harness.interop.vlmevalkit.import_vlmevalkit", lambda *_, **__: [read])
    checked(harness, "import", "import", "answers.xlsx")
    from harness.interop.lmms.suites import Written

    written = Written((Path("suites/lmms-eval.yaml"),), ())
    monkeypatch.setattr("harness.interop.lmms.suites.write_suite", lambda *_, **__: written)
    checked(harness, "lmms-suite", "lmms-suite", "tasks", "chartqa")
