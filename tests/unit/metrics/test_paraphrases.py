"""The paraphrase table for some texts: what is kept, and that the form survives."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from harness.metrics import paraphrases
from harness.metrics.paraphrases import write_usable

TABLE = [
    ("0.5", "in front of", "before"),
    ("0.4", "in front of", "facing"),
    ("0.3", "front of in", "before"),
    ("0.2", "it 's", "it is"),
    ("0.1", "dog", "hound"),
    ("0.1", "hound", "dog"),
]


def usable(folder: Path, *texts: str) -> list[tuple[str, ...]]:
    table, out = folder / "table.gz", folder / "usable.gz"
    table.write_bytes(gzip.compress("".join("\n".join(row) + "\n" for row in TABLE).encode()))
    count = write_usable(table, texts, out)
    lines = gzip.decompress(out.read_bytes()).decode().splitlines()
    assert len(lines) == 3 * count
    return [tuple(lines[n : n + 3]) for n in range(0, len(lines), 3)]


def test_both_phrases_must_occur(tmp_path: Path) -> None:
    assert usable(tmp_path, "A bird in front of me", "A bird before me") == [TABLE[0]]
    assert usable(tmp_path, "a dog", "a Hound") == TABLE[4:]
    assert usable(tmp_path, "a dog") == []


def test_punctuation_between_words_is_not_looked_at(tmp_path: Path) -> None:
    assert usable(tmp_path, "it's here", "it - is here") == [TABLE[3]]


def test_pairs_across_blocks_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "in front of before facing front of in it's it is dog hound"
    whole = usable(tmp_path, text)
    for size in (1, 7, 40):
        monkeypatch.setattr(paraphrases, "_BLOCK", size)
        assert usable(tmp_path, text) == whole == TABLE
