"""The options of a multiple-choice question in another order: does a model answer the question or the place?"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from harness.engine.prompts import LETTERS
from harness.records import Sample


def reordered(sample: Sample, seed: int) -> Sample:
    """The sample with its options in an order drawn from seed and id, and the reference letter moved along.

    A sample without options, or whose reference is no letter of theirs, stays as it is. An order that changes nothing
    is drawn like any other.
    """
    letters = LETTERS[: len(sample.choices)]
    if not sample.choices or any(reference not in letters for reference in sample.references):
        return sample

    def rank(place: int) -> bytes:
        return hashlib.sha256(f"{seed}|{sample.sample_id}|{place}".encode()).digest()

    order = sorted(range(len(sample.choices)), key=rank)
    moved = {letters[old]: letters[new] for new, old in enumerate(order)}
    return replace(
        sample,
        choices=tuple(sample.choices[old] for old in order),
        references=tuple(moved[reference] for reference in sample.references),
    )
