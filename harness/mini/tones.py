"""Recordings that stand for speech where only the code path matters: a tone for each word, and no speech in them.

A word is two sine waves, as a telephone's keypad has them, under a smooth envelope; a speaker sets the pitch. The
samples are 16-bit integers at 8 kHz, so a model that hears 16 kHz resamples.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.mini.streams import Dice

RATE_HZ = 8000
WORDS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "RED", "GREEN")
_LOW_HZ, _HIGH_HZ = (500.0, 600.0, 720.0), (1000.0, 1200.0, 1440.0, 1728.0)
WORD_SAMPLES, GAP_SAMPLES = 880, 240
"""0.11 s and 0.03 s."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A transcript and its samples, (samples,) of int16."""

    text: str
    samples: NDArray[np.int16]


def tones_hz(word: str, pitch: float = 1.0) -> tuple[float, float]:
    """The two frequencies of a word for a speaker of that pitch."""
    low, high = divmod(WORDS.index(word), len(_HIGH_HZ))
    return _LOW_HZ[low] * pitch, _HIGH_HZ[high] * pitch


def spoken(words: tuple[str, ...], pitch: float) -> NDArray[np.int16]:
    """The samples of words one after the other, with a gap before, between and after them."""
    time_s = np.arange(WORD_SAMPLES) / RATE_HZ
    envelope = np.sin(np.pi * (np.arange(WORD_SAMPLES) + 0.5) / WORD_SAMPLES)
    gap = np.zeros(GAP_SAMPLES)
    parts = [gap]
    for word in words:
        low, high = tones_hz(word, pitch)
        parts += [envelope * (np.sin(2 * np.pi * low * time_s) + np.sin(2 * np.pi * high * time_s)) / 2, gap]
    return np.rint(np.concatenate(parts) * 20000).astype(np.int16)


def draw(dice: Dice, pitch: float) -> Utterance:
    """An utterance of two to four words."""
    words = tuple(dice.pick(WORDS) for _ in range(dice.between(2, 4)))
    return Utterance(" ".join(words), spoken(words, pitch))


def wav(samples: NDArray[np.int16]) -> bytes:
    """The samples as a WAV file: PCM, one channel, 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()
