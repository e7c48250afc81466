"""Memory while streaming: a set ten times as large may hold its ids and nothing else."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.datasets.base import Dataset
from harness.datasets.chartqa import ChartQA
from harness.datasets.coco import CocoCaptions
from harness.datasets.latex import Latex
from harness.datasets.mmbench import MMBench
from harness.datasets.nlvr import NLVR
from harness.datasets.scienceqa import ScienceQA
from tests.unit.datasets import builders

SMALL, LARGE = 1_000, 10_000
BYTES_PER_ID = 800
"""Bound on growth per sample: an id with its place in a counter, a set and an index takes 80–220 bytes, and a file name
looked up once leaves up to 400 more in Python's table of interned strings (pathlib puts it there). A sample itself,
with its text of 1,000 characters, takes more than 1,500."""
TEXT = "x" * 1_000


def make_chartqa(root: Path, count: int) -> Dataset:
    rows = ({"imgname": "a.png", "query": f"{i} {TEXT}", "label": "1"} for i in range(count))
    return ChartQA(builders.chartqa(root, rows))


def make_coco(root: Path, count: int) -> Dataset:
    images = [{"id": i, "file_name": "1.jpg"} for i in range(count)]
    return CocoCaptions(builders.coco(root, images, [builders.caption(i, TEXT) for i in range(count)]))


def make_mmbench(root: Path, count: int) -> Dataset:
    rows = (builders.mmbench_row(index=str(i), image=TEXT, C="", D="") for i in range(count))
    return MMBench(builders.mmbench(root, rows))


def make_scienceqa(root: Path, count: int) -> Dataset:
    return ScienceQA(builders.scienceqa(root, {str(i): builders.problem(hint=TEXT) for i in range(count)}))


def make_nlvr2(root: Path, count: int) -> Dataset:
    return NLVR(builders.nlvr2(root, [builders.pair(f"dev-{i}-0-0", sentence=TEXT) for i in range(count)]))


def make_latex(root: Path, count: int) -> Dataset:
    lines = (json.dumps({"img_name": f"{i}.png", "formula": TEXT}) for i in range(count))
    builders.write(root / "a/formulas.jsonl", "\n".join(lines))
    return Latex(root)


def peak_bytes(make: Callable[[Path, int], Dataset], root: Path, count: int) -> tuple[int, int]:
    """(highest memory during a pass over the first split, samples seen): the smaller of two passes over fresh readers.

    Python's table of interned strings doubles at some moment of a process, by 10 MB at 90,000 strings; a test that
    happens to meet that moment meets it in one pass alone.
    """
    return min(_pass(make(root, count)) for _ in range(2))


def _pass(data: Dataset) -> tuple[int, int]:
    gc.collect()
    tracemalloc.start()
    try:
        seen = sum(1 for _ in data.samples(data.splits()[0]))
        return tracemalloc.get_traced_memory()[1], seen
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [make_chartqa, make_coco, make_mmbench, make_scienceqa, make_nlvr2, make_latex])
def test_memory_grows_by_ids_alone(tmp_path: Path, make: Callable[[Path, int], Dataset]) -> None:
    small, seen_small = peak_bytes(make, tmp_path / "small", SMALL)
    large, seen_large = peak_bytes(make, tmp_path / "large", LARGE)
    assert seen_large == 10 * seen_small
    assert large - small < BYTES_PER_ID * (LARGE - SMALL)
