"""32 x 32 pictures of one class each: CIFAR-10 from its official files, and drawn shapes in the same form.

CIFAR-10 comes as pickled batches ("python version") or as rows of 3,073 bytes ("binary version"). A pickle can run any
code when it is read, so the batches are read without numpy's own reconstruction: the few names that a batch may hold
stand for plain classes of this module, and any other name is refused.
Source of the layouts: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DatasetError
from harness.mini import scenes
from harness.mini.canvas import Pixels
from harness.mini.streams import Dice, Split, stream

SIDE_PX = 32
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_BATCHES = tuple(f"data_batch_{n}" for n in range(1, 6))
TEST_BATCH = "test_batch"
_PIXELS = 3 * SIDE_PX * SIDE_PX
_SUBFOLDERS = (".", "cifar-10-batches-py", "cifar-10-batches-bin")


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures with their classes."""

    images: np.ndarray
    """(n, 3, 32, 32) uint8."""
    labels: np.ndarray
    """(n,) int64, from 0."""

    def sha256(self) -> str:
        """Checksum of pixels and labels."""
        digest = hashlib.sha256(self.images.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Classification:
    """A task of naming the class of a picture."""

    name: str
    classes: tuple[str, ...]
    train: Pictures
    test: Pictures


def read_cifar10(folder: Path) -> Classification:
    """CIFAR-10 from the folder of either official layout, or from the folder around it.

    Raises:
        DatasetError: files are missing, cut short, hold labels outside 0 to 9, or a pickle holds anything but a batch.
    """
    for inner in _SUBFOLDERS:
        for suffix, read in (("", _read_pickled), (".bin", _read_binary)):
            if (folder / inner / f"{TRAIN_BATCHES[0]}{suffix}").is_file():
                paths = [folder / inner / f"{name}{suffix}" for name in (*TRAIN_BATCHES, TEST_BATCH)]
                missing = [path.name for path in paths if not path.is_file()]
                if missing:
                    raise DatasetError(f"{folder / inner}: {', '.join(missing)} missing; unpack CIFAR-10 again")
                *train, test = [read(path) for path in paths]
                return Classification("cifar10", CIFAR_CLASSES, _joined(train), test)
    raise DatasetError(f"{folder}: no CIFAR-10 here; give the folder that holds data_batch_1 or data_batch_1.bin")


def _joined(parts: Iterable[Pictures]) -> Pictures:
    parts = list(parts)
    return Pictures(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


def _read_binary(path: Path) -> Pictures:
    content = np.fromfile(path, np.uint8)
    if len(content) == 0 or len(content) % (1 + _PIXELS):
        raise DatasetError(f"{path}: {len(content)} bytes are no whole number of rows of 3,073; download it again")
    rows = content.reshape(-1, 1 + _PIXELS)
    return _checked(path, rows[:, 1:], rows[:, 0])


def _read_pickled(path: Path) -> Pictures:
    try:
        batch = _BatchUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle can raise almost anything
        raise DatasetError(f"{path}: no readable pickle ({error}); download it again") from error
    if not isinstance(batch, dict):
        raise DatasetError(f"{path}: holds a {type(batch).__name__}, not the dictionary of a batch")
    named = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    data, labels = named.get("data"), named.get("labels")
    if not isinstance(data, _Array) or data.values is None or not isinstance(labels, list):
        raise DatasetError(f'{path}: needs "data" (an array of bytes) and "labels" (a list)')
    return _checked(path, data.values, labels)


def _checked(path: Path, data: np.ndarray, labels: Any) -> Pictures:
    if data.ndim != 2 or data.shape[1] != _PIXELS or len(labels) != len(data) or not len(data):
        raise DatasetError(f"{path}: pixels of shape {data.shape} with {len(labels)} labels; need (n, 3072) with n")
    wrong = next((label for label in labels if isinstance(label, bool) or not _is_class(label)), None)
    if wrong is not None:
        raise DatasetError(f"{path}: label {wrong!r} is none of 0 to 9")
    return Pictures(data.reshape(-1, 3, SIDE_PX, SIDE_PX).copy(), np.array(labels, np.int64))


def _is_class(label: object) -> bool:
    return isinstance(label, int | np.integer) and 0 <= int(label) < len(CIFAR_CLASSES)


class _Array:
    """What stands for a pickled numpy array; only arrays of bytes are accepted."""

    values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, by_columns, content = state
        self._fill(content, kind, shape, "F" if by_columns else "C")

    def _fill(self, content: Any, kind: Any, shape: Any, order: Any) -> None:
        if not isinstance(kind, _Kind) or not isinstance(content, bytes | bytearray):
            raise DatasetError("an array that does not hold bytes")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if order == "F" else "C")


class _Kind:
    """What stands for a pickled numpy type; its byte order says nothing about bytes."""

    def __setstate__(self, state: Any) -> None:
        """Nothing to take over."""


def _empty_array(*_: Any) -> _Array:
    return _Array()


def _filled_array(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array._fill(content, kind, shape, order)
    return array


def _kind(code: Any, *_: Any) -> _Kind:
    if code not in ("u1", b"u1"):
        raise DatasetError(f"an array of type {code!r}; need bytes (u1)")
    return _Kind()


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """How a pickle of protocol 2 written by Python 3 keeps bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise DatasetError("text in an encoding other than latin1")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _kind,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _filled_array for core in ("core", "_core")},
}
"""Name in a pickle → what stands for it."""


class _BatchUnpickler(pickle.Unpickler):
    """Reads numbers, text, bytes, lists, dictionaries and arrays of bytes; any other name is refused unimported."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name."""
        if (module, name) not in _ALLOWED:
            raise DatasetError(f"names {module}.{name}, which no CIFAR-10 batch does; the file was not read further")
        return _ALLOWED[module, name]


SHAPE_CLASSES = tuple(f"{size} {shape}" for shape in scenes.SHAPES for size in scenes.RADII)


def drawn_shapes(train: int, test: int, *, noise: float = 40.0, seed: int = 0) -> Classification:
    """Scenes of one shape at half their size, with noise; the class is size and shape, eight in all.

    Colour, ground, place and turn carry no information. A small circle has a radius of about three pixels, so the
    shapes of small things are hard to tell.

    Args:
        train: number of training pictures.
        test: number of test pictures; they come from a stream of their own.
        noise: standard deviation of the noise of every pixel and colour, in grey levels of 255.
        seed: of both streams.
    """
    return Classification(
        f"drawn-shapes-noise{noise:g}-seed{seed}",
        SHAPE_CLASSES,
        _drawn(seed, "train", train, noise),
        _drawn(seed, "test", test, noise),
    )


def _drawn(seed: int, split: Split, n: int, noise: float) -> Pictures:
    rng = stream(seed, "shape-classes", split)
    made = [_picture(rng, noise) for _ in range(n)]
    return Pictures(np.stack([image for image, _ in made]), np.array([label for _, label in made], np.int64))


def _picture(rng: np.random.Generator, noise: float) -> tuple[Pixels, int]:
    layout = scenes.plan(Dice(rng), counts=(1,))
    whole = scenes.render(layout).astype(np.float64)
    small = whole.reshape(SIDE_PX, 2, SIDE_PX, 2, 3).mean(axis=(1, 3))  # (32, 32, colour)
    noisy = np.rint(small + noise * rng.standard_normal(small.shape)).clip(0, 255).astype(np.uint8)
    (thing,) = layout.things
    return noisy.transpose(2, 0, 1), SHAPE_CLASSES.index(f"{thing.size} {thing.shape}")
