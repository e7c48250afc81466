"""What a data set is to the rest of the program: splits, a stream of samples, the bytes of an image.

A data set is opened on one folder and never reads outside it. Samples are streamed: memory does not grow with the size
of the set, except for ids (needed to find duplicates). A row that cannot be asked is still yielded, with its `problem`.
A fault of an image file (absent, truncated, too large) shows when the image is read, so that stored answers can be
scored where the images may not be shared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import DatasetError
from harness.records import ImageRef, Sample


class Dataset(ABC):
    """Reader of one benchmark's files."""

    name: str
    """Registry name, and the name of its folder below a folder of benchmarks."""
    form: str = "official"
    """Which reader this is: `official` (also the bundled mini form) or `hub`."""
    layout: str = ""
    """The files it expects, in one line, for error messages."""
    known_options: frozenset[str] = frozenset()
    """Names of the options it takes."""

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None) -> None:
        """Open the benchmark's own folder `root`.

        Raises:
            DatasetError: if the folder does not have the layout, naming what is missing, or an option is unknown.
        """
        self.root = root
        self.options = dict(options or {})
        for option in self.options:
            if option not in self.known_options:
                known = ", ".join(sorted(self.known_options)) or "none"
                raise DatasetError(f'{self.name}: unknown option "{option}"; it takes: {known}')

    @classmethod
    @abstractmethod
    def matches(cls, root: Path) -> bool:
        """Whether `root` looks like this benchmark's own folder (used to accept `--data` of either kind)."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits present in the folder, the usual one first."""

    @abstractmethod
    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of `split` in file order.

        Raises:
            DatasetError: unknown split, or a file that cannot be read as a whole (names file and position).
        """

    def count(self, split: str) -> int:
        """Number of samples of `split`, for estimates of time: read through where the files do not tell it sooner."""
        return sum(1 for _ in self.samples(split))

    @abstractmethod
    def image_bytes(self, image: ImageRef) -> bytes:
        """The encoded bytes (PNG, JPEG, …) of an image, unchanged.

        Raises:
            ImageError: missing file or a path that leaves the folder; `.kind` is the problem's kind.
        """

    def audio_bytes(self, audio: ImageRef) -> bytes:
        """The encoded bytes (WAV, FLAC) of a recording, unchanged.

        Raises:
            ImageError: as `image_bytes`; and `missing_audio` for a data set that has no recordings.
        """
        raise ImageError("missing_audio", f"{audio.locator}: data set {self.name} has no recordings")

    @abstractmethod
    def files(self, split: str) -> tuple[Path, ...]:
        """The annotation files that `split` is read from; their checksums are the data revision."""

    def check_split(self, split: str) -> None:
        """Nothing if the folder has `split`.

        Raises:
            DatasetError: naming the splits that are there.
        """
        present = self.splits()
        if split not in present:
            raise DatasetError(f'{self.name}: no split "{split}" in {self.root}; there are: {", ".join(present)}')

    def reference_corpus(self, split: str) -> Mapping[str, tuple[str, ...]] | None:
        """All references on disk that document frequencies may be counted over, by image id; `None` where unused."""
        return None


class ImageError(DatasetError):
    """An image or a recording cannot be read; `kind` is the name that the problem is counted under."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
