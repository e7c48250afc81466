"""A file of answers as a model: joins by sample id, missing answers, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.predictions import PredictionFile
from harness.records import ModelSettings, Problem
from tests.model_inputs import GREEDY, item


def given(path: Path, **options: object) -> ModelSettings:
    return ModelSettings("answers", "predictions", options={"path": str(path), **options})


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    rows = [{"sample_id": "s0", "text": "yes"}, {"sample_id": "s2", "text": ""}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_answers_are_found_by_sample_and_a_missing_one_fails_alone(answers: Path) -> None:
    model = PredictionFile.load(given(answers))
    found = model.generate(model.prepare([item(2), item(1), item(0, pictures=())]), GREEDY)
    assert found[0] == Generation("")
    assert found[1] == Problem("no_prediction", "answers.jsonl has no answer for sample s1")
    assert found[2] == Generation("yes")


def test_identity_follows_the_bytes_of_the_file(answers: Path) -> None:
    before = PredictionFile.identify(given(answers)).weights
    answers.write_text(answers.read_text() + '{"sample_id": "s5", "text": "no"}\n')
    assert PredictionFile.identify(given(answers)).weights != before


def test_a_missing_file_a_missing_path_and_an_unknown_form_are_refused(answers: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"run\.options\.path: there is no file .*absent\.jsonl"):
        PredictionFile.identify(given(tmp_path / "absent.jsonl"))
    with pytest.raises(ModelError, match=r"run\.options\.path: field required"):
        PredictionFile.identify(ModelSettings("answers", "predictions"))
    (tmp_path / "noise.txt").write_text("no answers here\n")
    with pytest.raises(ModelError, match=r"noise\.txt"):
        PredictionFile.load(given(tmp_path / "noise.txt"))


def test_two_different_answers_to_one_sample_are_refused(answers: Path) -> None:
    answers.write_text(answers.read_text() + '{"sample_id": "s0", "text": "no"}\n')
    with pytest.raises(ModelError, match="s0"):
        PredictionFile.load(given(answers))
