"""LaTeX answers drawn as SVG with matplotlib's mathtext, where it knows every command; the text is always shown too.

mathtext runs no TeX: an answer can at worst fail to be drawn. What it does not know is not drawn, and is not changed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from harness.metrics.latex_normal import tokenise, unwrap

LONGEST = 300
"""Characters of the longest answer that is drawn."""
_LETTER = re.compile(r"[A-Za-z]")


class Formulas:
    """Draws each formula once, however often it is answered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: dict[str, str | None] = {}

    def draw(self, text: str | None) -> str | None:
        """File name of the drawing in the folder; `None` for what mathtext cannot draw."""
        if not text or len(text) > LONGEST:
            return None
        if text not in self._done:
            self._done[text] = self._draw(compact(text))
        return self._done[text]

    def _draw(self, formula: str) -> str | None:
        from matplotlib import rc_context
        from matplotlib.mathtext import math_to_image

        if not formula or "$" in formula:
            return None
        name = f"formula-{hashlib.sha256(formula.encode('utf-8', 'replace')).hexdigest()[:16]}.svg"
        path = self._folder / name
        try:
            with rc_context({"svg.hashsalt": "formula", "svg.fonttype": "path"}):
                math_to_image(f"${formula}$", str(path), format="svg", dpi=100)
        except (ValueError, RuntimeError, OverflowError, RecursionError):
            path.unlink(missing_ok=True)
            return None
        _without_date(path)
        return name


def compact(text: str) -> str:
    """The formula inside its wrapping, without the spaces that keep mathtext from raising a script.

    A space stays where a command is followed by a letter.
    """
    tokens = tokenise(unwrap(text)[0])
    parts: list[str] = []
    for token in tokens:
        if parts and parts[-1].startswith("\\") and _LETTER.match(parts[-1][-1]) and _LETTER.match(token):
            parts.append(" ")
        parts.append(token)
    return "".join(parts)


def _without_date(path: Path) -> None:
    """Drop the time of drawing, so that the same runs give the same bytes."""
    drawn = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"<dc:date>.*?</dc:date>", "", drawn), encoding="utf-8", newline="\n")
