"""A reasoner without weights: questions about a table answered by rules, for the second stage of a chart model.

It reads the prompt of `pipeline` (instruction, table, `Q:`, `A:`) and knows look-ups, extremes, sums, differences,
counts and comparisons in the words of the mini generator's questions. A question that no rule knows, or a label that is
not in the table, is answered with `unknown`, which is a wrong answer and no missing one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.errors import ModelError
from harness.models.base import Generation, Model, ModelInput, checked_options
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem

UNKNOWN = "unknown"
RULE = "look-up, extreme, sum, difference, count, comparison over the last table of the prompt|v1"


class TableRules(Model):
    """Rules over a table that stands in the prompt."""

    family = "table-rules"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Text alone."""
        return Capabilities(min_images=0, max_images=0, reads_pixels=False)

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """The rules by name and version."""
        checked_options(settings, cls.options_type)
        if settings.checkpoint:
            raise ModelError(f"{settings.name}: family {cls.family} has no weights; take run.checkpoint out")
        return ModelIdentity(settings, "no weights", {"rule": RULE})

    @classmethod
    def load(cls, settings: ModelSettings) -> TableRules:
        """The rules; there is nothing to load."""
        cls.identify(settings)
        return cls(settings)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        """One answer for each prompt."""
        batch: Sequence[ModelInput] = prepared
        return [_answered(item) for item in batch]


def _answered(item: ModelInput) -> Generation | Problem:
    found = re.search(r"(?s)\n\n((?:(?!\n\n).)*)\n\nQ: (.*?)(?:\n.*)?\nA:\s*$", item.request.prompt)
    if found is None:
        return Problem(
            "unsupported_input", "the prompt has no table with Q: and A: after it, as family pipeline makes it"
        )
    return Generation(answer(found[1], found[2]))


def answer(table: str, question: str) -> str:
    """The answer to a question about a table (rows by line or `<0x0A>`, cells by ` | `), or `unknown`."""
    rows = [[cell.strip() for cell in line.split("|")] for line in table.replace("<0x0A>", "\n").splitlines()]
    cells = [row for row in rows if len(row) == 2]
    title = cells[0][1] if cells else ""
    values: dict[str, float] = {}
    for label, text in cells[1:]:
        try:
            values[label] = float(text)
        except ValueError:
            continue
    for pattern, rule in _RULES:
        found = re.fullmatch(pattern, question.strip())
        if found is not None:
            try:
                return rule(title, values, found.groups())
            except (KeyError, ValueError, StopIteration):
                return UNKNOWN
    return UNKNOWN


Rule = Callable[[str, Mapping[str, float], Sequence[str]], str]


def _number(value: float) -> str:
    return f"{value:g}"


def _extreme(values: Mapping[str, float], word: str) -> str:
    return (max if word == "highest" else min)(values, key=lambda label: values[label])


_RULES: tuple[tuple[str, Rule], ...] = (
    (
        r"What is the sum of the highest and the lowest value\?",
        lambda _, v, g: _number(max(v.values()) + min(v.values())),
    ),
    (r"What is the sum of (\S+) and (\S+)\?", lambda _, v, g: _number(v[g[0]] + v[g[1]])),
    (r"What is the difference between (\S+) and (\S+)\?", lambda _, v, g: _number(abs(v[g[0]] - v[g[1]]))),
    (r"Which item has the (highest|lowest) value\?", lambda _, v, g: _extreme(v, g[0])),
    (r"How many items are shown in the chart\?", lambda _, v, g: str(len(v))),
    (
        r"How many items have a value greater than (\S+)\?",
        lambda _, v, g: str(sum(x > float(g[0]) for x in v.values())),
    ),
    (
        r"Is the value of (\S+) greater than the value of (\S+)\?",
        lambda _, v, g: "Yes" if v[g[0]] > v[g[1]] else "No",
    ),
    (r"What is the value of (\S+)\?", lambda _, v, g: _number(v[g[0]])),
    (r"Which item has a value of (\S+)\?", lambda _, v, g: next(a for a, x in v.items() if x == float(g[0]))),
    (r"What is the title of the chart\?", lambda title, _v, _g: title),
)
"""Question pattern → rule from title, values and what the pattern caught; the first that fits answers."""
