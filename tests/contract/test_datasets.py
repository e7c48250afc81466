"""What every registered data set promises, on the bundled mini data."""

from __future__ import annotations

from itertools import islice

import pytest

from harness import registry
from harness.datasets.audio import decode_audio
from harness.datasets.base import Dataset
from harness.datasets.images import decode
from harness.datasets.opening import open_dataset
from harness.datasets.rows import LETTERS
from harness.datasets.selection import select
from tests.conftest import FOREIGN

NAMES = sorted(set(registry.names("datasets")) - FOREIGN)
pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def data(name: str) -> Dataset:
    return open_dataset(name)


def test_every_split_can_be_read_and_has_files(data: Dataset) -> None:
    assert data.splits()
    for split in data.splits():
        assert next(data.samples(split), None) is not None
        assert data.files(split)
        assert all(path.is_file() and path.is_relative_to(data.root) for path in data.files(split))


def test_ids_are_unique_in_each_split(data: Dataset) -> None:
    for split in data.splits():
        ids = [sample.sample_id for sample in data.samples(split)]
        assert all(ids)
        assert len(set(ids)) == len(ids)


def test_the_count_is_that_of_the_samples(data: Dataset) -> None:
    for split in data.splits():
        assert data.count(split) == sum(1 for _ in data.samples(split))


def test_samples_are_whole(data: Dataset) -> None:
    for split in data.splits():
        for sample in data.samples(split):
            assert sample.problem is None, sample.problem
            assert sample.references
            assert all(reference.strip() for reference in sample.references)
            assert sample.cluster


def test_answers_are_among_the_choices(data: Dataset) -> None:
    for split in data.splits():
        for sample in data.samples(split):
            if sample.choices:
                allowed = (*LETTERS[: len(sample.choices)], *sample.choices)
                assert all(reference in allowed for reference in sample.references), sample.sample_id


def test_metadata_is_text(data: Dataset) -> None:
    for split in data.splits():
        for sample in data.samples(split):
            assert all(isinstance(k, str) and isinstance(v, str) and v for k, v in sample.metadata.items())


def test_pictures_and_recordings_decode_and_can_be_read_twice(data: Dataset) -> None:
    for split in data.splits():
        pictures = sounds = 0
        for sample in islice(data.samples(split), 25):
            for image in sample.images:
                pictures += 1
                first = data.image_bytes(image)
                assert decode(first, image.locator).mode == "RGB"
                assert data.image_bytes(image) == first
            for audio in sample.audio:
                sounds += 1
                encoded = data.audio_bytes(audio)
                assert len(decode_audio(encoded, audio.locator)[0])
                assert data.audio_bytes(audio) == encoded
        assert pictures + sounds


def test_order_and_content_are_the_same_in_a_second_reading(name: str, data: Dataset) -> None:
    again = open_dataset(name)
    for split in data.splits():
        assert list(data.samples(split)) == list(again.samples(split))


def test_a_subset_is_the_beginning_with_whole_groups(data: Dataset) -> None:
    for split in data.splits():
        everything = list(data.samples(split))
        chosen = list(select(lambda split=split: data.samples(split), {"first": 3}))  # type: ignore[misc]
        groups = list(dict.fromkeys(s.group or s.sample_id for s in everything))[:3]
        assert chosen == [s for s in everything if (s.group or s.sample_id) in groups]


def test_no_reference_to_a_picture_holds_the_picture(data: Dataset) -> None:
    for split in data.splits():
        for sample in data.samples(split):
            assert all(len(image.key) < 300 and len(image.locator) < 300 for image in sample.images)
