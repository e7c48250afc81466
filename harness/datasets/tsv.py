"""Quoted tab-separated files as pandas writes them, record by record, with the byte at which each record begins.

Cells may hold tabs, line breaks and megabytes of base64, so a record is the unit of memory.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from pathlib import Path

from harness.datasets.json_files import open_binary
from harness.errors import DatasetError

MAX_CELL_CHARACTERS = 1 << 30
"""Longest cell; the csv module's own limit of 131,072 is shorter than one picture."""
_BOM = b"\xef\xbb\xbf"
_LIMIT = threading.Lock()
"""The cell limit belongs to the process; it is raised for the reading of one record and put back."""


def records(path: Path, offset: int = 0) -> Iterator[tuple[int, list[str]]]:
    """(byte offset, cells) of each record from `offset` on; blank lines are passed over.

    Args:
        path: the file.
        offset: 0, or an offset that this function gave.

    Raises:
        DatasetError: not UTF-8, or quotes that do not close; with file and byte.
    """
    with open_binary(path) as file:
        if offset == 0 and file.read(len(_BOM)) == _BOM:
            offset = len(_BOM)
        file.seek(offset)
        position = offset

        def lines() -> Iterator[str]:
            nonlocal position
            for line in file:
                start = position
                position += len(line)
                try:
                    yield line.decode("utf-8")
                except UnicodeDecodeError as error:
                    at = start + error.start
                    raise DatasetError(f"{path}: byte {at} is not UTF-8; convert the file to UTF-8") from error

        reader = csv.reader(lines(), delimiter="\t", strict=True)
        while True:
            begin = position
            try:
                cells = _next(reader)
            except csv.Error as error:
                raise DatasetError(f"{path}: record at byte {begin} is not quoted TSV: {error}") from error
            if cells is None:
                return
            if cells:
                yield begin, cells


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    with _LIMIT:
        previous = csv.field_size_limit(MAX_CELL_CHARACTERS)
        try:
            return next(reader, None)
        finally:
            csv.field_size_limit(previous)
