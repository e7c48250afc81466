"""The part of METEOR's paraphrase table that a set of texts can use.

METEOR reads its whole table (5.3 million pairs) each time it starts, which takes longer than aligning some thousand
captions. A pair matters only where both of its phrases occur in the texts. METEOR separates words at punctuation by
rules of its own, so phrases are compared as runs of letters and digits here: a pair is kept where all runs of both
phrases, and all neighbours among them, occur in the texts. This keeps some pairs that are never used and drops none
that could be; a test compares the counts with those of the whole table.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_RUN = re.compile(r"[^\W_]+")
_NEWLINE = ord("\n")
_BLOCK = 1 << 23
"""Bytes that are read at a time."""


class Vocabulary:
    """The words of some texts and which words follow each other."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._known: set[str | tuple[str, str]] = set()
        for text in texts:
            runs = _RUN.findall(text.lower())
            self._known.update(runs)
            self._known.update(pairwise(runs))

    def has(self, phrase: bytes) -> bool:
        """Whether the texts may hold `phrase`; punctuation between its words is not looked at."""
        words = phrase.decode().lower()
        runs = words.split(" ") if words.replace(" ", "").isalnum() else _RUN.findall(words)
        return self._known.issuperset(runs) and self._known.issuperset(pairwise(runs))


def write_usable(table: Path, texts: Iterable[str], out: Path) -> int:
    """Write to `out` the pairs of `table` that `texts` can use; both in METEOR's form. How many were written.

    The form is gzip of three lines for each pair: probability, phrase, paraphrase; a phrase's pairs follow each other.
    """
    import numpy as np

    known = Vocabulary(texts)
    paraphrase = lru_cache(maxsize=1 << 18)(known.has)
    written = 0
    with gzip.open(out, "wb", compresslevel=1) as sink:
        for block in _blocks(table):
            places = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
            firsts = _firsts(block, places[0::3] + 1, places[1::3])
            ends: list[int] = places.tolist()
            for first, following in pairwise([*firsts, len(ends) // 3]):
                if not known.has(block[ends[3 * first] + 1 : ends[3 * first + 1]]):
                    continue
                for pair in range(first, following):
                    if paraphrase(block[ends[3 * pair + 1] + 1 : ends[3 * pair + 2]]):
                        start = ends[3 * pair - 1] + 1 if pair else 0
                        sink.write(block[start : ends[3 * pair + 2] + 1])
                        written += 1
    return written


def _blocks(table: Path) -> Iterator[bytes]:
    """The table in parts of whole pairs; its last line may lack its end."""
    import numpy as np

    rest = b""
    # The next part is decompressed in a thread while this one is looked through.
    with gzip.open(table, "rb") as source, ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(source.read, _BLOCK)
        while block := ahead.result():
            ahead = thread.submit(source.read, _BLOCK)
            block = rest + block
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
            cut = int(ends[len(ends) // 3 * 3 - 1]) + 1 if len(ends) >= 3 else 0
            yield block[:cut]
            rest = block[cut:]
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"


def _firsts(block: bytes, starts: np.ndarray, ends: np.ndarray) -> list[int]:
    """Which of the phrases `block[start:end]` differ from the one before them; eight bytes are compared at a time."""
    import numpy as np

    eights = np.lib.stride_tricks.sliding_window_view(np.frombuffer(block + bytes(8), np.uint8), 8)
    lengths = ends - starts
    same = lengths[1:] == lengths[:-1]
    for offset in range(0, int(lengths.max(initial=0)), 8):
        rows = np.flatnonzero(same & (lengths[1:] > offset))
        beyond = np.arange(8) >= (lengths[rows] - offset)[:, None]
        one, other = eights[starts[rows] + offset], eights[starts[rows + 1] + offset]
        same[rows] = ((one == other) | beyond).all(axis=1)
    return [0, *(np.flatnonzero(~same) + 1).tolist()] if len(starts) else []
