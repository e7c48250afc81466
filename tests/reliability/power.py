"""A power cut: what was not made durable is gone.

While it watches, every `fsync` of a file notes its bytes, and every `fsync` of a folder notes its names, as durable.
`cut_at` raises at the n-th `fsync`, before it happens, and `survivors` writes what a disk may hold then: only durable
names, files with the bytes of their last `fsync` (none where there was no one), nothing else. SQLite syncs by itself
and is not seen; its files are left out, as if they had been lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


class PowerCut(BaseException):
    """The power is gone: nothing of the program runs on."""


class Disk:
    """What is durable below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.syncs = 0
        self.cut_at: int | None = None
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {root.stat().st_ino: {}}
        self._folders: set[int] = {root.stat().st_ino}
        self._real: Callable[[int], None] = os.fsync
        self.survived: Callable[[Path], None] = lambda target: None

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(os, "fsync", self._fsync)

    def _fsync(self, handle: int) -> None:
        self.syncs += 1
        if self.syncs == self.cut_at:
            raise PowerCut
        self._real(handle)
        place = Path(f"/proc/self/fd/{handle}").readlink()
        number = os.fstat(handle).st_ino
        if place.is_dir():
            self._folders.add(number)
            self._names[number] = {p.name: p.stat().st_ino for p in place.iterdir()}
            self._folders |= {p.stat().st_ino for p in place.iterdir() if p.is_dir()}
        else:
            self._bytes[number] = place.read_bytes()

    def survivors(self, target: Path) -> None:
        """Write what is durable to a new folder."""
        self._write(self.root.stat().st_ino, target)

    def _write(self, folder: int, target: Path) -> None:
        target.mkdir()
        for name, number in self._names.get(folder, {}).items():
            if number in self._folders:
                self._write(number, target / name)
            elif "sqlite" not in name:
                (target / name).write_bytes(self._bytes.get(number, b""))
