"""Parts of a split, chosen so that they stay the same under reordering and grow by adding samples only.

A *group* (passes of one question, pictures of one sentence) is chosen as a whole. Samples without a group are groups of
one. Chosen samples are yielded in file order.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.errors import DatasetError
from harness.records import Sample

_Key = tuple[bool, str]
_KEYS = {"first": {"first"}, "sample": {"sample", "seed", "stratify"}}


def select(factory: Callable[[], Iterator[Sample]], subset: Mapping[str, Any]) -> Iterator[Sample]:
    """The samples that `subset` names, in file order.

    Args:
        factory: gives a fresh stream of the split; called once or twice.
        subset: `{}` everything; `{"first": N}` the first N groups; `{"sample": N, "seed": S}` the N groups with the
            smallest SHA-256 of seed and group, which makes N = 100 a part of N = 200; with `"stratify": field` N is
            shared out over that metadata field in proportion (largest remainder; ties by name), and the smallest
            hashes are taken in each stratum. A stratified 100 need not lie in a stratified 200.

    Memory: ids of N groups; with `stratify`, 16 bytes for each group and N ids for each stratum.

    Raises:
        DatasetError: a key, number or field that is wrong, naming it.
    """
    kind = next((kind for kind in _KEYS if kind in subset), "")
    unknown = set(subset) - _KEYS.get(kind, set())
    if unknown:
        raise DatasetError(
            f"subset: {', '.join(sorted(unknown))} cannot stand in {dict(subset)}; give {{}}, first: N, or "
            "sample: N with seed and stratify"
        )
    if not subset:
        return factory()
    count = subset[kind]
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise DatasetError(f"subset: {kind} is {count!r}; give a whole number >= 1")
    if kind == "first":
        return _first(factory(), count)
    seed, field = subset.get("seed", 0), subset.get("stratify")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise DatasetError(f"subset: seed is {seed!r}; give a whole number")
    chosen = _smallest(factory(), count, seed) if not field else _stratified(factory(), count, seed, str(field))
    return (sample for sample in factory() if _key(sample) in chosen)


def _key(sample: Sample) -> _Key:
    return bool(sample.group), sample.group or sample.sample_id


def _rank(seed: int, key: _Key) -> int:
    text = f"{seed}\x1f{key[1]}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest(), "big")


def _first(samples: Iterator[Sample], count: int) -> Iterator[Sample]:
    chosen: set[_Key] = set()
    for sample in samples:
        key = _key(sample)
        if key not in chosen and len(chosen) < count:
            chosen.add(key)
        if key in chosen:
            yield sample
        if len(chosen) == count and not any(grouped for grouped, _ in chosen):
            return


class _Smallest:
    """The `count` keys of smallest rank among those offered, each once."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._heap: list[tuple[int, _Key]] = []
        self._kept: set[_Key] = set()

    def offer(self, key: _Key) -> None:
        if key in self._kept:
            return
        item = (-_rank(self._seed, key), key)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, item)
            self._kept.add(key)
        elif item > self._heap[0]:
            self._kept.remove(heapq.heapreplace(self._heap, item)[1])
            self._kept.add(key)

    def best(self, count: int) -> set[_Key]:
        return {key for _, key in heapq.nlargest(count, self._heap)}


def _smallest(samples: Iterator[Sample], count: int, seed: int) -> set[_Key]:
    keeper = _Smallest(count, seed)
    for sample in samples:
        keeper.offer(_key(sample))
    return keeper.best(count)


def _stratified(samples: Iterator[Sample], count: int, seed: int, field: str) -> set[_Key]:
    seen: set[bytes] = set()
    sizes: Counter[str] = Counter()
    strata: dict[str, _Smallest] = {}
    for sample in samples:
        key = _key(sample)
        digest = hashlib.sha256(f"{key[0]}{key[1]}".encode("utf-8", "surrogatepass")).digest()[:16]
        if digest in seen:
            continue
        seen.add(digest)
        stratum = sample.metadata.get(field)
        if stratum is None and sample.problem is None:
            known = ", ".join(sorted(sample.metadata)) or "none"
            raise DatasetError(
                f'subset: sample {sample.sample_id} has no field "{field}" to stratify by; its fields: {known}'
            )
        stratum = stratum or ""
        sizes[stratum] += 1
        strata.setdefault(stratum, _Smallest(count, seed)).offer(key)
    shares = proportional_shares(sizes, count)
    return {key for stratum, keeper in strata.items() for key in keeper.best(shares[stratum])}


def proportional_shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of `count` fall to each stratum: floors of the exact shares, then the largest remainders.

    The shares sum to `count`, or to all there is; none exceeds its stratum.
    """
    total = sum(sizes.values())
    count = min(count, total)
    shares = {name: count * size // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(count * sizes[name] % total), name))
    for name in by_remainder[: count - sum(shares.values())]:
        shares[name] += 1
    return shares
