"""What a card may and may not say: scores that could not be read, models that hear, models that cannot run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from harness.cards.loading import load_card
from harness.cards.schema import AudioEncoder, ModelCard, PublishedScore

SCORE = {
    "benchmark": "b",
    "split": "s",
    "protocol": "p",
    "metric": "m",
    "source": "a paper",
    "confidence": "C",
}


def test_a_published_score_that_was_not_read_says_why() -> None:
    assert PublishedScore.model_validate({**SCORE, "value": None, "why": "table not read"}).value is None
    for wrong in ({"value": None}, {"value": 1.0, "why": "no reason needed"}):
        with pytest.raises(ValidationError, match="`why` belongs to `value: null`"):
            PublishedScore.model_validate({**SCORE, **wrong})


def test_a_score_without_a_source_is_refused() -> None:
    with pytest.raises(ValidationError, match="source"):
        PublishedScore.model_validate({k: v for k, v in {**SCORE, "value": 1.0}.items() if k != "source"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"run": {"family": "llava"}, "takes_part": "description-only"}, "`takes_part` is for a card without `run`"),
        ({"why_no_run": "closed", "takes_part": "maybe"}, "takes_part"),
    ],
)
def test_how_a_model_takes_part_belongs_to_cards_that_cannot_run(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelCard.model_validate({"name": "c", **fields})


def test_a_model_that_hears_has_an_audio_encoder_and_no_eyes() -> None:
    describe = load_card("whisper-tiny").card.describe
    assert describe is not None
    assert describe.architecture.vision_encoder is None
    assert isinstance(describe.architecture.audio_encoder, AudioEncoder)
    assert describe.architecture.audio_encoder.sample_rate_hz.value == 16_000
    assert "audio_encoder" in json.dumps(ModelCard.model_json_schema())
