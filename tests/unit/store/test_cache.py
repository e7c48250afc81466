"""The response cache: what is put is got, failures are not kept, foreign files are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.records import Problem, Request, Response
from harness.store.cache import ResponseCache


def request(number: int) -> Request:
    return Request(f"{number:064x}", "t", f"asked {number}", "prompt")


def response(number: int, text: str | None = "x") -> Response:
    return Response(
        f"{number:064x}", "t", str(number), text, None if text is not None else Problem("k", "m"), 0.5, 2, 3, 4, (0.5,)
    )


def test_answers_come_back_marked_as_cached(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([response(1), response(2, "zwei\x00")])
        found = cache.get([request(n) for n in range(1000)])
    assert [n for n, r in enumerate(found) if r] == [1, 2]
    one, two = found[1:3]
    assert one
    assert two
    assert two.text == "zwei\x00"
    assert (one.task, one.sample_id) == ("t", "asked 1")
    assert (one.cached, one.latency_s, one.batch_size, one.choice_scores) == (True, 0.5, 2, (0.5,))


def test_the_steps_to_an_answer_are_kept_with_it(tmp_path: Path) -> None:
    steps = (("table", "a | b"), ("reasoning", "so\u2028"))
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([replace(response(1), steps=steps), response(2)])
        found = cache.get([request(n) for n in (1, 2)])
    assert [answer and answer.steps for answer in found] == [steps, ()]


def test_a_cache_from_before_there_were_steps_is_read_and_goes_on(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([response(1)])
        cache._connection.execute("DROP TABLE steps")
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([replace(response(2), steps=(("table", "t"),))])
        found = cache.get([request(n) for n in (1, 2)])
    assert [answer and answer.steps for answer in found] == [(), (("table", "t"),)]


def test_failures_are_not_kept(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([response(1, None)])
        assert cache.get([request(1)]) == [None]


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([response(1, "first")])
        cache.put([response(1, "second")])
        assert [answer and answer.text for answer in cache.get([request(1)])] == ["first"]


def test_two_connections_share_one_file(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as one, ResponseCache(tmp_path / "c.sqlite") as two:
        one.put([response(1)])
        assert None not in two.get([request(1)])
        two.put([response(2)])
        assert None not in one.get([request(1), request(2)])


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="delete it to start anew"):
        ResponseCache(path)
