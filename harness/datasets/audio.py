"""Encoded recordings → one channel of float32, or an `ImageError` that says why not.

WAV (PCM of 8 to 32 bits) is read with the standard library; FLAC, the form of LibriSpeech, with soundfile. Several
channels are averaged. The rate stays as it is: a model resamples to its own.
"""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import ImageError

MAX_SAMPLES = 60_000_000
"""Longer recordings (an hour at 16 kHz) are refused by their header; decoded, this many take 240 MB."""


def decode_audio(data: bytes, locator: str) -> tuple[NDArray[np.float32], int]:
    """The samples in [-1, 1], (samples,), and their rate in Hz.

    Args:
        data: the bytes of a WAV or FLAC file.
        locator: what messages call it.

    Raises:
        ImageError: `truncated_audio` (the file ends before its header says so), `audio_too_long` (more than
            `MAX_SAMPLES` by the header), `empty_audio`, `unreadable_audio` (anything else).
    """
    channels, rate_hz = _flac(data, locator) if data[:4] == b"fLaC" else _wav(data, locator)
    if not len(channels):
        raise ImageError("empty_audio", f"{locator}: the recording has no samples")
    return np.ascontiguousarray(channels.mean(axis=1), dtype=np.float32), rate_hz


def _check_length(frames: int, channels: int, locator: str) -> None:
    if frames * channels > MAX_SAMPLES:
        raise ImageError("audio_too_long", f"{locator}: {frames:,} x {channels} samples; the limit is {MAX_SAMPLES:,}")


def _wav(data: bytes, locator: str) -> tuple[NDArray[np.float64], int]:
    """(frames, channels) and the rate of PCM WAV bytes."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            frames, channels, width, rate_hz = (
                file.getnframes(),
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
            )
            _check_length(frames, channels, locator)
            content = file.readframes(frames)
    except EOFError as error:
        raise ImageError("truncated_audio", f"{locator}: the file ends too early") from error
    except (wave.Error, RuntimeError, struct.error, ZeroDivisionError) as error:  # what `wave` raises at damaged chunks
        reason = str(error) or type(error).__name__
        raise ImageError("unreadable_audio", f"{locator}: neither FLAC nor PCM WAV: {reason}") from error
    if len(content) < frames * channels * width:
        raise ImageError(
            "truncated_audio", f"{locator}: {len(content)} of {frames * channels * width} bytes of samples are there"
        )
    if rate_hz < 1 or width not in (1, 2, 3, 4):
        raise ImageError(
            "unreadable_audio", f"{locator}: rate {rate_hz} Hz, {8 * width} bits; give PCM of 8 to 32 bits"
        )
    return _pcm(content, width).reshape(-1, channels), rate_hz


def _pcm(content: bytes, width: int) -> NDArray[np.float64]:
    """Little-endian PCM in [-1, 1]; 8 bits are unsigned, as the format has it."""
    if width == 1:
        return (np.frombuffer(content, "u1").astype(np.float64) - 128) / 128
    if width == 3:
        whole = np.zeros((len(content) // 3, 4), np.uint8)
        whole[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return whole.view("<i4").ravel().astype(np.float64) / 2**31
    return np.frombuffer(content, f"<i{width}").astype(np.float64) / 2.0 ** (8 * width - 1)


def _flac(data: bytes, locator: str) -> tuple[NDArray[np.float64], int]:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise ImageError(
            "unreadable_audio", f'{locator}: FLAC needs soundfile ({error}); pip install "vlm-harness[speech]"'
        ) from error
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            frames, rate_hz = int(file.frames), int(file.samplerate)
            _check_length(frames, int(file.channels), locator)
            samples = file.read(dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise ImageError("unreadable_audio", f"{locator}: damaged FLAC: {error}") from error
    if len(samples) < frames:
        raise ImageError("truncated_audio", f"{locator}: {len(samples)} of {frames} samples are there")
    return samples, rate_hz
