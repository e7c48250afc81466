"""The README's Python and YAML are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no {language} block"
    return found[1]


def test_the_python_of_the_readme_runs_and_prints_values(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", block("python")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "relaxed_accuracy" in done.stdout
    assert "n_scored" in done.stdout


def test_the_card_of_the_readme_is_sound(tmp_path: Path) -> None:
    from harness.cards.loading import load_card

    path = tmp_path / "my-llava.yaml"
    path.write_text(block("yaml"))
    assert load_card(path).settings().checkpoint == str(tmp_path / "checkpoints" / "my-llava")


def test_the_two_commands_open_the_readme() -> None:
    commands = re.findall(r"```\n(.*?)\n```", README, re.DOTALL)[:2]
    assert commands == ["python -m pip install tox && tox run -e demo", "python -m pip install tox && tox"]
