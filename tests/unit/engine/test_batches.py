"""Batching: properties of order and size, and worked examples of growing and shrinking."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.engine.batches import BatchSize, batches, in_order_of_cost
from harness.engine.requests import WorkItem
from harness.records import Request, Sample


def item(name: str, image: str, words: int) -> WorkItem:
    return WorkItem(Sample(name), Request("", "t", name, "w" * words, (image,)), ())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), max_size=30))
def test_questions_of_one_image_stay_together_and_none_is_lost(pairs: list[tuple[str, int]]) -> None:
    items = [item(str(number), image, words) for number, (image, words) in enumerate(pairs)]
    ordered = in_order_of_cost(items)
    assert sorted(i.sample.sample_id for i in ordered) == sorted(i.sample.sample_id for i in items)
    images = [i.request.images[0] for i in ordered]
    changes = sum(a != b for a, b in pairwise(images))
    assert changes <= max(0, len(set(images)) - 1)


def test_the_image_with_the_longest_prompt_comes_first() -> None:
    ordered = in_order_of_cost([item("1", "a", 3), item("2", "b", 9), item("3", "a", 5), item("4", "b", 1)])
    assert [i.sample.sample_id for i in ordered] == ["2", "4", "3", "1"]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 7))
def test_a_batch_has_one_bucket_and_at_most_its_size(values: list[int], size: int) -> None:
    made = list(batches(values, lambda: size, lambda value: value))
    assert sorted(v for batch in made for v in batch) == sorted(values)
    assert all(len(set(batch)) == 1 and len(batch) <= size for batch in made)


def test_a_given_size_never_grows() -> None:
    size = BatchSize(3)
    size.took(3, 0.001)
    assert size.now == 3


def test_auto_doubles_while_it_pays_and_then_stays() -> None:
    size = BatchSize(None)
    size.took(4, 4.0)
    assert size.now == 8
    size.took(8, 4.0)
    assert size.now == 16
    size.took(16, 8.0)
    assert size.now == 16
    size.took(16, 0.1)
    assert size.now == 16


def test_a_partial_batch_teaches_nothing() -> None:
    size = BatchSize(None)
    size.took(2, 0.001)
    assert size.now == 4


def test_out_of_memory_halves_for_good() -> None:
    size = BatchSize(None)
    size.took(4, 4.0)
    size.ran_out(8)
    assert size.now == 4
    size.took(4, 0.001)
    assert size.now == 4
    size.ran_out(1)
    assert size.now == 1
