"""The journal: worked examples of torn and damaged lines, and of answers found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.codec import encode
from harness.errors import StoreError
from harness.records import Response
from harness.store import journal as module
from harness.store.journal import Journal, JournalledAnswers

ANSWER = Response("f", "captions", "s", "a dog")


def test_a_journal_gives_back_what_was_appended(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.append([{"a": 1}, {"b": "zwölf\n"}])
        journal.append([{"c": None}])
        assert [value for _, value in journal.entries()] == [{"a": 1}, {"b": "zwölf\n"}, {"c": None}]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_cut_off_wherever_it_tore(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append([{"a": 1}, {"bb": 22}])
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as again:
        assert [value for _, value in again.entries()] == ([{"a": 1}] if cut <= 10 else [])
        again.append([{"c": 3}])
        assert [value for _, value in again.entries()][-1] == {"c": 3}


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"a":1}\n{"b":\n{"c":3}\n')
    with Journal(path) as journal, pytest.raises(StoreError, match=r"j:2: is damaged"):
        [value for _, value in journal.entries()]


def test_the_last_line_for_a_sample_counts(tmp_path: Path) -> None:
    given = [replace(ANSWER, sample_id=f"sample {i % 7}", text=str(i)) for i in range(21)]
    with Journal(tmp_path / "j") as journal:
        journal.append(map(encode, given))
        answers = JournalledAnswers(journal)
        assert [answers.get(f"sample {i}") for i in range(7)] == given[14:]
        assert answers.get("another") is None
        answers.close()


def test_samples_whose_digests_collide_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_digest", lambda sample_id: 1)
    given = [replace(ANSWER, sample_id=name, text=name) for name in ("a", "b", "c")]
    with Journal(tmp_path / "j") as journal:
        journal.append(map(encode, given))
        answers = JournalledAnswers(journal)
        assert [answers.get(name) for name in ("a", "b", "c", "d")] == [*given, None]
        answers.close()


@pytest.mark.parametrize("line", ["[]", '{"sample_id": 3}', '{"text": "no id"}'])
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "j").write_text(line + "\n")
    with Journal(tmp_path / "j") as journal, pytest.raises(StoreError, match="j: byte 0: no answer to a sample"):
        JournalledAnswers(journal)


def test_an_answer_of_another_form_is_named(tmp_path: Path) -> None:
    (tmp_path / "j").write_text('{"sample_id": "s", "nonsense": 1}\n')
    with Journal(tmp_path / "j") as journal:
        answers = JournalledAnswers(journal)
        with pytest.raises(StoreError, match="j: byte 0: "):
            answers.get("s")
        answers.close()
