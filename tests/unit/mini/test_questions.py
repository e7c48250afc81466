"""Multiple-choice questions, statements and school questions agree with an independent reader of pixels and words."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from harness.mini import questions, science, statements
from harness.mini.charts import Colour
from harness.mini.scenes import COLOURS
from harness.mini.streams import Dice, stream
from tests.unit.mini.reading import answer, judge, see

N = 500


@pytest.fixture(scope="module")
def asked() -> list[questions.Asked]:
    rng = stream(11, "questions", "validation")
    return [questions.draw(rng) for _ in range(N)]


def test_the_marked_option_is_the_answer_seen_in_the_pixels(asked):
    for item in asked:
        question = item.question
        assert question.options[question.answer] == answer(question.question, see(item.image)), question


def test_options_differ_and_every_kind_and_number_of_options_occurs(asked):
    assert all(len(set(a.question.options)) == len(a.question.options) for a in asked)
    assert {a.question.kind for a in asked} == set(questions.KINDS)
    assert set(Counter(len(a.question.options) for a in asked)) == {2, 3, 4}
    assert {a.question.category for a in asked} == set(questions.CATEGORIES)


def test_the_answer_stands_at_every_place_equally_often(asked):
    of_four = Counter(a.question.answer for a in asked if len(a.question.options) == 4)
    total = sum(of_four.values())
    # Four standard errors of a share of 1/4.
    assert all(abs(c / total - 0.25) < 4 * (0.1875 / total) ** 0.5 for c in of_four.values())


def test_statements_drawn_singly_are_true_half_of_the_time_and_judged_right():
    rng = stream(12, "statements", "validation")
    drawn = [statements.draw(rng) for _ in range(N)]
    for item in drawn:
        assert judge(item.sentence, see(item.left), see(item.right)) == item.truth, item.sentence
    assert abs(np.mean([d.truth for d in drawn]) - 0.5) < 0.09  # four standard errors


def test_each_sentence_of_a_group_is_true_of_two_of_four_different_pairs():
    dice = Dice(stream(13, "statements", "validation"))
    forms = set()
    for _ in range(100):
        group = statements.group(dice)
        assert len(set(group.pairs)) == 4
        assert len(set(group.sentences)) == 2
        assert all(sum(row) == 2 and len(row) == 4 for row in group.truth)
        forms |= {s.split()[0] for s in group.sentences}
    assert forms == {"At", "Both", "Exactly", "Neither", "The", "There", "Every"}


def solve(problem: science.Problem) -> str:
    """The right choice worked out from the words and the picture."""
    if problem.kind == "arithmetic":
        numbers = [int(x) for x in re.findall(r"\d+", problem.hint)]
        return str(numbers[0] + numbers[1] if "finds" in problem.hint else numbers[0] - numbers[1])
    if problem.kind == "alphabet":
        return sorted(problem.choices)[0]
    if problem.kind == "animals":
        group = problem.question.rstrip("?").split()[-1]
        return next(c for c in problem.choices if c in GROUPS[group].split())
    assert problem.image is not None
    if problem.kind == "shapes":
        return answer(problem.question, see(problem.image))
    if problem.kind == "mixture":
        word = problem.question.split()[-2]
        counts = [blobs(problem.image[:, side], COLOURS[word]) for side in (slice(0, 32), slice(32, 64))]
        names = ("neither; their concentrations are the same", "Solution A", "Solution B")
        return names[0] if counts[0] == counts[1] else names[1 if counts[0] > counts[1] else 2]
    red = (problem.image == np.array((205, 45, 45))).all(axis=-1).any(axis=0)
    blue = (problem.image == np.array((50, 100, 205))).all(axis=-1).any(axis=0)
    # Halves from left to right; the two in the middle face each other.
    halves = "".join("r" if r else "b" if b else " " for r, b in zip(red, blue, strict=True))
    order = re.sub(r"(.)\1*", r"\1", halves).strip().replace(" ", "")
    return "attract" if order[1] != order[2] else "repel"


GROUPS = {
    "mammal": "horse whale rabbit bat wolf",
    "bird": "eagle penguin duck owl ostrich",
    "fish": "salmon shark trout tuna seahorse",
    "reptile": "lizard turtle snake crocodile gecko",
    "amphibian": "frog newt toad salamander axolotl",
}


def blobs(image: np.ndarray, colour: Colour) -> int:
    """How many connected patches of one colour there are."""
    left = {(int(y), int(x)) for y, x in np.argwhere((image == np.array(colour)).all(axis=-1))}
    count = 0
    while left:
        count += 1
        front = [left.pop()]
        while front:
            y, x = front.pop()
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            front += near
    return count


@pytest.mark.parametrize("with_image", [True, False])
def test_marked_choices_of_school_questions_are_right(with_image):
    rng = stream(14, "science", "validation")
    drawn = [science.draw(rng, with_image=with_image) for _ in range(N)]
    for problem in drawn:
        assert problem.choices[problem.answer] == solve(problem), problem.question
        assert len(set(problem.choices)) == len(problem.choices)
        assert (problem.image is not None) == with_image == bool(problem.caption)
    kinds = {"mixture", "magnets", "shapes"} if with_image else {"arithmetic", "animals", "alphabet"}
    assert {p.kind for p in drawn} == kinds
