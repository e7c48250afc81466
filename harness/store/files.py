"""Writing that survives a kill: a file is there whole or not at all, and a folder has one writer."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.errors import StoreError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around everything that writes `path`: a full or read-only disk is an error that names the file.

    Raises:
        StoreError: the system refused to write.
    """
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise StoreError(
            f"{path}: cannot be written ({reason}); nothing that was answered is lost: make room or give a folder that "
            "can be written, and the same command goes on"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are not there; their names are durable."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def publish(temporary: Path, path: Path) -> None:
    """Move a finished file to its name: contents first, then the name, both durable."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
        number = os.fstat(file.fileno()).st_ino
    try:
        temporary.replace(path)
    except FileNotFoundError:
        # A network file system may repeat a rename whose reply was lost; the second one finds nothing to move.
        if not path.exists() or path.stat().st_ino != number:
            raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON types to `path`, whole or not at all.

    Raises:
        StoreError: the system refused to write.
    """
    temporary = path.with_name(f".{path.name}.writing")
    with writing(path):
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        publish(temporary, path)


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        StoreError: naming the file and what is wrong with it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: is damaged ({error}); restore it or run again") from error


class FolderLock:
    """One process at a time in a folder; the lock goes when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"

    def __enter__(self) -> FolderLock:
        with writing(self._path):
            self._file = self._path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                self._file.close()
                raise StoreError(
                    f"{self._path.parent}: this file system has no locks ({error.strerror}), so that two runs could "
                    "write one folder; give a folder on another one with --out"
                ) from error
            self._file.seek(0)
            owner = self._file.read().decode("utf-8", "replace").strip() or "another process"
            self._file.close()
            raise StoreError(f"{self._path.parent}: in use by {owner}; wait for it or stop it") from error
        with suppress(OSError):  # the lock holds without its owner's name, on a full disk too
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.truncate(0)
        self._file.close()
