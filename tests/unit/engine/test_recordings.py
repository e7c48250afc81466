"""Recordings through a whole run: asked, named when faulty, in the record, and without effect where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.engine.run import run_suite
from harness.fingerprint import SampleSetChecksum
from harness.records import ImageRef, Sample
from harness.store.tables import read_answers
from tests.model_inputs import SPEECH
from tests.tiny_checkpoints import build
from tests.unit.datasets.test_audio import wav
from tests.unit.datasets.test_librispeech import chapter

SUITE = """\
name: heard
version: 1
description: recordings of a test
data: folder
tasks: [librispeech-asr]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "heard.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "librispeech"
    chapter(root, "test-clean", "1", "2", {"1-2-0000": "ONE", "1-2-0001": "TWO", "1-2-0002": "TEN"})
    folder = root / "LibriSpeech" / "test-clean" / "1" / "2"
    for number in range(2):
        samples = tuple(((n * (number + 3)) % 50 - 25) / 100 for n in range(4000 + 500 * number))
        (folder / f"1-2-000{number}.wav").write_bytes(wav(samples, rate_hz=8000))
    (folder / "1-2-0002.wav").write_bytes(wav()[:46])
    return tmp_path / "data"


@pytest.mark.parametrize("name", SPEECH)
def test_a_speech_model_answers_recordings_and_a_faulty_one_is_named(
    name: str, suite: Path, speech: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers", reason="the models extra is not installed")
    checkpoint = build(tmp_path / "checkpoints", [name])[name]
    card = tmp_path / "heard-model.yaml"
    generation = "{'*': {max_new_tokens: 9}}"
    card.write_text(f"name: heard-model\nrun: {{family: speech, checkpoint: {checkpoint}, generation: {generation}}}\n")
    outcome = run_suite(suite, [card], data=speech, out=tmp_path / "out")
    assert outcome.failures == ()
    (result,) = outcome.runs[0].record.tasks
    assert (result.n_samples, result.n_answered) == (3, 2)
    assert result.unscored == {"truncated_audio": 1}
    assert {v.metric: (v.n_scored, v.n_total) for v in result.values} == {"wer": (2, 3), "cer": (2, 3)}
    rows = list(read_answers(outcome.runs[0].path / "samples.parquet", "librispeech-asr"))
    assert [row.sample.audio[0].locator.rpartition("/")[2] for row in rows] == [f"1-2-000{n}.wav" for n in range(3)]
    assert all(len(row.audio_sha256) == 1 for row in rows)
    assert len({row.audio_sha256 for row in rows}) == len({row.response.fingerprint for row in rows}) == 3


@pytest.mark.usefixtures("scripted")
def test_a_model_that_hears_nothing_is_not_asked_about_recordings(
    suite: Path, speech: Path, card: Callable[..., Path], tmp_path: Path
) -> None:
    outcome = run_suite(suite, [card("deaf"), "majority-answer"], data=speech, out=tmp_path / "out")
    deaf, control = (run.record.tasks[0] for run in outcome.runs)
    assert deaf.unscored == {"unsupported_input": 3}
    assert "0 recording(s)" in outcome.runs[0].samples()["failure_message"].iloc[0]
    assert deaf.sample_set == control.sample_set


def test_a_checksum_without_recordings_is_what_it_was_before_there_were_any() -> None:
    checksum = SampleSetChecksum()
    checksum.add(Sample("s", question="q", references=("r",), images=(ImageRef("a.png", "a.png"),)), ("00ff",))
    # Written by the program before samples had recordings.
    assert checksum.hexdigest() == "4690e7a8ae61cf08b9a1c9c280ea6d37bc8abeb71bfa4ca40a39ddbdb8aca530"


def test_recordings_count_in_the_checksum_by_content_or_by_locator() -> None:
    def digest(audio: str, hashes: tuple[str, ...] | None) -> str:
        checksum = SampleSetChecksum()
        checksum.add(Sample("s", audio=(ImageRef(audio, audio),)), None, hashes)
        return checksum.hexdigest()

    assert digest("a.wav", ("00",)) == digest("b.wav", ("00",))
    assert len({digest("a.wav", ("00",)), digest("a.wav", ("01",)), digest("a.wav", None), digest("b.wav", None)}) == 4


def test_a_table_written_before_there_were_recordings_is_still_read(suite: Path, speech: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    outcome = run_suite(suite, ["majority-answer"], data=speech, out=tmp_path / "out")
    table = pq.read_table(outcome.runs[0].path / "samples.parquet")
    older = tmp_path / "samples.parquet"
    pq.write_table(table.drop_columns(["audio_locators", "audio_keys", "audio_sha256"]), older)
    rows = list(read_answers(older, "librispeech-asr"))
    assert len(rows) == 3
    assert {row.sample.audio for row in rows} == {()}
