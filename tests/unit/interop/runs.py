"""Runs to export: the committed controls, and copies of one that are changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.records import RunRecord
from harness.store.runs import read_run

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
(MAJORITY,) = (REFERENCE / "mini").glob("mini--majority-answer--*")
(NEIGHBOUR,) = (REFERENCE / "mini").glob("mini--nearest-neighbour--*")


def record() -> RunRecord:
    return read_run(MAJORITY).record


def changed(folder: Path, change: Callable[[dict[str, Any]], None], source: Path = MAJORITY) -> Path:
    """A copy of a run in `folder` whose record `change` has edited."""
    copy = folder / source.name
    shutil.copytree(source, copy)
    content = json.loads((copy / "record.json").read_text(encoding="utf-8"))
    change(content)
    (copy / "record.json").write_text(json.dumps(content), encoding="utf-8")
    return copy
