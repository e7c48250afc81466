"""SHA-256 over canonical JSON: the identity of everything that can change an answer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.records import Sample

_BLOCK_BYTES = 1 << 20
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _canonical() -> Callable[[Any], str]:
    """What `_ENCODER.encode` does, without making its compiled part anew for each value: half the time for a sample."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _ENCODER.encode
    escaped = json.encoder.encode_basestring
    parts = make(None, _ENCODER.default, escaped, None, ":", ",", True, False, False)
    return lambda value: "".join(parts(value, 0))


_encode = _canonical()


def plain(value: Any) -> Any:
    """`value` as JSON types: records and mappings become dicts, tuples and sets lists.

    Raises:
        TypeError: for a type that has no canonical form; a guess here would make unlike things equal.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(v) for v in value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no canonical form; turn it into JSON types first")


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys and no white space; equal values give equal text."""
    return _encode(plain(value))


def fingerprint(value: Any) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of `value`."""
    return fingerprint_of_plain(plain(value))


def fingerprint_of_plain(value: Any) -> str:
    """The same of what `plain` gave, or of text, numbers, tuples and dicts with text as keys."""
    return hashlib.sha256(_encode(value).encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file's bytes, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class SampleSetChecksum:
    """SHA-256 of a set of samples, fed one at a time: what was asked, in which order, and with which references.

    Two sets with one checksum ask the same things: ids, questions, hints, choices, references, kinds of problem, and
    the pictures by content where it is known. Metadata, clusters and groups are not part of it.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(
        self,
        sample: Sample,
        image_hashes: tuple[str, ...] | None = None,
        audio_hashes: tuple[str, ...] | None = None,
    ) -> None:
        """Take in the next sample.

        Args:
            sample: the sample.
            image_hashes: SHA-256 of each picture's bytes in hex; without them the locators stand for the pictures.
            audio_hashes: the same of each recording. A sample without recordings has the checksum that it had before
                there were any.
        """
        images = [image.locator for image in sample.images] if image_hashes is None else list(image_hashes)
        content: list[Any] = [
            sample.sample_id,
            sample.question,
            sample.hint,
            sample.choices,
            sample.references,
            sample.problem.kind if sample.problem else None,
            images,
        ]
        if sample.audio:
            content.append([audio.locator for audio in sample.audio] if audio_hashes is None else list(audio_hashes))
        line = _encode(content)
        self._digest.update(line.encode("utf-8", "surrogatepass") + b"\n")

    def hexdigest(self) -> str:
        """The checksum of the samples so far, 64 hex digits."""
        return self._digest.hexdigest()
