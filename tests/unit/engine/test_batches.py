"""Batching: properties of order and size, and worked examples of growing and shrinking."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.engine.batches import BatchSize, OutputLengths, batches, in_order_of_cost
from harness.engine.groups import groups
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


def asking(name: str, question: str) -> WorkItem:
    return WorkItem(Sample(name, question), Request("", "t", name, question, (name,)), ())


def test_questions_that_begin_like_those_with_long_answers_come_first() -> None:
    lengths = OutputLengths()
    assert lengths.steps(asking("0", "Why is it?")) == 0
    for name, question, tokens in (("1", "Why is it so?", 40), ("2", "How many bars?", 1), ("3", "Is it?", None)):
        lengths.learn(asking(name, question), tokens)
    asked = [
        asking("short", "How many lines are there in this very long question?"),
        asking("long", "why is the bar red?"),
        asking("new", "Name it."),
    ]
    ordered = in_order_of_cost(asked, lengths.steps)
    # 40 tokens, then the mean of all, 20 or 21, then one
    assert [i.sample.sample_id for i in ordered] == ["long", "new", "short"]
    assert [i.sample.sample_id for i in in_order_of_cost(asked)] == ["short", "long", "new"]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 7))
def test_a_batch_has_one_bucket_and_at_most_its_size(values: list[int], size: int) -> None:
    made = list(batches(values, lambda: size, lambda value: value))
    assert sorted(v for batch in made for v in batch) == sorted(values)
    assert all(len(set(batch)) == 1 and len(batch) <= size for batch in made)


def test_a_given_size_never_grows() -> None:
    size = BatchSize(3)
    size.took(3, 0.001)
    assert size.now == 3


def test_auto_doubles_until_it_is_slower() -> None:
    size = BatchSize(None)
    size.took(8, 8.0)
    assert size.now == 16
    size.took(16, 8.0)
    size.took(16, 8.0)
    assert size.now == 32
    for _ in range(3):
        assert (size.now, size.settled) == (32, None), "one slow batch may be the machine's fault"
        size.took(32, 20.0)
    assert size.now == size.settled == 16, "thirty-two are slower than sixteen"
    size.took(16, 0.1)
    assert size.now == 16


def test_a_size_as_fast_as_its_half_is_preferred() -> None:
    size = BatchSize(None)
    size.took(8, 8.0)
    for seconds in (18.0, 16.5, 17.0):
        assert size.now == 16
        size.took(16, seconds)
    assert size.now == 32


def test_a_task_of_slower_answers_does_not_end_the_search() -> None:
    size = BatchSize(None)
    size.took(8, 1.0)
    size.new_task()
    size.took(16, 40.0)
    size.took(16, 40.0)
    assert (size.now, size.settled) == (32, None)


def test_many_small_losses_are_one_loss() -> None:
    size = BatchSize(None)
    size.took(8, 8.0)
    for _ in range(3):
        size.took(16, 16.6)
    for _ in range(3):
        size.took(32, 34.4)
    assert size.now == size.settled == 16


def test_a_batch_that_was_slowed_down_does_not_end_the_search() -> None:
    size = BatchSize(None)
    size.took(8, 8.0)
    size.took(16, 40.0)
    size.took(16, 10.0)
    assert (size.now, size.settled) == (32, None)


def test_the_larger_a_size_the_later_it_is_tried() -> None:
    size, asked, tried = BatchSize(None), 0, {}
    while size.settled is None:
        tried.setdefault(size.now, asked)
        asked += size.now
        size.took(size.now, 1.0)
    assert size.now == size.settled == 256, "where every batch takes the same time the search ends at the largest"
    assert tried == {8: 0, 16: 8, 32: 40, 64: 136, 128: 520, 256: 2056}


def test_a_partial_batch_teaches_nothing() -> None:
    size = BatchSize(None)
    size.took(4, 0.001)
    assert size.now == 8


def test_a_batch_that_was_cut_at_an_image_teaches() -> None:
    size = BatchSize(None)
    size.took(5, 5.0)
    size.took(5, 5.0)
    assert size.now == 16


def test_a_batch_ends_where_the_image_changes() -> None:
    shown, parts = "aaabbbcccdddeee", ("aaa", "bbb", "ccc", "ddd", "eee")
    assert ["".join(b) for b in batches(shown, lambda: 5, None, lambda image: image)] == list(parts)
    assert ["".join(b) for b in batches(shown, lambda: 8, None, lambda image: image)] == ["aaabbb", "cccddd", "eee"]
    assert ["".join(b) for b in batches("aaaaaabbb", lambda: 4, None, lambda image: image)] == ["aaaa", "aabb", "b"], (
        "a list stays more than half full"
    )
    assert ["".join(b) for b in batches("abbbbb", lambda: 4, None, lambda image: image)] == ["abbb", "bb"], (
        "no list of one where four may go"
    )


@given(st.lists(st.sampled_from("abc")), st.integers(1, 8))
def test_lists_cut_at_images_are_more_than_half_full_and_none_is_lost(images: list[str], size: int) -> None:
    made = list(batches(images, lambda: size, None, lambda image: image))
    assert [image for batch in made for image in batch] == images
    assert all(size < 2 * len(batch) <= 2 * size for batch in made[:-1])


def group_items(images: str, size: int) -> list[list[str]]:
    work = [[item(str(number), image, 5) for number, image in enumerate(images)]]
    return [[i.request.images[0] for i in group.items] for group in groups(work, lambda: size)]


def test_a_group_has_all_questions_of_its_images() -> None:
    assert group_items("abcabcabc", 8) == [list("aaabbb"), list("ccc")]
    assert group_items("abcabcabc", 1) == [list("aaa"), list("bbb"), list("ccc")]


def test_requests_without_images_are_cut_at_the_size_of_a_group() -> None:
    work = [[WorkItem(Sample(str(n)), Request("", "t", str(n), "w", ()), ()) for n in range(10)]]
    assert [len(group.items) for group in groups(work, lambda: 4)] == [4, 4, 2]


def test_an_empty_window_is_an_empty_group() -> None:
    assert [group.items for group in groups([[]], lambda: 4)] == [[]]


def full_batches(size: BatchSize, count: int) -> None:
    for _ in range(count):
        size.took(size.now, 1.0)


def test_out_of_memory_halves_and_is_tried_again_ever_later() -> None:
    size = BatchSize(None)
    size.ran_out(8)
    assert size.now == 4
    full_batches(size, 15)
    assert size.now == 4
    full_batches(size, 1)
    assert size.now == 8, "prompts are longest first: what did not fit may fit later"
    size.ran_out(8)
    full_batches(size, 31)
    assert size.now == 4
    full_batches(size, 1)
    assert size.now == 8
    full_batches(size, 100)
    assert size.now == 8, "it fits, and never grows beyond what was tried"


def test_one_request_is_the_least() -> None:
    size = BatchSize(None)
    size.ran_out(1)
    assert size.now == 1


def test_a_given_size_comes_back_after_out_of_memory_and_no_further() -> None:
    size = BatchSize(8)
    size.ran_out(8)
    size.ran_out(4)
    assert size.now == 2
    full_batches(size, 200)
    assert size.now == 8
