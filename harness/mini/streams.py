"""Seeded randomness: one named stream for each benchmark and split, and cheap draws from it.

Every draw reads `Generator.random` only, in blocks of 64: a call costs about 0.1 microseconds instead of several, and
the pictures do not depend on how numpy turns random bits into integers, which may change between its versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np

Split = Literal["train", "validation", "test"]
T = TypeVar("T")
_BLOCK = 64


def stream(seed: int, benchmark: str, split: Split) -> np.random.Generator:
    """The generator of one benchmark and split; streams of two names or two seeds are independent."""
    digest = hashlib.sha256(f"{benchmark}/{split}".encode()).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int.from_bytes(digest[:8], "big")])))


class Dice:
    """Draws from a generator. Each new object starts with a fresh block, so what it draws depends on the generator's
    state alone."""

    __slots__ = ("_next", "_rng", "_values")

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._values: list[float] = []
        self._next = _BLOCK

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if self._next == _BLOCK:
            self._values = self._rng.random(_BLOCK).tolist()
            self._next = 0
        self._next += 1
        return self._values[self._next - 1]

    def below(self, n: int) -> int:
        """An integer in [0, n)."""
        return int(self.uniform() * n)

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return low + int(self.uniform() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, all equally likely."""
        return items[int(self.uniform() * len(items))]

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """`k` different items in random order."""
        pool = list(items)
        for i in range(k):
            j = i + int(self.uniform() * (len(pool) - i))
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All items in random order."""
        return self.sample(items, len(items))
