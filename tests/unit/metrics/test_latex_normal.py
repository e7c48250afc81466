r"""Wrappers, tokens and normalisers of formulas: worked examples, properties, agreement with im2latex-100k's tokens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.latex_normal import NORMALISERS, normalise, tokenise, unwrap


@pytest.mark.parametrize(
    ("text", "inner", "rule"),
    [
        ("x^2", "x^2", "bare"),
        ("  x^2\n", "x^2", "bare"),
        ("$$x^2$$", "x^2", "display-dollars"),
        ("$ x^2 $", "x^2", "dollars"),
        (r"\[ x \]", "x", "brackets"),
        (r"\( x \)", "x", "parentheses"),
        ("```latex\nx^2\n```", "x^2", "fence"),
        ("```x^2```", "x^2", "fence"),
        ("```tex\n$$x$$\n```", "x", "fence+display-dollars"),
        ("The formula is:\n```latex\nx\n```\nas you see.", "x", "fence"),
        ("```latex\nx^2", "x^2", "open-fence"),
        (r"\begin{equation} a = b \label{eq:1} \end{equation}", "a = b", "equation+label"),
        (r"\begin{equation*}a\end{equation*}", "a", "equation"),
        (r"\begin{displaymath}a\end{displaymath}", "a", "displaymath"),
        (r"x \label{a} + y\label{b}", "x   + y", "label"),
        (r"$\$5$", r"\$5", "dollars"),
    ],
)
def test_wrappers_come_off_and_are_named(text: str, inner: str, rule: str) -> None:
    assert unwrap(text) == (inner, rule)


@pytest.mark.parametrize(
    "text",
    [
        "$x$ and $y$",
        "$$x$$ or $$y$$",
        r"\[x\] \[y\]",
        r"\begin{equation}a\end{equation} \begin{equation}b\end{equation}",
        r"\begin{align} a &= b \end{align}",
        "```x``` or ```y```",
        r"price: \$5",
        r"x \\[2pt] y",
    ],
)
def test_what_does_not_enclose_one_formula_stays(text: str) -> None:
    assert unwrap(text) == (text, "bare")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (r"\frac{a}{b}", r"\frac { a } { b }"),
        (r"\alpha b\beta", r"\alpha b \beta"),
        (r"\left( x \right.", r"\left( x \right."),
        (r"\left\langle x \right \}", r"\left\langle x \right\}"),
        (r"\leftarrow(", r"\leftarrow ("),
        (r"\{a\}\,\\ \%", r"\{ a \} \, \\ \%"),
        (r"a\ b", r"a \ b"),
        ("a\\", "a \\"),
        (r"\begin {array}{lc}", r"\begin{array} { l c }"),
        (r"\operatorname*{lim}\pi*", r"\operatorname* { l i m } \pi *"),
        ("12.5", "1 2 . 5"),
        ("\n\t x\u00a0y \u2028", "x y"),
        ("", ""),
    ],
)
def test_tokens(text: str, tokens: str) -> None:
    assert " ".join(tokenise(text)) == tokens


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("x^{2}", "x^2"),
        (r"\frac{1}{2}", r"\frac12"),
        (r"\dfrac a b", r"\frac{a}{b}"),
        (r"\left( x \right)", "(x)"),
        (r"\bigl( x \bigr)", "(x)"),
        (r"\left. x \right|", "x |"),
        (r"a \, b ~ \quad c\ d", "abcd"),
        (r"a \le b \to c", r"a \leq b \rightarrow c"),
        (r"{{x}}_{{i}}", "x_i"),
        (r"x\sp 2", "x^2"),
    ],
)
def test_tokens_v1_forgives_what_whitespace_v1_counts(one: str, two: str) -> None:
    assert normalise(one, "tokens-v1").tokens == normalise(two, "tokens-v1").tokens
    assert normalise(one).tokens != normalise(two).tokens


@pytest.mark.parametrize(
    ("one", "two"), [("x^{10}", "x^10"), ("x^2_i", "x_i^2"), (r"\mathrm{x}", r"{\rm x}"), ("ab", "ba"), ("{}", "")]
)
def test_tokens_v1_stays_modest(one: str, two: str) -> None:
    assert normalise(one, "tokens-v1").tokens != normalise(two, "tokens-v1").tokens


def test_nothing_left_is_the_rule_empty() -> None:
    for text in ("", "  ", "$$$$", "```latex\n```", r"\label{a}"):
        assert normalise(text).rule == "empty"
        assert normalise(text).tokens == ()


def test_unknown_normaliser_is_refused() -> None:
    with pytest.raises(ValueError, match="known: whitespace-v1, tokens-v1"):
        normalise("x", "tokens-v9")


@pytest.mark.parametrize("normaliser", NORMALISERS)
@given(st.text(alphabet="\\{}$[]()^_ab1 \n`&~%.|", max_size=40))
def test_normalised_text_is_its_own_tokens(normaliser: str, text: str) -> None:
    formula = normalise(text, normaliser)
    assert formula.text.split() == list(formula.tokens)
    assert all(formula.tokens)
    assert (formula.rule == "empty") == (not formula.tokens)


@given(st.text(max_size=60))
def test_tokens_lose_nothing_but_white_space(text: str) -> None:
    assert "".join(tokenise(text)) == "".join(text.split())


def _despaced(tokens: list[str]) -> str:
    """The line without the spaces that LaTeX does not need."""
    line = ""
    for token in tokens:
        needed = re.search(r"\\[A-Za-z]+\*?$", line) and re.match(r"[A-Za-z*]", token)
        line += (" " if needed else "") + token + (" " if token == "\\" else "")
    return line


def test_tokens_of_despaced_im2latex_lines_are_those_of_its_normaliser(shared_data: Path) -> None:
    file = shared_data / "latex" / "im2latex100k_norm" / "val.formulas.norm.txt"
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    equal = sum(tokenise(_despaced(tokens)) == tokens for tokens in lines)
    assert len(lines) == 8469
    # the 31 others hold the normaliser's "--" or its "[object Object]"
    assert equal == 8438
