"""What the documents tell a new user to do, done as they would do it: in a new folder, with the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def command(folder: Path, *arguments: str, path: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)])), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_example_plugin_is_installed_listed_and_run(tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--target", str(site), str(ROOT / "examples" / "plugin")],
        check=True,
        capture_output=True,
    )  # fmt: skip
    listed = {row["name"]: row for row in json.loads(command(tmp_path, "list", "models", "--json", path=str(site)))}
    assert listed["colour-namer"]["state"] == "runs here"
    out = command(tmp_path, "run", "--suite", "smoke", "--models", "colour-namer,majority-answer", path=str(site))
    assert "colour-namer" in out
    assert "20/20" in out
    assert (tmp_path / "results").is_dir()


def test_the_plugin_is_as_short_as_the_documents_say() -> None:
    lines = (ROOT / "examples/plugin/harness_example_plugin/model.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 30


def test_a_card_for_a_local_checkpoint_is_all_a_new_model_needs(
    tmp_path: Path, tiny_checkpoints: dict[str, Path]
) -> None:
    cards = tmp_path / "model_cards"
    cards.mkdir()
    (tmp_path / "my-llava").symlink_to(tiny_checkpoints["llava"])
    (cards / "my-llava.yaml").write_text("name: my-llava\nrun:\n  family: llava\n  checkpoint: ../my-llava\n")
    assert "1 cards checked, 0 with faults" in command(tmp_path, "cards", "check", "my-llava")
    out = command(tmp_path, "run", "--suite", "smoke", "--models", "my-llava,blank-image:my-llava,random-choice")
    for name in ("my-llava", "blank-image:my-llava", "random-choice"):
        assert name in out
    assert out.count("20/20") >= 3


def test_a_model_of_a_class_that_no_card_knows_needs_the_documents_card_and_no_code(
    tmp_path: Path, tiny_checkpoints: dict[str, Path]
) -> None:
    text = (ROOT / "docs/models.md").read_text()
    card = next(block for block in text.split("```") if block.startswith("yaml\nname: my-chat-model")).removeprefix(
        "yaml\n"
    )
    assert len(card.splitlines()) <= 10
    cards = tmp_path / "model_cards"
    cards.mkdir()
    (tmp_path / "my-chat-model").symlink_to(tiny_checkpoints["idefics3"])
    (cards / "my-chat-model.yaml").write_text(card)
    assert "1 cards checked, 0 with faults" in command(tmp_path, "cards", "check", "my-chat-model")
    out = command(tmp_path, "run", "--suite", "smoke", "--models", "my-chat-model,blank-image:my-chat-model")
    assert out.count("20/20") >= 2


def test_a_file_of_answers_takes_part_as_a_model(tmp_path: Path) -> None:
    import harness

    samples = list(harness.open_dataset("chartqa").samples("test"))[:20]
    rows = [json.dumps({"sample_id": s.sample_id, "text": s.references[0]}) for s in samples[:19]]
    (tmp_path / "answers.jsonl").write_text("\n".join(rows) + "\n")
    cards = tmp_path / "model_cards"
    cards.mkdir()
    (cards / "theirs.yaml").write_text(
        "name: theirs\nrun:\n  family: predictions\n  options: {path: ../answers.jsonl}\n"
    )
    out = command(tmp_path, "run", "--suite", "smoke", "--models", "theirs")
    assert "19/20" in out
    assert "no_prediction x1" in out


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/models.md"])
def test_every_harness_command_in_the_documents_exists(document: str) -> None:
    """Each line `harness VERB …` parses as far as `--help` does: the verb and all its options are there."""
    for line in (ROOT / document).read_text().splitlines():
        words = line.strip().removeprefix("$ ").split()
        if not words or words[0] != "harness" or len(words) < 2:
            continue
        verb = [w for w in words[1:3] if w.isalpha()] if words[1] in ("cards", "data", "baseline") else words[1:2]
        text = command(ROOT, *verb, "--help")
        for option in (w.split("=")[0] for w in words if w.startswith("--")):
            assert option in text, f"{document}: {line}: no option {option}"
