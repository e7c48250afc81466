"""Recordings decoded: PCM of every width and FLAC by samples written here; damaged files by name."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from harness.datasets import audio
from harness.datasets.audio import decode_audio
from harness.datasets.base import ImageError

LEVELS = (0.0, 0.5, -0.5, -1.0, 0.25)


def wav(levels: tuple[float, ...] = LEVELS, *, width: int = 2, channels: int = 1, rate_hz: int = 16000) -> bytes:
    scale = 2 ** (8 * width - 1)
    whole = [int(level * scale) + (128 if width == 1 else 0) for level in levels]
    content = b"".join(value.to_bytes(width, "little", signed=width > 1) for value in whole)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, width, rate_hz, 0, "NONE", ""))
        file.writeframes(content)
    return buffer.getvalue()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_of_every_width_gives_the_levels_written(width: int) -> None:
    samples, rate_hz = decode_audio(wav(width=width, rate_hz=8000), "a.wav")
    assert samples.dtype == np.float32
    assert samples.tolist() == list(LEVELS)
    assert rate_hz == 8000


def test_channels_are_averaged() -> None:
    samples, _ = decode_audio(wav((1 / 2, 0.0, -0.5, 0.5), channels=2), "a.wav")
    assert samples.tolist() == [0.25, 0.0]


def test_flac_gives_the_samples_of_the_wav() -> None:
    soundfile = pytest.importorskip("soundfile", reason="the speech extra is not installed")
    whole = (np.array(LEVELS) * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, whole, 16000, format="FLAC", subtype="PCM_16")
    samples, rate_hz = decode_audio(buffer.getvalue(), "a.flac")
    assert samples.tolist() == list(LEVELS)
    assert rate_hz == 16000


@pytest.mark.parametrize("keep", [20, 45, 50])
def test_a_wav_that_ends_too_early_is_truncated(keep: int) -> None:
    with pytest.raises(ImageError, match=r"a\.wav") as caught:
        decode_audio(wav()[:keep], "a.wav")
    assert caught.value.kind == "truncated_audio"


@pytest.mark.parametrize(
    "data", [b"no sound at all, but long enough for a header", b"RIFF\x00\x00\x00\x00WAVEjunk" * 4]
)
def test_what_is_no_recording_is_named(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"a\.wav") as caught:
        decode_audio(data, "a.wav")
    assert caught.value.kind in ("unreadable_audio", "truncated_audio")


def test_an_empty_file_and_an_empty_recording_are_told_apart() -> None:
    for data, kind in ((b"", "truncated_audio"), (wav(()), "empty_audio")):
        with pytest.raises(ImageError) as caught:
            decode_audio(data, "a.wav")
        assert caught.value.kind == kind


def test_damaged_flac_is_named() -> None:
    pytest.importorskip("soundfile", reason="the speech extra is not installed")
    with pytest.raises(ImageError, match="damaged FLAC") as caught:
        decode_audio(b"fLaC" + b"\x00" * 60, "a.flac")
    assert caught.value.kind == "unreadable_audio"


def test_flac_without_soundfile_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(ImageError, match=r"vlm-harness\[speech\]"):
        decode_audio(b"fLaC", "a.flac")


def test_a_recording_over_the_limit_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SAMPLES", 4)
    with pytest.raises(ImageError) as caught:
        decode_audio(wav(), "a.wav")
    assert caught.value.kind == "audio_too_long"
