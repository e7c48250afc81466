"""The codec: every record goes to JSON and back unchanged, and damage is named."""

from __future__ import annotations

import json

import pytest

from harness.codec import decode, encode
from harness.errors import StoreError
from harness.records import GenerationSettings, ModelIdentity, ModelSettings, Problem, Request, Response, Sample


@pytest.mark.parametrize(
    "record",
    [
        Response("f", "t", "s", None, Problem("k", "m")),
        Response("f", "t", "s", "text", choice_scores=(1.0, -2.5), latency_s=1.5),
        Response("f", "t", "s", "text", steps=(("table", "a | b"), ("reasoning", "so"))),
        Request("f", "t", "s", "p", images=("a", "b"), generation=GenerationSettings(stop=("x",))),
        Sample("s", references=("r",), metadata={"a": "b"}, problem=Problem("k", "m")),
        ModelSettings("n", "f", parts={"reader": ModelSettings("r", "g", generation={"*": {"num_beams": 2}})}),
        ModelIdentity(ModelSettings("n", "f", inner=ModelSettings("i", "g", options={"a": [1]})), "w", {"x": {"y": 1}}),
    ],
)
def test_records_survive_json(record: object) -> None:
    assert decode(type(record), json.loads(json.dumps(encode(record)))) == record


def test_a_field_of_a_later_version_is_refused() -> None:
    with pytest.raises(StoreError, match="unknown field 'colour'"):
        decode(Problem, {"kind": "k", "message": "m", "colour": 1})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(StoreError, match="field 'message' is missing"):
        decode(Problem, {"kind": "k"})


def test_a_wrong_shape_is_named() -> None:
    with pytest.raises(StoreError, match=r"Sample\.references: expected a list, found str"):
        decode(Sample, {"sample_id": "s", "references": "r"})
