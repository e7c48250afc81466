"""What the benchmarks measure, as figures beside their goals: one JSON file for each, one table of all."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

PACKAGES = ("torch", "transformers", "numpy", "pycocoevalcap", "lmms_eval", "ray", "pyarrow")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    what: str
    value: float
    unit: str = "x"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def goal(self) -> str:
        """The goal in words; empty where there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return f"at least {self.at_least:g}" if self.at_least is not None else ""

    @property
    def reached(self) -> str:
        """`yes`, `NO`, or empty without a goal."""
        if not self.goal:
            return ""
        low = self.at_least is None or self.value >= self.at_least
        return "yes" if low and (self.at_most is None or self.value <= self.at_most) else "NO"


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--json FILE` for the figures of a benchmark."""
    parser.add_argument("--json", type=Path, help="file for the figures, as benchmarks/targets.py reads them")


def write(path: Path | None, figures: Iterable[Figure]) -> None:
    """The figures into `path`, where one is given."""
    if path is not None:
        path.write_text(json.dumps([asdict(figure) for figure in figures]))


def read(path: Path) -> list[Figure]:
    """The figures of a file."""
    return [Figure(**content) for content in json.loads(path.read_text())]


def machine() -> str:
    """Processor, cores, system, Python and the versions of what is measured."""
    from harness.provenance import hardware

    found = hardware()
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} absent")
    memory = (found["memory_bytes"] or 0) / 2**30
    return (
        f"{found['processor']}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.platform()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}"
    )
