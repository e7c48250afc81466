"""CIFAR-10 in both official layouts, refused pickles, and drawn shapes.

Evidence: files written here by hand in the official layouts, with numpy's own pickles and with one in the spelling of
Python 2; properties of the drawn set.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DatasetError
from harness.training.cifar import SHAPE_CLASSES, TEST_BATCH, TRAIN_BATCHES, drawn_shapes, read_cifar10

N = 4
RNG = np.random.default_rng(0)
DATA = {name: RNG.integers(0, 256, (N, 3072), dtype=np.uint8) for name in (*TRAIN_BATCHES, TEST_BATCH)}
LABELS = {name: RNG.integers(0, 10, N).tolist() for name in DATA}


def batch(name: str) -> dict[bytes, Any]:
    return {b"batch_label": b"x", b"labels": LABELS[name], b"data": DATA[name], b"filenames": [b"a.png"] * N}


def write_pickles(folder: Path, dump: Callable[[dict[bytes, Any]], bytes]) -> Path:
    inner = folder / "cifar-10-batches-py"
    inner.mkdir()
    for name in DATA:
        (inner / name).write_bytes(dump(batch(name)))
    return inner


def python_2_pickle(content: dict[bytes, Any]) -> bytes:
    """The batch as Python 2 wrote it: byte strings are plain strings, and numpy names lie in `numpy.core`."""

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value  # BINSTRING

    array = content[b"data"]
    pixels = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        b"(K\x01M" + len(array).to_bytes(2, "little") + b"M\x00\x0c\x86"
        b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + text(array.tobytes()) + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([n]) for n in content[b"labels"]) + b"e"
    return b"\x80\x02}(" + text(b"labels") + labels + text(b"data") + pixels + b"u."


def check(folder: Path) -> None:
    found = read_cifar10(folder)
    assert found.train.images.shape == (5 * N, 3, 32, 32)
    assert found.test.labels.tolist() == LABELS[TEST_BATCH]
    expected = np.concatenate([DATA[name] for name in TRAIN_BATCHES])
    np.testing.assert_array_equal(found.train.images.reshape(-1, 3072), expected)
    assert found.train.labels.tolist() == [label for name in TRAIN_BATCHES for label in LABELS[name]]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_of_python_3_are_read(tmp_path: Path, protocol: int) -> None:
    check(write_pickles(tmp_path, lambda content: pickle.dumps(content, protocol)))
    check(tmp_path)


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    check(write_pickles(tmp_path, python_2_pickle))


def test_binary_rows_are_read(tmp_path: Path) -> None:
    for name, data in DATA.items():
        rows = np.concatenate([np.array(LABELS[name], np.uint8)[:, None], data], axis=1)
        (tmp_path / f"{name}.bin").write_bytes(rows.tobytes())
    check(tmp_path)


class Malicious:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


@pytest.mark.parametrize("function", [os.system, eval, np.save, getattr], ids=lambda f: f.__name__)
def test_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path, function: Any) -> None:
    trace = tmp_path / "trace"
    bad = Malicious(function, f"touch {trace}")
    inner = write_pickles(tmp_path, lambda content: pickle.dumps({**content, b"more": bad}, 2))
    with pytest.raises(DatasetError, match=r"data_batch_1: names \S+\.\w+, which no CIFAR-10 batch does"):
        read_cifar10(inner)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": DATA[TEST_BATCH].astype(np.float32)}, "need bytes"),
        ({b"data": np.array([[{}] * 3072], dtype=object)}, "need bytes"),
        ({b"data": DATA[TEST_BATCH][:2]}, "with 4 labels"),
        ({b"data": DATA[TEST_BATCH][:, :100]}, "shape"),
        ({b"labels": [0, 1, 2, 10]}, "label 10"),
        ({b"labels": [0, 1, 2, "3"]}, "label '3'"),
        ({b"labels": None}, "needs"),
    ],
)
def test_batch_of_another_form_is_refused(tmp_path: Path, change: dict[bytes, Any], message: str) -> None:
    inner = write_pickles(tmp_path, lambda content: pickle.dumps({**content, **change}, 2))
    with pytest.raises(DatasetError, match=message):
        read_cifar10(inner)


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1]), pickle.dumps(batch(TEST_BATCH), 2)[:-900]])
def test_damaged_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    inner = write_pickles(tmp_path, lambda batch: content)
    with pytest.raises(DatasetError, match="data_batch_1"):
        read_cifar10(inner)


def test_cut_binary_missing_batch_and_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no CIFAR-10 here"):
        read_cifar10(tmp_path)
    for name in TRAIN_BATCHES:
        (tmp_path / f"{name}.bin").write_bytes(bytes(3000))
    with pytest.raises(DatasetError, match=r"test_batch\.bin missing"):
        read_cifar10(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    with pytest.raises(DatasetError, match="3000 bytes"):
        read_cifar10(tmp_path)


def test_drawn_shapes_are_the_same_again_and_show_every_class() -> None:
    first, second = drawn_shapes(200, 50), drawn_shapes(200, 50)
    assert first.train.sha256() == second.train.sha256()
    assert first.test.sha256() == second.test.sha256()
    assert set(first.train.labels.tolist()) == set(range(len(SHAPE_CLASSES)))
    assert first.train.images.shape == (200, 3, 32, 32)
    assert drawn_shapes(200, 50, seed=1).train.sha256() != first.train.sha256()


def test_drawn_training_and_test_pictures_do_not_meet() -> None:
    drawn = drawn_shapes(300, 300, noise=0.0)
    train = {image.tobytes() for image in drawn.train.images}
    shared = sum(image.tobytes() in train for image in drawn.test.images)
    # without noise two streams may draw one picture by chance; with noise they cannot
    assert shared <= 3
