"""The documents as tests read them: fenced blocks with the mark that stands before each, and the lines of commands."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("harness", "python", "tox")
SHELLS = ("console", "bash", "shell", "sh")
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+?) -->\n)?^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_EXITS = re.compile(r"exits ([12]): .+")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    where: str
    language: str
    title: str
    mark: str
    body: str

    @property
    def is_commands(self) -> bool:
        first = (self.body.split() or [""])[0]
        return not self.title and (self.language in SHELLS or (not self.language and first in PROGRAMS))

    @property
    def is_included(self) -> bool:
        return self.body.startswith("--8<--")

    @property
    def is_run(self) -> bool:
        return not self.mark.startswith("not run")

    @property
    def exit_code(self) -> int:
        match = _EXITS.fullmatch(self.mark)
        return int(match[1]) if match else 0

    @property
    def commands(self) -> list[list[str]]:
        """Words of each command; `a && b` is two."""
        found: list[list[str]] = []
        for line in self.body.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while "&&" in words:
                found.append(words[: words.index("&&")])
                words = words[words.index("&&") + 1 :]
            found.append(words)
        return [words for words in found if words]


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("info")) + 1
        title = re.search(r'title="([^"]+)"', match["info"])
        found.append(
            Block(
                f"{document.relative_to(ROOT)}:{line}",
                (match["info"].split() or [""])[0],
                title[1] if title else "",
                match["mark"] or "",
                match["body"],
            )
        )
    return found
