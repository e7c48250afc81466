"""Choosing among a request's options by one score for each: what can be chosen, and the answer that says so."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.errors import ModelError
from harness.models.base import LETTERS, Generation
from harness.records import Problem


def nothing_to_choose(choices: Sequence[str]) -> Problem | None:
    """Why there is no choice: fewer than two options, or one without text."""
    if len(choices) < 2:
        return Problem("unsupported_input", f"{len(choices)} options; two or more can be ranked")
    if not all(choice.strip() for choice in choices):
        return Problem("unsupported_input", "an option has no text, so it has no score")
    return None


def chosen(choices: Sequence[str], scores: Sequence[float], prompt_tokens: int | None = None) -> Generation:
    """The option with the highest score, the first of equals: its letter, or its text where there are over 26.

    Raises:
        ModelError: a score is no number.
    """
    if any(math.isnan(score) for score in scores):
        raise ModelError(f"scores of the options are no numbers: {', '.join(map(str, scores))}")
    best = max(range(len(scores)), key=scores.__getitem__)
    text = LETTERS[best] if len(choices) <= len(LETTERS) else choices[best]
    return Generation(text, prompt_tokens, choice_scores=tuple(scores))
