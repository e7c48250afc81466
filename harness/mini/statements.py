"""Statements about two scenes, true or false, in the form of NLVR2.

As there, one sentence is judged on four pairs of pictures, and is true of two of them, so that the sentence alone says
nothing. Each set of four pairs carries two sentences, as many sets of NLVR2 do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.mini.canvas import Pixels
from harness.mini.scenes import COLOURS, SHAPES, Layout, Thing, plan, render, with_article
from harness.mini.streams import Dice

PAIRS = 4
Pair = tuple[Layout, Layout]
_NUMBERS = ("one", "two", "three", "four", "five", "six")


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that is true or false of a pair of scenes."""

    sentence: str
    holds: Callable[[Layout, Layout], bool]
    """Whether it is true of a left and a right scene."""


@dataclass(frozen=True, slots=True)
class Group:
    """Four pairs of scenes and the sentences judged on all of them."""

    pairs: tuple[Pair, ...]
    sentences: tuple[str, ...]
    truth: tuple[tuple[bool, ...], ...]
    """(sentences, pairs): two of each row are true."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One pair of pictures with one sentence."""

    left: Pixels
    """(64, 64, 3) RGB."""
    right: Pixels
    sentence: str
    truth: bool
    layouts: Pair


def draw(rng: np.random.Generator) -> Judged:
    """A random pair with a sentence, true or false equally often for every sentence; about 0.3 ms."""
    dice = Dice(rng)
    statement, truth = _statement(dice), dice.chance(0.5)
    pair = _pair_with(dice, statement, truth)
    return Judged(render(pair[0]), render(pair[1]), statement.sentence, truth, pair)


def group(dice: Dice, sentences: int = 2) -> Group:
    """Four random pairs with the given number of sentences, each true of exactly two of them."""
    while True:
        first = _statement(dice)
        pairs = [_pair_with(dice, first, truth) for truth in dice.shuffled((True, True, False, False))]
        if len(set(pairs)) < PAIRS:
            continue
        kept = [first]
        for _ in range(200):
            if len(kept) == sentences:
                break
            other = _statement(dice)
            if other.sentence not in {s.sentence for s in kept} and sum(other.holds(*p) for p in pairs) == PAIRS // 2:
                kept.append(other)
        if len(kept) == sentences:
            truth = tuple(tuple(s.holds(*p) for p in pairs) for s in kept)
            return Group(tuple(pairs), tuple(s.sentence for s in kept), truth)


def about(dice: Dice, pair: Pair) -> tuple[str, bool]:
    """A random sentence about a pair that is there already, and whether it holds; for training, where the truth of a
    sentence need not be balanced."""
    statement = _statement(dice)
    return statement.sentence, statement.holds(*pair)


def _pair_with(dice: Dice, statement: Statement, truth: bool) -> Pair:
    while True:
        pair = (plan(dice), plan(dice))
        if statement.holds(*pair) == truth:
            return pair


def _statement(dice: Dice) -> Statement:
    return dice.pick(_FORMS)(dice)


Test = Callable[[Thing], bool]


def _kind(dice: Dice) -> tuple[str, Test]:
    """A noun in the singular and what it means: a shape, a coloured shape, or a size."""
    form = dice.below(3)
    if form == 0:
        shape = dice.pick(SHAPES)
        return shape, lambda t: t.shape == shape
    if form == 1:
        colour = dice.pick(tuple(COLOURS))
        return f"{colour} shape", lambda t: t.colour == colour
    size = dice.pick(("small", "large"))
    return f"{size} shape", lambda t: t.size == size


def _has(layout: Layout, test: Test) -> bool:
    return any(test(t) for t in layout.things)


def _at_least_one(dice: Dice) -> Statement:
    noun, test = _kind(dice)
    return Statement(
        f"At least one image contains {with_article(noun)}.", lambda left, right: _has(left, test) or _has(right, test)
    )


def _both(dice: Dice) -> Statement:
    noun, test = _kind(dice)
    return Statement(
        f"Both images contain {with_article(noun)}.", lambda left, right: _has(left, test) and _has(right, test)
    )


def _exactly_one_image(dice: Dice) -> Statement:
    noun, test = _kind(dice)
    return Statement(
        f"Exactly one of the images contains {with_article(noun)}.",
        lambda left, right: _has(left, test) != _has(right, test),
    )


def _neither(dice: Dice) -> Statement:
    noun, test = _kind(dice)
    return Statement(
        f"Neither image contains {with_article(noun)}.", lambda left, right: not (_has(left, test) or _has(right, test))
    )


def _one_side(dice: Dice) -> Statement:
    noun, test = _kind(dice)
    side = dice.pick((0, 1))
    return Statement(
        f"The {('left', 'right')[side]} image contains {with_article(noun)}.",
        lambda left, right: _has((left, right)[side], test),
    )


def _side_count(dice: Dice) -> Statement:
    side, number = dice.pick((0, 1)), dice.between(1, 3)
    noun = "shape" if number == 1 else "shapes"
    return Statement(
        f"The {('left', 'right')[side]} image contains exactly {_NUMBERS[number - 1]} {noun}.",
        lambda left, right: len((left, right)[side].things) == number,
    )


def _total(dice: Dice) -> Statement:
    number = dice.between(3, 5)
    return Statement(
        f"There are exactly {_NUMBERS[number - 1]} shapes in the two images together.",
        lambda left, right: len(left.things) + len(right.things) == number,
    )


def _compare(dice: Dice) -> Statement:
    if dice.chance(0.5):
        sentence = "The left image contains more shapes than the right image."
        return Statement(sentence, lambda left, right: len(left.things) > len(right.things))
    if dice.chance(0.5):
        sentence = "The right image contains more shapes than the left image."
        return Statement(sentence, lambda left, right: len(right.things) > len(left.things))
    sentence = "The two images contain the same number of shapes."
    return Statement(sentence, lambda left, right: len(left.things) == len(right.things))


def _all_alike(dice: Dice) -> Statement:
    side, size = dice.pick((0, 1)), dice.pick(("small", "large"))
    return Statement(
        f"Every shape in the {('left', 'right')[side]} image is {size}.",
        lambda left, right: all(t.size == size for t in (left, right)[side].things),
    )


_FORMS: tuple[Callable[[Dice], Statement], ...] = (
    *(_at_least_one, _both, _exactly_one_image, _neither, _one_side),
    *(_side_count, _total, _compare, _all_alike),
)
