"""The way out to other tools and in from them: exports of sealed runs, imports of foreign results, Jupyter."""

from __future__ import annotations

from harness.errors import HarnessError


class InteropError(HarnessError):
    """Runs that cannot be written in another tool's form, or a foreign result that cannot be read."""
