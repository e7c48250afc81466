"""What a data folder holds: every sample read, every picture decoded, everything wrong counted and named."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from harness.datasets.audio import decode_audio
from harness.datasets.base import Dataset, ImageError
from harness.datasets.images import decode
from harness.fingerprint import SampleSetChecksum, file_sha256
from harness.records import ImageRef

MAX_EXAMPLES = 5
"""Examples named for each kind of problem."""


@dataclass(frozen=True, slots=True)
class ProblemCount:
    """How often one kind of fault occurs."""

    kind: str
    count: int
    """Samples for faults of rows, references for faults of pictures."""
    examples: tuple[str, ...]
    """Up to `MAX_EXAMPLES` messages, each beginning with the sample's id."""


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What one split holds."""

    dataset: str
    split: str
    form: str
    n_samples: int
    n_groups: int
    n_images: int
    """References to pictures; a picture asked about twice counts twice."""
    n_unique_images: int
    """Different contents among the pictures that could be read."""
    problems: tuple[ProblemCount, ...]
    """By kind, in order of name."""
    duplicate_ids: tuple[str, ...]
    """Sample ids that occur twice, which would be a fault of the reader; faults of the files are in `problems`."""
    checksum: str
    """SHA-256 as in `SampleSetChecksum`, with the pictures' contents; that of a run over the whole split."""
    files: Mapping[str, str]
    """Annotation file below the folder → SHA-256."""
    n_audio: int = 0
    """References to recordings."""


def check_dataset(dataset: Dataset, *, split: str | None = None) -> list[SplitReport]:
    """One report for each split (or for the one named); all samples are read and all pictures decoded.

    Raises:
        DatasetError: unknown split, or an annotation file that cannot be read as a whole.
    """
    return [_check(dataset, name) for name in ([split] if split else dataset.splits())]


def _check(dataset: Dataset, split: str) -> SplitReport:
    checksum = SampleSetChecksum()
    problems: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    contents: set[bytes] = set()
    faulty: dict[bytes, ImageError] = {}
    ids: set[str] = set()
    groups: set[str] = set()
    twice: list[str] = []
    n_samples = n_images = n_audio = 0

    @lru_cache(maxsize=16)
    def content(image: ImageRef) -> bytes | ImageError:
        """SHA-256 of a picture that decodes, or why it does not; a content is decoded once."""
        try:
            data = dataset.image_bytes(image)
        except ImageError as error:
            return error
        digest = hashlib.sha256(data).digest()
        if digest not in contents and digest not in faulty:
            try:
                decode(data, image.locator)
                contents.add(digest)
            except ImageError as error:
                faulty[digest] = error
        return faulty.get(digest, digest)

    def sound(audio: ImageRef) -> str | ImageError:
        """SHA-256 of a recording that decodes, or why it does not."""
        try:
            data = dataset.audio_bytes(audio)
            decode_audio(data, audio.locator)
        except ImageError as error:
            return error
        return hashlib.sha256(data).hexdigest()

    def note(kind: str, message: str) -> None:
        problems[kind] += 1
        named = examples.setdefault(kind, [])
        if len(named) < MAX_EXAMPLES:
            named.append(message)

    for sample in dataset.samples(split):
        n_samples += 1
        n_images += len(sample.images)
        if sample.sample_id in ids:
            twice.append(sample.sample_id)
        ids.add(sample.sample_id)
        groups.add(sample.group or sample.sample_id)
        if sample.problem is not None:
            note(sample.problem.kind, f"{sample.sample_id}: {sample.problem.message}")
        hashes = []
        for image in sample.images:
            found = content(image)
            if isinstance(found, ImageError):
                note(found.kind, f"{sample.sample_id}: {found}")
            else:
                hashes.append(found.hex())
        n_audio += len(sample.audio)
        sounds = []
        for audio in sample.audio:
            heard = sound(audio)
            if isinstance(heard, ImageError):
                note(heard.kind, f"{sample.sample_id}: {heard}")
            else:
                sounds.append(heard)
        whole = sample.problem is None and len(hashes) == len(sample.images)
        complete = whole and len(sounds) == len(sample.audio)
        checksum.add(sample, tuple(hashes) if whole else None, tuple(sounds) if complete else None)
    return SplitReport(
        dataset=dataset.name,
        split=split,
        form=dataset.form,
        n_samples=n_samples,
        n_groups=len(groups),
        n_images=n_images,
        n_unique_images=len(contents),
        problems=tuple(ProblemCount(kind, problems[kind], tuple(examples[kind])) for kind in sorted(problems)),
        duplicate_ids=tuple(twice),
        checksum=checksum.hexdigest(),
        files={path.relative_to(dataset.root).as_posix(): file_sha256(path) for path in dataset.files(split)},
        n_audio=n_audio,
    )
