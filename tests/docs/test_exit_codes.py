"""Each class of exit codes that docs/reference/exit-codes.md names, by an example."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command

BAD_CARD = "name: wrong\nrun: {famly: llava}\n"


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (0, ["--version"]),
        (0, ["list", "suites"]),
        (0, ["show", "results"]),
        (1, ["cards", "check", "wrong.yaml"]),
        (2, []),
        (2, ["fly"]),
        (2, ["list", "modles"]),
        (2, ["run", "--suite", "smoke", "--models", "nobody"]),
        (2, ["run", "--suite", "smoke", "--models", "gone.yaml", "--out", "new"]),
        (2, ["show", "nowhere"]),
        (2, ["compare", "results/nothing"]),
        (2, ["cards", "schema", "--jsn"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_the_exit_code_is_the_documented_one(
    harness: Command, folder: Path, expected: int, arguments: list[str]
) -> None:
    (folder / "wrong.yaml").write_text(BAD_CARD)
    (folder / "gone.yaml").write_text("name: gone\nrun: {family: predictions, options: {path: ./nothing.jsonl}}\n")
    assert harness(*arguments)[0] == expected


def test_faults_of_data_are_findings(harness: Command, chart_data: Path) -> None:
    assert harness("data", "check", "chartqa", "--data", chart_data)[0] == 1


def test_an_interrupt_is_2_and_a_reader_that_stops_is_0(tmp_path: Path) -> None:
    code = "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from harness.engine import catalogue\n"
    interrupted = code + "catalogue.suites = lambda: os.kill(os.getpid(), signal.SIGINT) or []\n"
    start = "sys.argv = ['harness', 'list', 'suites']\nfrom harness.cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", interrupted + start], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "interrupted" in done.stderr
    closing = "import os, sys\nread, write = os.pipe()\nos.dup2(write, 1)\nos.close(read)\n" + start
    done = subprocess.run([sys.executable, "-c", closing], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
