"""Answers as they come: an append-only file of JSON lines that loses at most its torn last line when it is cut off."""

from __future__ import annotations

import json
import logging
import os
from array import array
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from harness.codec import decode
from harness.errors import StoreError
from harness.records import Response
from harness.store.files import sync_folder, writing

logger = logging.getLogger(__name__)


class Journal:
    """An append-only file of JSON lines; every append is on disk when it returns."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, cutting off a torn last line.

        Raises:
            StoreError: a line other than the last is damaged.
        """
        self.path = path
        with writing(path):
            self._repair()
            # Without a buffer: what could not be written is not tried again when the file is closed.
            self._file = path.open("ab", buffering=0)

    def _repair(self) -> None:
        if not self.path.exists():
            self.path.touch()
            sync_folder(self.path.parent)
            return
        good = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                good += len(line)
        size = self.path.stat().st_size
        if good != size:
            logger.warning("%s: cut off a torn last line of %d bytes", self.path, size - good)
            os.truncate(self.path, good)

    def append(self, values: Iterable[Any]) -> None:
        """Add one line for each value and make them durable together.

        Raises:
            StoreError: the system refused to write; at most a torn line is left, which the next opening cuts off.
        """
        lines = b"".join(
            json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n" for value in values
        )
        with writing(self.path):
            written = 0
            while written < len(lines):
                written += self._file.write(lines[written:])
            os.fsync(self._file.fileno())

    def entries(self) -> Iterator[tuple[int, Any]]:
        """Offset and value of each line.

        Raises:
            StoreError: a line is damaged.
        """
        offset = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield offset, json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise StoreError(
                        f"{self.path}:{number}: is damaged ({error}); remove the line, and its request is asked again"
                    ) from error
                offset += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class JournalledAnswers:
    """The answers in a journal by sample id, read when they are asked for; 16 bytes of memory for each.

    The last line for a sample counts. Lines that are appended later are not seen.
    """

    def __init__(self, journal: Journal) -> None:
        """Read through the journal once.

        Raises:
            StoreError: a line is damaged.
        """
        digests, offsets = array("Q"), array("Q")
        for offset, value in journal.entries():
            if not isinstance(value, dict) or not isinstance(value.get("sample_id"), str):
                raise StoreError(f"{journal.path}: byte {offset}: no answer to a sample; remove the line")
            digests.append(_digest(value["sample_id"]))
            offsets.append(offset)
        places = np.frombuffer(offsets, dtype=np.uint64)
        order = np.argsort(np.frombuffer(digests, dtype=np.uint64), kind="stable")
        self._digests = np.frombuffer(digests, dtype=np.uint64)[order]
        self._offsets = places[order]
        self._path = journal.path
        self._file = journal.path.open("rb")

    def get(self, sample_id: str) -> Response | None:
        """The answer of a sample, if there is one."""
        if not len(self._digests):
            return None
        digest = np.uint64(_digest(sample_id))
        first, end = (int(np.searchsorted(self._digests, digest, side)) for side in ("left", "right"))
        for offset in reversed(self._offsets[first:end].tolist()):
            self._file.seek(offset)
            try:
                response = decode(Response, json.loads(self._file.readline()))
            except StoreError as error:
                raise StoreError(f"{self._path}: byte {offset}: {error}; remove the line") from error
            if response.sample_id == sample_id:
                return response
        return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _digest(sample_id: str) -> int:
    return int.from_bytes(blake2b(sample_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
