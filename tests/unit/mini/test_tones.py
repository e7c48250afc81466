"""The bundled recordings: every word of every transcript is heard in its place by its two tones."""

from __future__ import annotations

import numpy as np
import pytest

from harness.datasets.audio import decode_audio
from harness.datasets.opening import open_dataset
from harness.mini.tones import GAP_SAMPLES, RATE_HZ, WORD_SAMPLES, WORDS, tones_hz

PITCHES = {"11": 0.9, "12": 1.0, "13": 1.1}


def heard(samples: np.ndarray, pitch: float) -> list[str]:
    """The words, from the energy at each word's frequencies in each place."""
    words = []
    for start in range(GAP_SAMPLES, len(samples) - WORD_SAMPLES + 1, WORD_SAMPLES + GAP_SAMPLES):
        time_s = np.arange(WORD_SAMPLES) / RATE_HZ
        piece = samples[start : start + WORD_SAMPLES]
        energy = {
            word: sum(abs(piece @ np.exp(2j * np.pi * hz * time_s)) for hz in tones_hz(word, pitch)) for word in WORDS
        }
        words.append(max(energy, key=lambda word: energy[word]))
    return words


def test_each_bundled_recording_holds_the_words_of_its_transcript() -> None:
    data = open_dataset("librispeech")
    samples = list(data.samples("mini"))
    assert len(samples) == 12
    assert len({sample.references for sample in samples}) == 12
    for sample in samples:
        recording, rate_hz = decode_audio(data.audio_bytes(sample.audio[0]), sample.audio[0].locator)
        assert rate_hz == RATE_HZ
        assert " ".join(heard(recording, PITCHES[sample.cluster])) == sample.references[0]


@pytest.mark.parametrize("pitch", sorted(PITCHES.values()))
def test_no_two_words_share_their_tones(pitch: float) -> None:
    assert len({tones_hz(word, pitch) for word in WORDS}) == len(WORDS)
    assert max(high for _, high in (tones_hz(word, pitch) for word in WORDS)) < RATE_HZ / 2
