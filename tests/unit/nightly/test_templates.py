"""The templates of docs/nightly work: the workflow's script is run, the others are read by their own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.nightly.config import load_config

TEMPLATES = Path(__file__).resolve().parents[3] / "docs" / "nightly"


def workflow() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((TEMPLATES / "github-actions.yaml").read_text())
    return content


def script(name: str) -> str:
    (step,) = [step for step in workflow()["jobs"]["gate"]["steps"] if step.get("name") == name]
    text: str = step["run"]
    return text


@pytest.fixture
def fake(tmp_path: Path) -> dict[str, str]:
    """An environment in which `harness` notes its arguments, leaves findings and exits with CODE."""
    program = tmp_path / "bin" / "harness"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/bash\necho "$@" >> asked\n'
        '[ "$1" = nightly ] || exit 0\n'
        '[ "$CODE" = 3 ] && exit 2\n'
        'mkdir -p "$OUT/nightly"; echo "# found" > "$OUT/nightly/latest.md"; exit "$CODE"\n'
    )
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "OUT": "results",
        "GATE": "gate.yaml",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "step"),
    }


@pytest.mark.parametrize(("code", "exits"), [(0, 0), (1, 1), (2, 2), (3, 2)])
def test_the_workflow_shows_the_summary_and_keeps_the_exit_code(
    tmp_path: Path, fake: dict[str, str], code: int, exits: int
) -> None:
    old = tmp_path / "results" / "nightly" / "latest.md"
    old.parent.mkdir(parents=True)
    old.write_text("# of another night\n")
    command = ["bash", "-e", "-o", "pipefail", "-c", script("Gate")]
    done = subprocess.run(command, cwd=tmp_path, env={**fake, "CODE": str(code)}, check=False)
    assert done.returncode == exits
    wanted = "The gate did not get as far as findings; see the log of this step.\n" if code == 3 else "# found\n"
    assert (tmp_path / "step").read_text() == wanted


def test_the_workflow_accepts_the_runs_it_is_given(tmp_path: Path, fake: dict[str, str]) -> None:
    environment = {**fake, "CODE": "0", "ACCEPT": "a b", "WHO": "me"}
    subprocess.run(["bash", "-e", "-c", script("Accept")], cwd=tmp_path, env=environment, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[:3] for line in asked] == [
        ["baseline", "accept", "results/a"],
        ["baseline", "accept", "results/b"],
    ]


def test_the_workflow_and_the_gate_speak_of_one_folder() -> None:
    content = workflow()
    root = TEMPLATES.parents[1]
    loaded = load_config(root / content["env"]["GATE"])
    assert loaded.out == root / content["env"]["OUT"]
    assert loaded.reports == loaded.out / "nightly"


def test_the_shell_templates_parse() -> None:
    subprocess.run(["bash", "-n", str(TEMPLATES / "nightly.sbatch")], check=True)
    (line,) = [t for t in (TEMPLATES / "crontab").read_text().splitlines() if t.startswith("17 2 * * *")]
    subprocess.run(["bash", "-n", "-c", line.removeprefix("17 2 * * *")], check=True)


def test_systemd_accepts_the_units() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        ["systemd-analyze", "calendar", "*-*-* 02:17:00"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "OnCalendar=*-*-* 02:17:00" in (TEMPLATES / "harness-nightly.timer").read_text()
