"""Region features of images, computed elsewhere by a detector and read from files.

The features of an image lie under a key: the SHA-256 of the image file's bytes (64 hex digits), or the sample id. For
each key there are `features` (regions, width) and, where the model reads them, `boxes` (regions, 4): left, top, right,
bottom as shares of the image's width and height, in [0, 1]. Forms:

- a folder with `<key>.npz` or `<key>.safetensors`, each with arrays `features` and `boxes`;
- one `.npz` or `.safetensors` file with arrays `<key>/features` and `<key>/boxes`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.fingerprint import file_sha256, fingerprint
from harness.records import Problem

_SUFFIXES = (".npz", ".safetensors")


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of one image."""

    features: NDArray[np.float32]
    """(regions, width)."""
    boxes: NDArray[np.float32] | None
    """(regions, 4), shares of the image's sides."""


class RegionFeatures:
    """A folder or a file of region features."""

    def __init__(self, path: Path) -> None:
        """Open the features at `path`; nothing is read yet.

        Raises:
            ModelError: there is no such folder or file, or it is of another form.
        """
        self.path = path
        self._names: frozenset[str] | None = None
        if not path.is_dir() and not (path.is_file() and path.suffix in _SUFFIXES):
            raise ModelError(
                f"{path}: no region features; give a folder of .npz or .safetensors files, or one such file"
            )

    def identity(self) -> str:
        """SHA-256 over the names and bytes of the files."""
        if self.path.is_file():
            return file_sha256(self.path)
        files = sorted(file for file in self.path.iterdir() if file.suffix in _SUFFIXES)
        return fingerprint([[file.name, file_sha256(file)] for file in files])

    def find(self, keys: Sequence[str], *, width: int, needs_boxes: bool) -> Regions | Problem:
        """The regions under the first key that is there.

        Args:
            keys: image hash and sample id.
            width: length of a feature vector.
            needs_boxes: whether features without boxes are a problem.
        """
        for key in keys:
            found = self._read(key)
            if isinstance(found, Problem):
                return found
            if found is not None:
                return _checked(found, f"{self.path}: {key}", width, needs_boxes)
        return Problem("no_features", f"{self.path} has no features for {' or '.join(keys)}")

    def _read(self, key: str) -> Mapping[str, Any] | Problem | None:
        if self.path.is_file():
            return _arrays(self.path, f"{key}/")
        if Path(key).name != key:
            return None
        for suffix in _SUFFIXES:
            if (self.path / f"{key}{suffix}").is_file():
                return _arrays(self.path / f"{key}{suffix}", "")
        return None


def _arrays(path: Path, prefix: str) -> Mapping[str, Any] | Problem | None:
    """`features` and `boxes` of a file, those that are there; `None` where there are no features."""
    try:
        if path.suffix == ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return _picked({name: file[prefix + name] for name in _FIELDS if prefix + name in file.files})
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            return _picked({name: file.get_tensor(prefix + name) for name in _FIELDS if prefix + name in names})
    except (OSError, ValueError, zipfile.BadZipFile, _safetensors_error()) as error:
        return Problem("bad_features", f"{path} cannot be read: {error}")


_FIELDS = ("features", "boxes")


def _picked(found: dict[str, Any]) -> Mapping[str, Any] | None:
    return found if "features" in found else None


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    error: type[Exception] = SafetensorError
    return error


def _checked(found: Mapping[str, Any], where: str, width: int, needs_boxes: bool) -> Regions | Problem:
    features, boxes = found["features"], found.get("boxes")
    if features.ndim != 2 or not len(features) or features.shape[1] != width:
        return Problem("bad_features", f"{where}: features are {features.shape}; (regions, {width}) is expected")
    if not np.isfinite(features).all():
        return Problem("bad_features", f"{where}: features hold NaN or infinity")
    if boxes is None:
        if needs_boxes:
            return Problem("bad_features", f"{where}: boxes are missing")
        return Regions(features.astype(np.float32), None)
    if boxes.shape != (len(features), 4) or not ((boxes >= 0) & (boxes <= 1)).all():
        return Problem(
            "bad_features", f"{where}: boxes are {boxes.shape}; ({len(features)}, 4) shares in [0, 1] are expected"
        )
    return Regions(features.astype(np.float32), boxes.astype(np.float32))
