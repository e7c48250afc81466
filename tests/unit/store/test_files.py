"""Files that survive a kill: worked examples of damaged and contested files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store.files import FolderLock, read_json, write_json


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
