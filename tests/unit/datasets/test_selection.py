"""Subsets: properties (nested, order-free, whole groups, proportional) and worked examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.datasets.selection import proportional_shares, select
from harness.errors import DatasetError
from harness.records import Problem, Sample


def make(count: int, *, size: int = 1) -> list[Sample]:
    """Samples in rounds: all first members of the groups, then all second members, …"""
    return [
        Sample(f"{g}-{m}", group=f"g{g}" if size > 1 else "", metadata={"parity": str(g % 2), "third": str(g % 3 == 0)})
        for m in range(size)
        for g in range(count)
    ]


def ids(samples: list[Sample], **subset: Any) -> list[str]:
    return [s.sample_id for s in select(lambda: iter(samples), subset)]


def test_nothing_said_is_everything() -> None:
    assert ids(make(5)) == [f"{i}-0" for i in range(5)]


def test_first_takes_groups_whole_even_where_members_come_later() -> None:
    assert ids(make(4, size=3), first=2) == ["0-0", "1-0", "0-1", "1-1", "0-2", "1-2"]


def test_first_stops_reading_where_no_later_member_can_come() -> None:
    read = []

    def factory() -> Iterator[Sample]:
        for sample in make(100):
            read.append(sample)
            yield sample

    assert len(list(select(factory, {"first": 3}))) == 3
    assert len(read) == 3


def test_a_group_and_a_sample_of_the_same_name_are_two() -> None:
    samples = [Sample("a", group="x"), Sample("x"), Sample("b", group="x")]
    assert ids(samples, first=1) == ["a", "b"]


sizes = st.integers(1, 40)


@given(count=sizes, small=sizes, more=sizes, seed=st.integers(0, 99), size=st.integers(1, 3))
def test_a_smaller_sample_lies_in_a_larger_one(count: int, small: int, more: int, seed: int, size: int) -> None:
    samples = make(count, size=size)
    few, many = (set(ids(samples, sample=n, seed=seed)) for n in (small, small + more))
    assert few <= many
    assert len(few) == min(small, count) * size


@given(order=st.permutations(range(30)), seed=st.integers(0, 99), stratify=st.booleans())
def test_the_choice_does_not_depend_on_order(order: list[int], seed: int, stratify: bool) -> None:
    samples = make(30)
    subset: dict[str, Any] = {"sample": 11, "seed": seed, **({"stratify": "parity"} if stratify else {})}
    assert set(ids([samples[i] for i in order], **subset)) == set(ids(samples, **subset))


@given(seed=st.integers(0, 999))
def test_chosen_samples_keep_the_files_order(seed: int) -> None:
    samples = make(30)
    order = {s.sample_id: i for i, s in enumerate(samples)}
    chosen = [order[i] for i in ids(samples, sample=9, seed=seed)]
    assert chosen == sorted(chosen)


def test_seeds_differ_and_default_to_zero() -> None:
    samples = make(200)
    assert ids(samples, sample=20) == ids(samples, sample=20, seed=0)
    assert ids(samples, sample=20, seed=0) != ids(samples, sample=20, seed=1)


def test_each_group_is_chosen_about_as_often_as_any_other() -> None:
    counts = Counter(i for seed in range(2000) for i in ids(make(10), sample=3, seed=seed))
    # binomial(2000, 0.3): mean 600, standard deviation 20.5; five of them on either side
    assert all(497 < counts[f"{i}-0"] < 703 for i in range(10))


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 120))
def test_shares_are_within_one_of_proportion_and_sum_up(sizes: dict[str, int], count: int) -> None:
    shares = proportional_shares(sizes, count)
    total = sum(sizes.values())
    wanted = min(count, total)
    assert sum(shares.values()) == wanted
    assert all(abs(shares[n] - wanted * size / total) < 1 and shares[n] <= size for n, size in sizes.items())


def test_largest_remainder_by_hand() -> None:
    assert proportional_shares({"a": 5, "b": 3, "c": 2}, 4) == {"a": 2, "b": 1, "c": 1}


def test_strata_are_shared_out_by_the_first_member_of_each_group() -> None:
    samples = make(30, size=2)
    samples[30] = Sample("0-1", group="g0", metadata={"third": "other"})
    chosen = ids(samples, sample=9, stratify="third")
    first = Counter(s.metadata["third"] for s in samples[:30] if s.sample_id in chosen)
    assert first == {"True": 3, "False": 6}
    assert len(chosen) == 18


@pytest.mark.parametrize(
    ("subset", "words"),
    [
        ({"frist": 3}, "frist"),
        ({"first": 3, "seed": 1}, "seed"),
        ({"first": 0}, "first is 0"),
        ({"first": "3"}, "first is '3'"),
        ({"first": True}, "first is True"),
        ({"sample": 2.5}, "sample is 2.5"),
        ({"sample": 2, "seed": "x"}, "seed is 'x'"),
        ({"sample": 2, "stratify": "colour"}, 'sample 0-0 has no field "colour".*parity, third'),
    ],
)
def test_a_wrong_subset_is_named(subset: dict[str, Any], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        ids(make(4), **subset)


def test_a_sample_with_a_problem_needs_no_field() -> None:
    samples = [*make(4), Sample("bad", problem=Problem("missing_field", "x"))]
    assert "bad" in ids(samples, sample=5, stratify="parity")
