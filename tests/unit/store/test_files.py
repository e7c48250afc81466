"""Files that survive a kill: worked examples of torn, damaged and contested files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store.files import FolderLock, Journal, read_json, write_json


def test_a_journal_gives_back_what_was_appended(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.append([{"a": 1}, {"b": "zwölf\n"}])
        journal.append([{"c": None}])
        assert list(journal) == [{"a": 1}, {"b": "zwölf\n"}, {"c": None}]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_cut_off_wherever_it_tore(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append([{"a": 1}, {"bb": 22}])
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as again:
        assert list(again) == ([{"a": 1}] if cut <= 10 else [])
        again.append([{"c": 3}])
        assert list(again)[-1] == {"c": 3}


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"a":1}\n{"b":\n{"c":3}\n')
    with Journal(path) as journal, pytest.raises(StoreError, match=r"j:2: is damaged"):
        list(journal)


def test_json_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"b": 1, "a": [2]})
    assert json.loads(path.read_text()) == {"a": [2], "b": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_damaged_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": ')
    with pytest.raises(StoreError, match=r"x\.json: is damaged"):
        read_json(path)


def test_a_lock_is_free_again_after_its_owner(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(StoreError, match=r"in use by process \d+ on "), FolderLock(tmp_path):
        pass
    with FolderLock(tmp_path):
        pass
