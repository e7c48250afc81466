"""Speech models on tiny checkpoints of the real classes: padding, lengths, languages, and the library's own answers.

Evidence: agreement with the library called by hand, properties of batches, and refusals by name.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="the models extra is not installed")

from harness.errors import ModelError
from harness.fingerprint import fingerprint
from harness.models.base import Audio, Generation, ModelInput
from harness.models.speech import Speech, Wav2Vec2, Whisper, resampled
from harness.records import GenerationSettings, Problem
from tests.model_inputs import GREEDY, SPEECH, items, picture, recording, settings, spoken
from tests.tiny_checkpoints import build


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("speech"), SPEECH)


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, Speech]:
    return {name: Speech.load(settings(name, folders)) for name in SPEECH}  # type: ignore[misc]


def answers(model: Speech, batch: list[ModelInput]) -> list[Generation | Problem]:
    return model.generate(model.prepare(batch), GREEDY)


def test_the_checkpoint_says_which_kind_it_is(models: dict[str, Speech]) -> None:
    assert {name: type(model).__name__ for name, model in models.items()} == {
        "whisper": "Whisper",
        "wav2vec2": "Wav2Vec2",
        "wav2vec2_layer": "Wav2Vec2",
        "hubert": "Hubert",
    }


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2_layer", "hubert"])
def test_characters_are_those_that_the_library_reads_from_one_recording(models: dict[str, Speech], name: str) -> None:
    import torch

    model = models[name]
    sound = recording(0)
    tensors = model.processor(sound.samples, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        ids = model.model(tensors["input_values"]).logits.argmax(dim=-1)
    (expected,) = model.processor.batch_decode(ids)
    (found,) = answers(model, [spoken(0)])
    assert isinstance(found, Generation)
    assert found.text == expected


def test_whisper_writes_what_the_library_writes(models: dict[str, Speech], folders: dict[str, Path]) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    model = models["whisper"]
    own = WhisperForConditionalGeneration.from_pretrained(folders["whisper"]).eval()
    english = Speech.load(settings("whisper", folders, options={"language": "en"}))
    features = model.processor(recording(1).samples, sampling_rate=16000, return_tensors="pt")["input_features"]
    with torch.inference_mode():
        ids = own.generate(
            features, language="en", task="transcribe", max_new_tokens=12, force_unique_generate_call=True
        )
    (expected,) = model.processor.batch_decode(ids, skip_special_tokens=True)
    (found,) = answers(english, [spoken(1)])  # type: ignore[arg-type]
    assert isinstance(found, Generation)
    assert found.text == expected.strip()
    assert (found.prompt_tokens, found.output_tokens) == (4, 12)


def test_padding_would_change_a_model_without_a_mask_and_so_only_equal_lengths_meet(models: dict[str, Speech]) -> None:
    import torch

    model, batch = models["wav2vec2"], items("wav2vec2")
    prepared = model.prepare(batch)
    with torch.inference_mode():
        padded = model.model(prepared.tensors["input_values"]).logits
        alone = model.model(model.prepare([batch[3]]).tensors["input_values"]).logits
    assert float((padded[3, : alone.shape[1]] - alone[0]).abs().max()) > 0.1, "else this test shows nothing"
    assert [model.bucket(item) for item in batch] == [14000, 9000, 9000, 5000]
    assert answers(model, batch) == [answers(model, [one])[0] for one in batch]


@pytest.mark.parametrize("name", ["whisper", "wav2vec2_layer", "hubert"])
def test_a_model_with_a_mask_or_a_window_takes_all_lengths_together(models: dict[str, Speech], name: str) -> None:
    assert {models[name].bucket(item) for item in items(name)} == {0}


def test_a_recording_at_another_rate_is_brought_to_the_models() -> None:
    time_s = np.arange(8000) / 8000
    slow = Audio(np.sin(2 * np.pi * 440 * time_s).astype(np.float32), 8000)
    fast = resampled(slow, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert len(fast) == 16000
    assert np.abs(fast[500:-500] - expected[500:-500]).max() < 0.01
    assert resampled(slow, 8000) is slow.samples


def test_whisper_refuses_what_is_longer_than_its_window_and_answers_the_rest(models: dict[str, Speech]) -> None:
    model = models["whisper"]
    long = dataclasses.replace(spoken(1), audio=(Audio(np.zeros(8001, np.float32), 8000),))
    first, problem = answers(model, [spoken(0), long])
    assert isinstance(problem, Problem)
    assert problem.kind == "audio_too_long"
    assert [first] == answers(model, [spoken(0)])
    exact = dataclasses.replace(spoken(1), audio=(Audio(np.zeros(8000, np.float32), 8000),))
    assert isinstance(answers(model, [exact])[0], Generation)


def test_an_image_or_a_missing_recording_is_a_problem_of_that_input(models: dict[str, Speech]) -> None:
    one = spoken(0)
    seen = dataclasses.replace(one, images=(picture(0),))
    deaf = dataclasses.replace(one, audio=())
    for model in models.values():
        found = answers(model, [deaf, one, seen])
        assert [getattr(f, "kind", None) for f in found] == ["unsupported_input", None, "unsupported_input"]


def test_language_and_task_change_whispers_answer_and_its_identity(folders: dict[str, Path]) -> None:
    given = [{"language": "en"}, {"language": "fr"}, {"language": "en", "speech_task": "translate"}]
    cases = [settings("whisper", folders, options=options) for options in given]
    assert len({fingerprint(Speech.identify(case).processing) for case in cases}) == 3
    texts = [tuple(map(str, answers(Speech.load(case), items("whisper")))) for case in cases]  # type: ignore[arg-type]
    assert len(set(texts)) == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("whisper", {"language": "xx"}, "run.options.language is 'xx'; give one of: en, fr"),
        ("whisper", {"speech_task": "sing"}, "run.options.speech_task"),
        ("wav2vec2", {"language": "en"}, "for Whisper; wav2vec2 has neither"),
        ("hubert", {"speech_task": "translate"}, "for Whisper; hubert has neither"),
    ],
)
def test_options_without_meaning_are_refused(
    folders: dict[str, Path], name: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Speech.load(settings(name, folders, options=options))


@pytest.mark.parametrize("field", ["lang_to_id", "no_timestamps_token_id"])
def test_a_whisper_without_its_token_ids_is_refused(folders: dict[str, Path], tmp_path: Path, field: str) -> None:
    broken = tmp_path / "whisper"
    shutil.copytree(folders["whisper"], broken)
    stored = json.loads((broken / "generation_config.json").read_text())
    del stored[field]
    (broken / "generation_config.json").write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=field):
        Speech.load(settings("whisper", {"whisper": broken}))


def test_a_whisper_of_english_only_takes_no_language(folders: dict[str, Path], tmp_path: Path) -> None:
    english = tmp_path / "whisper"
    shutil.copytree(folders["whisper"], english)
    stored = json.loads((english / "generation_config.json").read_text())
    for field in ("lang_to_id", "task_to_id"):
        del stored[field]
    (english / "generation_config.json").write_text(json.dumps({**stored, "is_multilingual": False}))
    model = Speech.load(settings("whisper", {"whisper": english}, options={"language": "en"}))
    (found,) = answers(model, [spoken(0)])  # type: ignore[arg-type]
    assert isinstance(found, Generation)
    assert found.prompt_tokens == 2
    with pytest.raises(ModelError, match="English only"):
        Speech.load(settings("whisper", {"whisper": english}, options={"language": "fr"}))


@pytest.mark.parametrize("changes", [{"do_sample": True}, {"num_beams": 2}])
def test_a_ctc_head_refuses_beams_and_sampling(models: dict[str, Speech], changes: dict[str, object]) -> None:
    model = models["hubert"]
    with pytest.raises(ModelError, match="no beams and no sampling"):
        model.generate(model.prepare(items("hubert")), GenerationSettings(**changes))  # type: ignore[arg-type]


def test_a_checkpoint_of_another_kind_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folders["hubert"], other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(ModelError, match="'bert'; family speech reads whisper, wav2vec2, hubert"):
        Speech.identify(settings("hubert", {"hubert": other}))


def test_a_weight_of_training_alone_may_be_absent_and_any_other_may_not(
    folders: dict[str, Path], models: dict[str, Speech], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    less = tmp_path / "wav2vec2"
    shutil.copytree(folders["wav2vec2"], less)
    state = load_file(less / "model.safetensors")
    del state["wav2vec2.masked_spec_embed"]
    save_file(state, less / "model.safetensors", metadata={"format": "pt"})
    given = settings("wav2vec2", {"wav2vec2": less})
    assert answers(Speech.load(given), items("wav2vec2")) == answers(  # type: ignore[arg-type]
        models["wav2vec2"], items("wav2vec2")
    )
    del state["lm_head.bias"]
    save_file(state, less / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lm_head\.bias"):
        Speech.load(given)


def test_beams_work_where_a_decoder_searches(models: dict[str, Speech]) -> None:
    model = models["whisper"]
    assert isinstance(model, Whisper)
    assert not isinstance(model, Wav2Vec2)
    found = model.generate(model.prepare(items("whisper")), GenerationSettings(max_new_tokens=8, num_beams=2))
    assert all(isinstance(one, Generation) for one in found)
