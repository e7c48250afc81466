"""The response cache: what is put is got, failures are not kept, foreign files are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.records import Problem, Response
from harness.store.cache import ResponseCache


def response(number: int, text: str | None = "x") -> Response:
    return Response(
        f"{number:064x}", "t", str(number), text, None if text is not None else Problem("k", "m"), 0.5, 2, 3, 4, (0.5,)
    )


def test_answers_come_back_marked_as_cached(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([response(1), response(2, "zwei\x00")])
        found = cache.get([f"{n:064x}" for n in range(1000)])
    assert {r.text for r in found.values()} == {"x", "zwei\x00"}
    one = found[f"{1:064x}"]
    assert (one.cached, one.latency_s, one.batch_size, one.choice_scores) == (True, 0.5, 2, (0.5,))


def test_the_steps_to_an_answer_are_kept_with_it(tmp_path: Path) -> None:
    steps = (("table", "a | b"), ("reasoning", "so\u2028"))
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([replace(response(1), steps=steps), response(2)])
        found = cache.get([f"{n:064x}" for n in (1, 2)])
    assert [found[f"{n:064x}"].steps for n in (1, 2)] == [steps, ()]


def test_a_cache_from_before_there_were_steps_is_read_and_goes_on(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([response(1)])
        cache._connection.execute("DROP TABLE steps")
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([replace(response(2), steps=(("table", "t"),))])
        found = cache.get([f"{n:064x}" for n in (1, 2)])
    assert [found[f"{n:064x}"].steps for n in (1, 2)] == [(), (("table", "t"),)]


def test_failures_are_not_kept(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([response(1, None)])
        assert cache.get([f"{1:064x}"]) == {}


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        cache.put([response(1, "first")])
        cache.put([response(1, "second")])
        assert cache.get([f"{1:064x}"])[f"{1:064x}"].text == "first"


def test_two_connections_share_one_file(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c.sqlite") as one, ResponseCache(tmp_path / "c.sqlite") as two:
        one.put([response(1)])
        assert len(two.get([f"{1:064x}"])) == 1
        two.put([response(2)])
        assert len(one.get([f"{1:064x}", f"{2:064x}"])) == 2


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="delete it to start anew"):
        ResponseCache(path)
