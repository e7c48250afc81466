"""Imports go one way: the table of ARCHITECTURE.md, checked on the syntax tree of every module."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "harness"
RANKS = [
    {
        "records", "quick_records", "registry", "fingerprint", "provenance", "errors", "sample_ids", "codec",
        "yaml_files", "vocabulary", "version", "predictions", "mini",
    },
    {"cards", "tasks", "datasets", "models", "metrics", "store", "stats"},
    {"engine", "compare"},
    {"report", "nightly", "training", "interop"},
    {"cli"},
]  # fmt: skip
FREE = {"__init__", "__main__"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rank(part: str) -> int:
    return next(number for number, parts in enumerate(RANKS) if part in parts)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found |= {f"{node.module}.{name.name}" for name in node.names} if node.module == "harness" else set()
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name.split(".")[1] for name in found if name.startswith("harness.")}


def test_every_part_of_the_package_has_a_rank() -> None:
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")} - FREE
    assert parts <= set().union(*RANKS)


def test_no_module_imports_upwards_or_from_a_neighbour() -> None:
    wrong: list[str] = []
    for path in PACKAGE.rglob("*.py"):
        part = part_of(path)
        if part in FREE:
            continue
        for other in imports(path) - FREE - {part}:
            allowed = rank(other) < rank(part) or (rank(part) == 0 and rank(other) == 0)
            if not allowed:
                wrong.append(f"{path.relative_to(PACKAGE)} imports harness.{other}")
    assert wrong == []


def test_models_and_datasets_do_not_know_each_other() -> None:
    for path in (PACKAGE / "models").rglob("*.py"):
        assert "datasets" not in imports(path), path
    for path in (PACKAGE / "datasets").rglob("*.py"):
        assert "models" not in imports(path), path
