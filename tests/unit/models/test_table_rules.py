"""Rules over a table: every question of the mini generator by its own answer, and what no rule knows."""

from __future__ import annotations

import numpy as np
import pytest

from harness.mini import chart_questions, charts
from harness.mini.streams import Dice
from harness.models.pipeline import laid_out
from harness.models.table_rules import UNKNOWN, TableRules, answer
from harness.records import ModelSettings, Problem
from tests.model_inputs import GREEDY, item

TABLE = "Entity | sales <0x0A> tea | 4 <0x0A> milk | 7"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the value of tea?", "4"),
        ("What is the sum of tea and milk?", "11"),
        ("What is the difference between tea and milk?", "3"),
        ("Which item has the highest value?", "milk"),
        ("Which item has the lowest value?", "tea"),
        ("How many items have a value greater than 5?", "1"),
        ("Is the value of tea greater than the value of milk?", "No"),
        ("What is the title of the chart?", "sales"),
        ("Which item has a value of 7?", "milk"),
        ("What is the value of corn?", UNKNOWN),
        ("What is the value of the red bar?", UNKNOWN),
        ("Why?", UNKNOWN),
    ],
)
def test_a_question_is_answered_from_the_table(question: str, expected: str) -> None:
    assert answer(TABLE, question) == expected


def test_every_question_of_the_generator_but_those_on_colours_is_answered_from_the_true_table() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        made = charts.draw(rng).plan
        table = "\n".join(f"{a} | {b}" for a, b in charts.table(made))
        for subset in ("human", "augmented"):
            asked = chart_questions.ask(Dice(rng), made, subset)
            expected = UNKNOWN if asked.query.endswith((" bar?", " slice?")) else asked.label
            assert answer(table, asked.query) == expected, asked


def test_a_torn_table_gives_unknown_and_no_error() -> None:
    assert answer("tea | x | 4 <0x0A> |", "What is the sum of tea and milk?") == UNKNOWN
    assert answer("", "Which item has the highest value?") == UNKNOWN


def test_the_prompt_of_the_pipeline_is_read_and_any_other_is_a_problem() -> None:
    model = TableRules.load(ModelSettings("rules", "table-rules"))
    read, other = model.generate(
        [item(0, laid_out(TABLE, "What is the value of milk?\nShort.")), item(1, "hello")], GREEDY
    )
    assert not isinstance(read, Problem)
    assert read.text == "7"
    assert isinstance(other, Problem)
