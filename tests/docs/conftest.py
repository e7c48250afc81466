"""What the documents' tests share: the command line in this process, and a folder such as the documents talk of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

GATE = """\
suites: [smoke]
models: [majority-answer, random-choice]
subset: {first: 4}
out: results
"""


@pytest.fixture(scope="session")
def pattern_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, a gate, a recipe that trains in seconds."""
    from harness.engine.run import run_suite
    from harness.tasks.schema import Subset
    from tests.unit.training.making import recipe

    folder = tmp_path_factory.mktemp("pattern")
    run_suite("smoke", ["majority-answer", "random-choice"], out=folder / "results", subset=Subset(first=4))
    (folder / "docs" / "nightly").mkdir(parents=True)
    for place in (folder, folder / "docs" / "nightly"):
        (place / "gate.yaml").write_text(GATE)
    tiny = recipe(name="nano-wavelet-latex", optimiser={"learning_rate": 0.003, "batch": 2, "steps": 2, "warm_up": 1})
    (folder / "RECIPE.yaml").write_text(json.dumps(tiny.model_dump(mode="json", exclude_defaults=True)))
    return folder


@pytest.fixture
def folder(pattern_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working folder."""
    shutil.copytree(pattern_folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"
