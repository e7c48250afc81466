"""Files below a data folder, and nothing outside it.

Names inside annotation files come from strangers. A name with `..` or a root is refused before the disk is touched;
a link that leads out of the folder is refused before it is read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from harness.datasets.base import Dataset, ImageError
from harness.errors import DatasetError
from harness.records import ImageRef, Sample

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
"""Endings, in lower case, of files that count as pictures when a folder is listed."""


def leaves_folder(name: str) -> bool:
    """Whether a name from an annotation file points outside by its spelling alone."""
    slashed = name.replace("\\", "/")
    absolute = PurePosixPath(slashed).is_absolute() or bool(PureWindowsPath(name).drive)
    return absolute or "\x00" in name or ".." in slashed.split("/")


def inside(root: Path, relative: str) -> Path:
    """The real path of `relative` below `root`, links followed.

    Raises:
        ImageError: `path_outside_data`, or `missing_image` if there is no such file.
    """
    if leaves_folder(relative):
        raise ImageError("path_outside_data", f"{relative!r} leaves the data folder {root}; it is not read")
    try:
        real = (root / relative).resolve()
        if not real.is_relative_to(root.resolve()):
            raise ImageError("path_outside_data", f"{root / relative} is a link out of the data folder; it is not read")
        if not real.is_file():
            raise ImageError("missing_image", f"{root / relative} is not there")
    except (OSError, RuntimeError) as error:
        raise ImageError("missing_image", f"{root / relative} cannot be reached: {error}") from error
    return real


def annotation_file(root: Path, path: Path) -> Path:
    """`path` itself, once it is known to be a file below `root`.

    Raises:
        DatasetError: naming the file that is absent or a link out of the folder.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is not there")
    if not path.resolve().is_relative_to(root.resolve()):
        raise DatasetError(f"{path} is a link out of the data folder {root}; put a copy of the file there")
    return path


class FolderDataset(Dataset):
    """A data set whose pictures are files; `ImageRef.key` is the path below the folder."""

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(root, options)
        if not root.is_dir():
            raise DatasetError(f"{self.name}: {root} is not a folder; expected {self.layout}")

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of `split` in file order; see `Dataset.samples`."""
        self.check_split(split)
        return self.read(split)

    @abstractmethod
    def read(self, split: str) -> Iterator[Sample]:
        """The samples of a split that is known to be there."""

    def image_bytes(self, image: ImageRef) -> bytes:
        """The encoded bytes of an image file, unchanged; see `Dataset.image_bytes`."""
        path = inside(self.root, image.key)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ImageError("unreadable_image", f"{path} cannot be read: {error}") from error

    def ref(self, *candidates: str) -> ImageRef:
        """The first of several places where a picture may lie, or the first of all where none is there."""
        found = candidates[0]
        if len(candidates) > 1:
            found = next((c for c in candidates if (self.root / c).is_file()), found)
        return ImageRef(locator=found, key=found)


def subfolders(root: Path) -> list[Path]:
    """The folders in `root` in order of name."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
