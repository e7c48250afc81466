"""Counts on the real subsets, as their README gives them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.base import Dataset, ImageError
from harness.datasets.images import decode
from harness.datasets.opening import open_dataset
from harness.records import Sample


def read(data: Path, name: str, split: str, **options: Any) -> tuple[Dataset, list[Sample]]:
    opened = open_dataset(name, data, options)
    samples = list(opened.samples(split))
    assert len({s.sample_id for s in samples}) == len(samples)
    return opened, samples


def test_chartqa(shared_data: Path) -> None:
    data, samples = read(shared_data, "chartqa", "test")
    assert Counter(s.metadata["subset"] for s in samples) == {"human": 360, "augmented": 184}
    assert len({s.cluster for s in samples}) == 300
    assert all(s.problem is None for s in samples)
    assert decode(data.image_bytes(samples[0].images[0]), "x").mode == "RGB"


def test_chartqa_tables(shared_data: Path) -> None:
    _, samples = read(shared_data, "chartqa", "test", view="tables")
    assert len(samples) == 10
    table = next(s for s in samples if s.sample_id == "13750").references[0].split("\n")
    assert table[:2] == ["Entity | Value", "No, not abandoning outlets news | 65"]
    assert all("\r" not in s.references[0] for s in samples)


@pytest.mark.parametrize(
    ("split", "images", "captions"), [("val2017", 80, 401), ("train2017", 25, 125), ("val2017_text_only", 4385, 21938)]
)
def test_coco(shared_data: Path, split: str, images: int, captions: int) -> None:
    _, samples = read(shared_data, "coco", split)
    assert (len(samples), sum(len(s.references) for s in samples)) == (images, captions)


def test_coco_corpus_is_the_larger_text_only_set(shared_data: Path) -> None:
    corpus = open_dataset("coco", shared_data).reference_corpus("val2017")
    assert corpus is not None
    assert (len(corpus), sum(map(len, corpus.values()))) == (4385, 21938)
    _, samples = read(shared_data, "coco", "val2017")
    assert all(corpus[s.sample_id] == s.references for s in samples)


@pytest.mark.parametrize(
    ("split", "questions", "passes"),
    [
        ("MMBench_samples_EN", 14, 54),
        ("MMBench_samples_CN", 14, 54),
        ("CCBench_samples", 10, 40),
        ("MMBench_dev_scienceqa_rows", 8, 24),
    ],
)
def test_mmbench(shared_data: Path, split: str, questions: int, passes: int) -> None:
    data, samples = read(shared_data, "mmbench", split)
    assert (len({s.group for s in samples}), len(samples)) == (questions, passes)
    assert len(read(shared_data, "mmbench", split, circular=False)[1]) == questions
    assert all(decode(data.image_bytes(s.images[0]), "x").mode == "RGB" for s in samples if s.metadata["pass"] == "0")


def test_scienceqa(shared_data: Path) -> None:
    data, samples = read(shared_data, "scienceqa", "test")
    assert Counter(s.metadata["modality"] for s in samples) == {"image": 130, "text": 120}
    assert data.splits() == ("test", "minitest")
    assert all(data.image_bytes(s.images[0]) for s in samples if s.images)


@pytest.mark.parametrize(("split", "count"), [("dev", 1035), ("balanced_dev", 339), ("unbalanced_dev", 538)])
def test_nlvr2_without_its_photographs(shared_data: Path, split: str, count: int) -> None:
    data, samples = read(shared_data, "nlvr2", split)
    assert len(samples) == count
    assert split != "dev" or len({s.group for s in samples}) == 300
    with pytest.raises(ImageError) as caught:
        data.image_bytes(samples[0].images[0])
    assert caught.value.kind == "missing_image"


def test_old_nlvr(shared_data: Path) -> None:
    data, samples = read(shared_data, "nlvr2", "nlvr1-dev")
    assert Counter(s.metadata["layout"] for s in samples) == {str(k): 120 for k in range(6)}
    assert decode(data.image_bytes(samples[7].images[0]), "x").mode == "RGB"


def test_latex(shared_data: Path) -> None:
    data, samples = read(shared_data, "latex", "im2latex_sample/test")
    assert len(samples) == 800
    # two formulas of the published file are empty
    assert [s.problem.kind for s in samples if s.problem] == ["empty_reference"] * 2
    assert decode(data.image_bytes(samples[0].images[0]), "x").size == (1654, 2339)
    assert len(read(shared_data, "latex", "texteller_sample")[1]) == 35
    assert len(read(shared_data, "latex", "im2latex100k_norm/val.formulas")[1]) == 8469
