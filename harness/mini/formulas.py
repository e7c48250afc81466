"""Random short formulas as pictures and as tokenised LaTeX.

A picture is 128 x 48 grey, dark on white. LaTeX is canonical: tokens parted by one space, every script and argument in
braces, an index before a power. A formula has at most 12 tokens. Training and test formulas never meet: each formula
belongs to one side by its own checksum, whatever the seed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from harness.mini.canvas import Pixels
from harness.mini.streams import Dice, Split
from harness.mini.typesetting import (
    EM_PX,
    Box,
    fraction,
    glyph,
    ink_of,
    large_operator,
    part_size,
    root,
    row,
    script_size,
    scripts,
)

WIDTH_PX, HEIGHT_PX = 128, 48
MAX_TOKENS = 12
LETTERS = ("a", "b", "c", "k", "m", "n", "x", "y", "z")
GREEK = {"\\alpha": "α", "\\beta": "β", "\\theta": "θ", "\\pi": "π"}
DIGITS = tuple("0123456789")
SIGNS = {"+": "+", "-": "−", "=": "="}
FUNCTIONS = ("\\sin", "\\cos", "\\log")
OPERATORS = {"\\sum": "∑", "\\int": "∫"}
TOKENS = (*LETTERS, *GREEK, *DIGITS, *SIGNS, *FUNCTIONS, *OPERATORS, "\\frac", "\\sqrt", "(", ")", "^", "_", "{", "}")
"""All tokens a formula can have."""
_VARIABLES = (*LETTERS, *GREEK)


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula with its picture."""

    image: Pixels
    """(48, 128), 0 black to 255 white."""
    latex: str
    """Tokens parted by one space."""


def fold_of(latex: str) -> Split:
    """The side a formula belongs to, from its CRC-32: 1/8 `test`, 1/16 `validation`, the rest `train`."""
    remainder = zlib.crc32(latex.encode()) % 16
    return "test" if remainder < 2 else "validation" if remainder == 2 else "train"


def draw(rng: np.random.Generator, split: Split, max_tokens: int = MAX_TOKENS) -> Formula:
    """A random formula of the split with at most `max_tokens` tokens; about 0.05 ms.

    Raises:
        ValueError: if `max_tokens` is not within 3..12.
    """
    if not 3 <= max_tokens <= MAX_TOKENS:
        raise ValueError(f"max_tokens is {max_tokens}; give an integer within 3..{MAX_TOKENS}")
    dice = Dice(rng)
    while True:
        tokens = _sentence(dice, max_tokens)
        latex = " ".join(tokens)
        if fold_of(latex) != split:
            continue
        image = render(latex, left_px=dice.between(2, 6))
        if image is not None:
            return Formula(image, latex)


def render(latex: str, left_px: int = 4) -> Pixels | None:
    """The picture of a canonical formula with its ink from column `left_px` on; `None` if it is too large.

    Raises:
        ValueError: if the text is not of the canonical form, naming the token.
    """
    reader = _Reader(latex.split(" "))
    box = reader.row(EM_PX)
    if reader.at < len(reader.tokens):
        raise ValueError(f'formula "{latex}": unexpected token {reader.at + 1} "{reader.tokens[reader.at]}"')
    return ink_of(box, WIDTH_PX, HEIGHT_PX, left_px)


def _sentence(dice: Dice, max_tokens: int) -> list[str]:
    """Terms joined by signs, at most `max_tokens` tokens, at least one of them not a lone letter or digit."""
    goal = dice.between(3, max_tokens)
    tokens = _term(dice, goal)
    equal = False
    while len(tokens) + 2 <= goal and dice.chance(0.85):
        sign = dice.pick(("+", "-") if equal else ("+", "-", "="))
        equal = equal or sign == "="
        tokens += [sign, *_term(dice, goal - len(tokens) - 1)]
    return tokens if len(tokens) > 1 else _sentence(dice, max_tokens)


def _term(dice: Dice, room: int) -> list[str]:
    """One term of at most `room` tokens (at least 1)."""
    kind = dice.below(11)
    if kind < 3 and room >= 5:
        return [dice.pick(_VARIABLES), dice.pick(("^", "^", "_")), "{", _script(dice), "}"]
    if kind == 3 and room >= 9:
        return [dice.pick(_VARIABLES), "_", "{", _script(dice), "}", "^", "{", _script(dice), "}"]
    if kind == 4 and room >= 7:
        return ["\\frac", "{", *_inner(dice, (room - 5) // 2), "}", "{", *_inner(dice, (room - 5) // 2), "}"]
    if kind == 5 and room >= 4:
        return ["\\sqrt", "{", *_inner(dice, room - 3), "}"]
    if kind == 6 and room >= 2:
        return [dice.pick(FUNCTIONS), dice.pick(_VARIABLES)]
    if kind == 7 and room >= 6:
        return [dice.pick(tuple(OPERATORS)), "_", "{", dice.pick((*LETTERS, "0", "1")), "}", dice.pick(_VARIABLES)]
    if kind == 8 and room >= 5:
        return ["(", dice.pick(_VARIABLES), dice.pick(("+", "-")), _atom(dice), ")"]
    if kind == 9 and room >= 2:
        return [dice.pick(DIGITS[2:]), dice.pick(_VARIABLES)]
    return [_atom(dice)]


def _inner(dice: Dice, room: int) -> list[str]:
    """What stands under a root or in a fraction: an atom, a product, a power or a sum."""
    kind = dice.below(4)
    if kind == 0 and room >= 2:
        return [dice.pick(DIGITS[2:]), dice.pick(_VARIABLES)]
    if kind == 1 and room >= 3:
        return [dice.pick(_VARIABLES), dice.pick(("+", "-")), _atom(dice)]
    if kind == 2 and room >= 5:
        return [dice.pick(_VARIABLES), "^", "{", dice.pick(DIGITS[2:]), "}"]
    return [_atom(dice)]


def _atom(dice: Dice) -> str:
    return dice.pick(_VARIABLES) if dice.chance(0.7) else dice.pick(DIGITS)


def _script(dice: Dice) -> str:
    return dice.pick(DIGITS) if dice.chance(0.6) else dice.pick(_VARIABLES)


class _Reader:
    """Reads tokens from left to right and sets them."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self, wanted: str) -> None:
        if self._peek() != wanted:
            found = self._peek() or "its end"
            raise ValueError(
                f'formula "{" ".join(self.tokens)}": token {self.at + 1} is "{found}", expected "{wanted}"'
            )
        self.at += 1

    def row(self, em_px: float) -> Box:
        """Everything up to the closing brace or the end."""
        boxes: list[Box] = []
        while self._peek() not in ("", "}"):
            boxes.append(self._scripted(em_px, first=not boxes))
        if not boxes:
            raise ValueError(f'formula "{" ".join(self.tokens)}": nothing stands before token {self.at + 1}')
        return row(boxes)

    def _group(self, em_px: float) -> Box:
        self._take("{")
        box = self.row(em_px)
        self._take("}")
        return box

    def _scripted(self, em_px: float, *, first: bool) -> Box:
        base = self._nucleus(em_px, first=first)
        below = above = None
        if self._peek() == "_":
            self.at += 1
            below = self._group(script_size(em_px))
        if self._peek() == "^":
            self.at += 1
            above = self._group(script_size(em_px))
        return base if below is None and above is None else scripts(base, em_px, below, above)

    def _nucleus(self, em_px: float, *, first: bool) -> Box:
        token = self._peek()
        self.at += 1
        if token in LETTERS:
            return glyph(token, em_px, italic=True, pad=0.03)
        if token in GREEK:
            return glyph(GREEK[token], em_px, italic=True, pad=0.03)
        if token in DIGITS or token in ("(", ")"):
            return glyph(token, em_px, pad=0.02)
        if token in SIGNS:
            return glyph(SIGNS[token], em_px, pad=0.0 if first else 0.16)
        if token in FUNCTIONS:
            return glyph(token[1:], em_px, pad=0.08)
        if token in OPERATORS:
            return large_operator(OPERATORS[token], em_px)
        if token == "\\sqrt":
            return root(self._group(em_px), em_px)
        if token == "\\frac":
            upper = self._group(part_size(em_px))
            return fraction(upper, self._group(part_size(em_px)), em_px)
        raise ValueError(f'formula "{" ".join(self.tokens)}": token {self.at} "{token}" is not known here')
