"""The released beam search and answer ranker. Evidence: worked examples by hand with a decoder that reads a table."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from harness.models.mplug.beams import CLS, SEP, Hypothesis, beam_search, length_penalty
from harness.models.mplug.decoder import Context, TextDecoder
from harness.models.mplug.ranking import rank_answers

A, B, C = 103, 104, 105
WORDS = 106
IMPOSSIBLE = -1e4  # as a logit: probability 0 beside anything else


class TableDecoder:
    """Gives the probabilities of a table: last token → next token → probability; the rest is impossible."""

    def __init__(self, *tables: dict[int, dict[int, float]]) -> None:
        self.tables = tables

    def context(self) -> Context:
        """One example for each table, known by its number."""
        numbers = torch.arange(len(self.tables), dtype=torch.float32).view(-1, 1, 1, 1)
        return Context(((numbers, numbers),), None)

    def __call__(self, ids: Tensor, context: Context, **_: Any) -> Tensor:
        group = len(ids) // len(context)
        logits = torch.full((*ids.shape, WORDS), IMPOSSIBLE)
        for row, tokens in enumerate(ids.tolist()):
            table = self.tables[int(context.layers[0][0][row // group].item())]
            for place, token in enumerate(tokens):
                for following, p in table.get(token, {A: 1.0}).items():
                    logits[row, place, following] = math.log(p)
        return logits


def search(*tables: dict[int, dict[int, float]], **settings: Any) -> list[list[Hypothesis]]:
    decoder = TableDecoder(*tables)
    given = {"min_length": 0, "max_length": 4, "use_cache": False, **settings}
    return beam_search(cast(TextDecoder, decoder), decoder.context(), **given)


def test_the_length_penalty_is_that_of_gnmt_with_exponent_0_6() -> None:
    assert length_penalty(1) == 1.0
    assert length_penalty(7) == pytest.approx(2**0.6)


def test_one_beam_takes_the_likeliest_token_until_the_end_token() -> None:
    ((best,),) = search({CLS: {A: 0.6, B: 0.4}, A: {SEP: 0.9, B: 0.1}}, beams=1)
    assert best.ids == (CLS, A, SEP)
    assert best.score == pytest.approx(math.log(0.54) / length_penalty(2), abs=1e-5)


def test_a_second_beam_finds_what_greedy_misses() -> None:
    table = {CLS: {A: 0.6, B: 0.4}, A: {A: 0.4, C: 0.35, SEP: 0.25}, B: {SEP: 0.95, A: 0.05}}
    (found,) = search(table, beams=2)
    assert found[0].ids == (CLS, B, SEP)
    assert found[0].score == pytest.approx(math.log(0.38) / length_penalty(2), abs=1e-5)
    ((greedy,),) = search(table, beams=1, max_length=2)
    assert greedy.ids == (CLS, A, A)


def test_an_ended_beam_lives_on_so_that_a_hypothesis_may_hold_an_inner_end_token() -> None:
    # Step 1: A .6, SEP .4 (stored, goes on). Step 2: after SEP comes C surely: .4 beats A's .3 and .3, so the best
    # candidate has not ended. Step 3: SEP, C, SEP with .4 is the best: done.
    table = {CLS: {A: 0.6, SEP: 0.4}, A: {A: 0.5, B: 0.5}, SEP: {C: 1.0}, C: {SEP: 1.0}, B: {B: 1.0}}
    (found,) = search(table, beams=2)
    assert found[0].ids == (CLS, SEP, C, SEP)
    assert found[0].score == pytest.approx(math.log(0.4) / length_penalty(3), abs=1e-5)
    assert (CLS, SEP) in [h.ids for h in found]
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_an_example_is_done_when_its_best_candidate_has_ended_and_all_its_candidates_are_stored() -> None:
    (found,) = search({CLS: {SEP: 0.5, A: 0.3, B: 0.2}}, beams=3)
    assert [h.ids for h in found] == [(CLS, SEP), (CLS, A), (CLS, B)]


def test_at_the_greatest_length_everything_is_stored_without_an_end_token() -> None:
    (found,) = search({CLS: {A: 1.0}, A: {A: 0.7, B: 0.3}}, beams=2, max_length=2)
    assert [h.ids for h in found] == [(CLS, A, A), (CLS, A, B)]


@pytest.mark.parametrize("least", [0, 1, 2, 3])
def test_the_end_token_is_barred_until_enough_tokens_stand(least: int) -> None:
    table = {CLS: {SEP: 0.9, A: 0.1}, A: {SEP: 0.9, A: 0.1}}
    ((best,),) = search(table, beams=1, min_length=least)
    assert best.ids == (CLS, *[A] * least, SEP)


def test_finished_examples_leave_the_batch_and_change_nothing_for_the_others() -> None:
    quick = {CLS: {SEP: 1.0}}
    slow = {CLS: {A: 0.6, B: 0.4}, A: {B: 0.9, SEP: 0.1}, B: {SEP: 0.6, A: 0.4}}
    middle = {CLS: {B: 0.7, A: 0.3}, B: {SEP: 0.8, C: 0.2}}
    together = search(quick, slow, middle, beams=2)
    assert together == [search(table, beams=2)[0] for table in (quick, slow, middle)]
    assert [len(found[0].ids) for found in together] == [2, 4, 3]


RANK = {CLS: {A: 0.6, B: 0.3, C: 0.1}, A: {SEP: 0.1, B: 0.9}, B: {SEP: 0.8, A: 0.2}, C: {SEP: 1.0}}


def ranked(top_k: int) -> tuple[list[int], list[float], list[float]]:
    decoder = TableDecoder(RANK)
    ids = torch.tensor([[CLS, C, SEP, 0], [CLS, A, SEP, 0], [CLS, B, A, SEP], [CLS, B, SEP, 0]])
    ranking = rank_answers(cast(TextDecoder, decoder), decoder.context(), ids, (ids != 0).long(), top_k)
    return ranking.index[0].tolist(), ranking.score[0].tolist(), ranking.probability[0].tolist()


def test_the_first_token_of_an_answer_counts_twice() -> None:
    index, scores, probabilities = ranked(4)
    # p(first)² p(rest): C .1² · 1, A .6² · .1, BA .3² · .2 · .1, B .3² · .8
    products = {0: 0.01, 1: 0.036, 2: 0.0018, 3: 0.072}
    assert index == [3, 1, 0, 2]
    assert scores == pytest.approx([math.log(products[n]) for n in index], abs=1e-4)
    total = sum(products.values())
    assert probabilities == pytest.approx([products[n] / total for n in index], abs=1e-5)


def test_answers_whose_first_token_is_not_among_the_best_are_left_out() -> None:
    index, _, probabilities = ranked(3)
    assert sorted(index) == [1, 2, 3]
    assert sum(probabilities) == pytest.approx(1.0)


def test_more_answers_to_read_than_there_are_takes_all() -> None:
    assert ranked(100)[0] == ranked(4)[0]
