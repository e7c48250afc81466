"""The endless sources: answers that are true of the pictures, curricula, held-out sides, words as a run has them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.engine.prompts import render
from harness.mini import charts, formulas, questions, scenes
from harness.mini.streams import Dice
from harness.records import Sample
from harness.training.examples import batches
from harness.training.procedural import Charts, Formulas, Scenes, Statements, choice_turn, linear_table
from harness.training.vocabulary import learned

ALL = [Scenes(questions=2), Statements(sentences=3), Charts(value_spots=True), Formulas()]
CHOICES = "{{ question }}{% for letter, choice in choices %} {{ letter }}. {{ choice }}{% endfor %}"


@pytest.mark.parametrize("source", ALL, ids=lambda s: type(s).__name__)
def test_every_text_of_a_source_comes_back_from_the_vocabulary(source: Scenes) -> None:
    tokenizer = learned(source.texts())
    assert tokenizer.unk_token_id is None
    rng = np.random.default_rng(1)
    for _ in range(50):
        for turn in source.draw(rng, 1.0).turns:
            for text in (turn.prompt, f" {turn.answer}"):
                ids = tokenizer(text, add_special_tokens=False).input_ids
                assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("source", ALL, ids=lambda s: type(s).__name__)
def test_a_batch_depends_on_seed_and_step_alone(source: Scenes) -> None:
    whole = list(batches(source, 3, 2, 5))
    late = list(batches(source, 3, 2, 5, start=3))
    for a, b in zip(whole[3:], late, strict=True):
        assert [e.turns for e in a] == [e.turns for e in b]
        assert all((x == y).all() for e, f in zip(a, b, strict=True) for x, y in zip(e.images, f.images, strict=True))


def test_a_question_is_worded_as_a_run_words_it() -> None:
    _, asked = questions.compose(Dice(np.random.default_rng(4)))
    sample = Sample("s", question=asked.question, choices=asked.options)
    assert render(sample, prompt=CHOICES, template="{{ text }}", images=1, name="p") == choice_turn(asked).prompt


def test_charts_of_every_kind_have_two_to_four_rows() -> None:
    source = Charts()
    drawn = [source.draw(np.random.default_rng(k), k / 100) for k in range(100)]
    assert {e.turns[0].answer.count("<0x0A>") for e in drawn} == {2, 3, 4}
    assert {e.kind for e in drawn} == set(charts.KINDS)


@pytest.mark.parametrize("kind", charts.KINDS)
def test_the_words_of_a_chart_stand_where_it_says(kind: charts.Kind) -> None:
    for seed in range(20):
        made = charts.draw(np.random.default_rng(seed), kinds=(kind,))
        for number, (column, row) in enumerate(made.label_places):
            labels = tuple("." if n == number else label for n, label in enumerate(made.plan.labels))
            dotted = charts.render(dataclasses.replace(made.plan, labels=labels))
            rows, columns = np.nonzero((made.image != dotted).any(axis=2))
            assert abs((columns.min() + columns.max() + 1) / 2 - column) <= 2
            assert abs((rows.min() + rows.max() + 1) / 2 - row) <= 2


@pytest.mark.parametrize("kind", charts.KINDS)
def test_the_values_of_a_chart_are_seen_where_it_says(kind: charts.Kind) -> None:
    for seed in range(20):
        made = charts.draw(np.random.default_rng(seed), kinds=(kind,))
        for (column, row), colour in zip(made.value_places, made.plan.colours, strict=True):
            near = made.image[max(0, int(row) - 3) : int(row) + 4, max(0, int(column) - 6) : int(column) + 7]
            assert (near == charts.COLOURS[colour]).all(axis=2).any()
    spots = Charts(value_spots=True).draw(np.random.default_rng(1), 0.0).spots
    rows = Charts().draw(np.random.default_rng(1), 0.0)
    assert spots[: len(rows.spots)] == rows.spots
    assert [s.text for s in spots[len(rows.spots) :]] == [
        line.split(" | ")[1] for line in rows.turns[0].answer.split(" <0x0A> ")[1:]
    ]


@pytest.mark.parametrize("source", [Scenes(), Statements()], ids=lambda s: type(s).__name__)
def test_the_shapes_of_a_scene_stand_where_it_says(source: Scenes | Statements) -> None:
    for seed in range(20):
        example = source.draw(np.random.default_rng(seed), 0.0)
        assert {spot.picture for spot in example.spots} == set(range(len(example.images)))
        for spot in example.spots:
            colour = scenes.COLOURS[spot.text.split()[1]]
            assert example.images[spot.picture][int(spot.row), int(spot.column)].tolist() == list(colour)


def test_the_table_of_a_chart_is_linear_as_deplot_writes_it() -> None:
    made = charts.draw(np.random.default_rng(2)).plan
    table = linear_table(made)
    assert table.startswith(f"Entity | {made.title} <0x0A> {made.labels[0]} | {made.values[0]}")


def test_formulas_grow_and_never_come_from_the_test_side() -> None:
    source = Formulas()
    short = [source.draw(np.random.default_rng(k), 0.0).turns[0].answer for k in range(60)]
    whole = [source.draw(np.random.default_rng(k), 0.5).turns[0].answer for k in range(60)]
    held = [source.held_out(np.random.default_rng(k)).turns[0].answer for k in range(60)]
    assert max(len(f.split()) for f in short) <= 5
    assert max(len(f.split()) for f in whole) > 9
    assert {formulas.fold_of(f) for f in (*short, *whole)} == {"train"}
    assert {formulas.fold_of(f) for f in held} == {"validation"}


def test_the_caption_to_learn_is_one_of_those_that_count() -> None:
    example = Scenes().held_out(np.random.default_rng(7))
    turn = example.turns[0]
    assert len({turn.answer, *turn.accepted}) == len(scenes.captions(scenes.plan(Dice(np.random.default_rng(7)))))


def test_statements_are_true_about_half_of_the_time() -> None:
    source = Statements()
    truth = [source.held_out(np.random.default_rng(k)).turns[0].answer for k in range(200)]
    assert 70 < truth.count("True") < 130
