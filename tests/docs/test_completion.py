"""What a shell completes, asked for as a shell asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import os, sys
sys.argv = ["harness"]
from harness.cli.main import main
try:
    main()
finally:
    heavy = {"torch", "transformers", "pandas", "matplotlib", "scipy"} & set(sys.modules)
    print("HEAVY", *sorted(heavy), file=sys.stderr)
"""


def completed(line: str, cwd: Path) -> list[str]:
    """Names for the last word of the line (an empty word after a blank)."""
    words = line.split()
    position = len(words) if line.endswith(" ") else len(words) - 1
    environment = {"_HARNESS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(position)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, cwd=cwd, capture_output=True, text=True)
    assert done.stderr.split() == ["HEAVY"], done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("harness run --suite smo", {"smoke"}),
        ("harness run --models random-choice,nano-l", {"random-choice,nano-llava"}),
        ("harness run --models blank", {"blank-image:"}),
        ("harness run --models blank-image:nano-l", {"blank-image:nano-llava"}),
        ("harness train nano-wavelet-l", {"nano-wavelet-latex"}),
        ("harness score chart", {"chartqa"}),
        ("harness compare-", {"compare-cards"}),
    ],
)
def test_names_are_completed_without_tensor_libraries(line: str, expected: set[str], tmp_path: Path) -> None:
    assert set(completed(line, tmp_path)) == expected


def test_own_cards_are_completed_and_a_broken_one_too(tmp_path: Path) -> None:
    (tmp_path / "model_cards").mkdir()
    (tmp_path / "model_cards" / "mine-1.yaml").write_text("nonsense: [")
    assert completed("harness cards check mine", tmp_path) == ["mine-1"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell: str, tmp_path: Path) -> None:
    environment = {"_HARNESS_COMPLETE": f"source_{shell}"}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.split() == ["HEAVY"], done.stderr
    assert "_HARNESS_COMPLETE" in done.stdout
    assert f"complete_{shell}" in done.stdout
