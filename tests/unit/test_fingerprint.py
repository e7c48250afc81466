"""Fingerprints: equal content gives equal digests, whatever the order or type of its containers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.fingerprint import canonical_json, fingerprint
from harness.records import GenerationSettings


def test_order_of_keys_does_not_matter_and_order_of_items_does() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def test_a_record_equals_its_mapping() -> None:
    settings = GenerationSettings(stop=("x",))
    assert canonical_json(settings) == canonical_json({**{f: getattr(settings, f) for f in settings.__slots__}})


def test_unlike_texts_differ_even_when_they_look_alike() -> None:
    assert fingerprint("1") != fingerprint(1)
    assert fingerprint(None) != fingerprint("")


@pytest.mark.parametrize("value", [object(), {1: object()}, float("nan")])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        fingerprint(value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_canonical_json_is_that_of_the_standard_library(value: object) -> None:
    expected = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    assert canonical_json(value) == expected
