r"""From an answer to the tokens of a formula: wrappers off, tokens out, spellings made alike. All of it is versioned.

`unwrap` (version `wrappers-v1`) takes off, from the outside in, whatever encloses the whole text: a code fence (alone,
or the only one within prose), `$$…$$`, `$…$`, `\[…\]`, `\(…\)` and the environments equation, displaymath and math; and
every `\label{…}`, which im2latex references carry and no picture shows. Environments with a layout of their own (align,
gather, array) stay. References and predictions are treated alike.

`tokenise` follows the tokens of the im2latex-100k normaliser: a command, an escaped character, `\left` or `\right` with
its delimiter, `\begin{name}`, or one character; white space only ends a command. Spaces inside `\text{…}` are lost, and
a `%` is a token, not a comment.

Normalisers: `whitespace-v1` is the tokens as written, so that only spacing and line breaks are forgiven.
`tokens-v1` also drops what changes size or spacing alone (`\left`, `\bigl`, `\,`, `~`, `\quad`), the braces around
a single token (`x^{2}` is `x^2`, `\frac12` is `\frac{1}{2}`) and synonyms (`\le` is `\leq`, `\dfrac` is `\frac`). It
leaves `{\rm x}` and `\mathrm{x}`, the order of sub- and superscripts, and primes as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WRAPPERS_VERSION = "wrappers-v1"
NORMALISERS = ("whitespace-v1", "tokens-v1")

_FENCE = re.compile(
    r"```(?:[ \t]*(?:latex|tex|math|katex)\b|[ \t]*[A-Za-z]*[ \t]*\n)?(.*?)```", re.DOTALL | re.IGNORECASE
)
_ENVIRONMENT = re.compile(r"\\begin\s*\{(equation\*?|displaymath|math)\}(.*)\\end\s*\{\1\}", re.DOTALL)
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")
_DELIMITED = (
    ("display-dollars", re.compile(r"\$\$(.*)\$\$", re.DOTALL)),
    ("dollars", re.compile(r"\$(.*)\$", re.DOTALL)),
    ("brackets", re.compile(r"\\\[(.*)\\\]", re.DOTALL)),
    ("parentheses", re.compile(r"\\\((.*)\\\)", re.DOTALL)),
)
_CLOSED_INSIDE = re.compile(r"(?<!\\)(?:\\\\)*(?:\$|\\[\[\]()])")
"""A delimiter inside the delimiters: the text is several formulas, not one in a wrapper."""

_TOKEN = re.compile(
    r"\\(?:begin|end)\s*\{[^{}]*\}"
    r"|\\(?:left|right)(?![A-Za-z])\s*(?:\\[A-Za-z]+|\\\S|[^\s\\])"
    r"|\\operatorname\*"
    r"|\\[A-Za-z]+"
    r"|\\(?=\s|$)"  # the control space, written \ as in im2latex-100k
    r"|\\."
    r"|\S",
    re.DOTALL,
)
_INNER_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula as it is compared."""

    tokens: tuple[str, ...]
    rule: str
    """What was taken off, from the outside in, such as `fence+dollars+label`; `bare` or `empty`."""

    @property
    def text(self) -> str:
        """The tokens with single spaces between them."""
        return " ".join(self.tokens)


def unwrap(text: str) -> tuple[str, str]:
    """The formula without what encloses it, and the names of what was taken off (`bare` for nothing)."""
    rules: list[str] = []
    text, labels = _LABEL.subn(" ", text)
    text = text.strip()
    while True:
        inner, rule = _outermost(text)
        if not rule:
            break
        text = inner.strip()
        rules.append(rule)
    if labels:
        rules.append("label")
    return text, "+".join(rules) or "bare"


def _outermost(text: str) -> tuple[str, str]:
    fences = _FENCE.findall(text)
    if len(fences) == 1:
        return str(fences[0]), "fence"
    if text.startswith("```") and text.count("```") == 1:  # the answer was cut before the fence closed
        return str(_FENCE.findall(text + "```")[0]), "open-fence"
    environment = _ENVIRONMENT.fullmatch(text)
    if environment and environment[2].count(f"\\begin{{{environment[1]}}}") == 0:
        return environment[2], environment[1].rstrip("*")
    for name, pattern in _DELIMITED:
        found = pattern.fullmatch(text)
        if found and not _CLOSED_INSIDE.search(found[1]):
            return found[1], name
    return text, ""


def tokenise(text: str) -> list[str]:
    """The LaTeX tokens of `text`; no token holds white space."""
    return [_INNER_SPACE.sub("", token) for token in _TOKEN.findall(text)]


def normalise(text: str, normaliser: str = NORMALISERS[0]) -> Formula:
    """The formula in an answer or reference, by one of `NORMALISERS`."""
    inner, rule = unwrap(text)
    tokens = tokenise(inner)
    if normaliser == "tokens-v1":
        tokens = _without_single_groups(_plain(tokens))
    elif normaliser != "whitespace-v1":
        raise ValueError(f'no LaTeX normaliser "{normaliser}"; known: {", ".join(NORMALISERS)}')
    return Formula(tuple(tokens), rule if tokens else "empty")


_SYNONYMS = {
    r"\le": r"\leq",
    r"\ge": r"\geq",
    r"\ne": r"\neq",
    r"\to": r"\rightarrow",
    r"\gets": r"\leftarrow",
    r"\land": r"\wedge",
    r"\lor": r"\vee",
    r"\lnot": r"\neg",
    r"\owns": r"\ni",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\lbrack": "[",
    r"\rbrack": "]",
    r"\vert": "|",
    r"\Vert": r"\|",
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
    r"\dbinom": r"\binom",
    r"\tbinom": r"\binom",
    r"\sp": "^",
    r"\sb": "_",
}
_SPACES = frozenset(["~", "\\", *(rf"\{name}" for name in (",", ":", ";", "!", ">", "quad", "qquad", "thinspace"))])
_SIZES = frozenset(rf"\{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m")) | {
    r"\middle"
}
_SIDE = re.compile(r"\\(?:left|right)(?![A-Za-z])(.+)", re.DOTALL)


def _plain(tokens: list[str]) -> list[str]:
    plain = []
    for token in tokens:
        side = _SIDE.fullmatch(token)
        if side:
            token = "" if side[1] == "." else side[1]
        if token and token not in _SPACES and token not in _SIZES:
            plain.append(_SYNONYMS.get(token, token))
    return plain


def _without_single_groups(tokens: list[str]) -> list[str]:
    kept: list[str] = []
    for token in tokens:
        kept.append(token)
        while len(kept) >= 3 and kept[-1] == "}" and kept[-3] == "{" and kept[-2] not in ("{", "}"):
            kept[-3:] = [kept[-2]]
    return kept
