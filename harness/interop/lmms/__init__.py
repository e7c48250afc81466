"""lmms-eval both ways: its tasks as suites of ours, our cards as its models, its logs as marked runs.

Needs the package lmms-eval 0.7 and the extra `lmms`; nothing here is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

from harness.interop import InteropError

INSTALL = 'pip install "vlm-harness[lmms]" && pip install --no-deps "lmms-eval==0.7.3"'
PREFIX = "lmms-eval"
"""Name of the data set and of the metric."""


def part(name: str) -> Any:
    """The module `lmms_eval.NAME`.

    Raises:
        InteropError: it is not installed, or something that it imports is not.
    """
    try:
        return importlib.import_module(f"lmms_eval.{name}")
    except ImportError as error:
        raise InteropError(f"lmms-eval cannot be used here ({error}); {INSTALL}") from error


def installed_version() -> str:
    """Version of the installed package, for signatures; `not installed` where it is not."""
    try:
        return importlib.metadata.version("lmms_eval")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
