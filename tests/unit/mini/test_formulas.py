"""Formulas: canonical text, pictures without clipping, and disjoint training and test sides."""

from __future__ import annotations

import numpy as np
import pytest

from harness.mini import formulas
from harness.mini.formulas import TOKENS, fold_of, render
from harness.mini.streams import stream

N = 800


@pytest.fixture(scope="module")
def drawn() -> dict[str, formulas.Formula]:
    rng = stream(11, "formulas", "validation")
    return {f.latex: f for f in (formulas.draw(rng, "train") for _ in range(N))}


def test_text_is_known_tokens_with_single_spaces_and_balanced_braces(drawn):
    for latex in drawn:
        tokens = latex.split(" ")
        assert set(tokens) <= set(TOKENS), latex
        assert 2 <= len(tokens) <= 12, latex
        depth = 0
        for token in tokens:
            depth += (token == "{") - (token == "}")
            assert depth >= 0, latex
        assert depth == 0, latex


def test_every_token_occurs(drawn):
    assert {t for latex in drawn for t in latex.split(" ")} == set(TOKENS)


def test_every_length_up_to_the_limit_occurs_and_a_lower_limit_holds():
    rng = stream(12, "formulas", "validation")
    assert {len(formulas.draw(rng, "train").latex.split()) for _ in range(N)} == set(range(2, 13))
    assert max(len(formulas.draw(rng, "train", max_tokens=5).latex.split()) for _ in range(200)) == 5


def test_ink_never_touches_right_top_or_bottom_and_starts_in_the_left_margin(drawn):
    for formula in drawn.values():
        ink = formula.image < 255
        assert formula.image.shape == (48, 128)
        assert not ink[0].any()
        assert not ink[-1].any()
        assert not ink[:, -1].any()
        assert 2 <= int(np.flatnonzero(ink.any(axis=0))[0]) <= 7


def test_different_formulas_have_different_pictures(drawn):
    pictures = [render(latex, left_px=2) for latex in drawn]
    assert all(p is not None for p in pictures)
    assert len({p.tobytes() for p in pictures if p is not None}) == len(drawn)


def test_a_formula_too_wide_is_not_drawn_at_all():
    assert render(" + ".join("m" * 12)) is None


def test_powers_stand_higher_and_smaller_than_indices():
    power, index = render("x ^ { 2 }"), render("x _ { 2 }")
    assert power is not None
    assert index is not None
    right = slice(16, 40)
    rows_of = [np.flatnonzero((p[:, right] < 128).any(axis=1)) for p in (power, index)]
    base_of = [np.flatnonzero((p[:, 4:12] < 128).any(axis=1)) for p in (power, index)]
    assert rows_of[0].mean() < base_of[0].mean()
    assert rows_of[1].mean() > base_of[1].mean()


def test_numerator_bar_and_denominator_lie_above_each_other():
    image = render("\\frac { a } { 7 }")
    assert image is not None
    rows = (image < 200).sum(axis=1)
    bar = int(rows.argmax())
    assert rows[:bar].sum() > 20
    assert rows[bar + 1 :].sum() > 20
    assert 16 <= bar <= 32


def test_no_formula_is_on_two_sides_and_draws_keep_to_their_side():
    rng = stream(13, "formulas", "validation")
    for split in ("train", "validation", "test"):
        assert {fold_of(formulas.draw(rng, split).latex) for _ in range(100)} == {split}


@pytest.mark.parametrize(
    ("latex", "message"),
    [
        ("x ^ 2", 'token 3 is "2", expected "{"'),
        ("x ^ { 2", 'token 5 is "its end", expected "}"'),
        ("x }", 'unexpected token 2 "}"'),
        ("\\alpha \\gamma", 'token 2 "\\\\gamma" is not known'),
        ("\\sqrt { }", "nothing stands before token 3"),
    ],
)
def test_text_of_another_form_is_refused_with_the_token(latex, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{").replace("}", r"\}")):
        render(latex)


def test_a_limit_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="max_tokens is 13"):
        formulas.draw(stream(0, "formulas", "train"), "train", max_tokens=13)
