"""JSON as benchmarks publish it: long arrays and objects streamed, JSON lines, and small files read whole.

A file that is not UTF-8 or not JSON raises `DatasetError` with the file and the byte; what was read before the fault
has been yielded by then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from harness.errors import DatasetError

_BOM = b"\xef\xbb\xbf"
_BLOCK_BYTES = 1 << 16


def array_items(path: Path, prefix: str = "item") -> Iterator[Any]:
    """The members of the array at `prefix` (`item` for a file that is one array, `images.item` below a key).

    Numbers with a point come as `Decimal`, so that an answer such as 0.30 keeps its digits.
    """
    return _stream(path, "[" if prefix == "item" else "{", prefix, pairs=False)


def object_items(path: Path) -> Iterator[tuple[str, Any]]:
    """The (key, value) pairs of a file that is one object."""
    return _stream(path, "{", "", pairs=True)


def _stream(path: Path, opening: str, prefix: str, *, pairs: bool) -> Iterator[Any]:
    with open_binary(path) as file:
        start = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
        file.seek(start)
        head = file.read(_BLOCK_BYTES).lstrip()[:1]
        if head and head in b"[{" and head != opening.encode():
            kind = "an array" if opening == "[" else "an object"
            raise DatasetError(f"{path}: starts with {head.decode()}; {kind} ({opening}) is expected")
        file.seek(start)
        try:
            yield from ijson.kvitems(file, prefix) if pairs else ijson.items(file, prefix)
        except (ijson.JSONError, UnicodeDecodeError, ArithmeticError) as error:  # numbers beyond every range, too
            raise _fault(path, error, f"near byte {file.tell()}") from error


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) for each line that is not blank; a line that is not JSON gives its text as `str`.

    Raises:
        DatasetError: the file is not UTF-8, or its first line is not JSON (then it is no file of JSON lines).
    """
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            if number == 1:
                raise _fault(path, error, "line 1") from error
            yield number, line
        except RecursionError as error:
            raise DatasetError(f"{path}: line {number} is nested too deeply to be read") from error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""(line number from 1, text) for lines that end in `\n` alone: form feeds and `\r` are part of the text."""
    position = 0
    with open_binary(path) as file:
        for number, line in enumerate(file, 1):
            content = line.removeprefix(_BOM) if number == 1 else line
            try:
                yield number, content.decode("utf-8").removesuffix("\n")
            except UnicodeDecodeError as error:
                at = position + len(line) - len(content) + error.start
                raise DatasetError(f"{path}: byte {at} (line {number}) is not UTF-8; convert the file") from error
            position += len(line)


def load(path: Path) -> Any:
    """The whole of a small JSON file."""
    with open_binary(path) as file:
        data = file.read()
    try:
        return json.loads(data.removeprefix(_BOM).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _fault(path, error, "") from error


def open_binary(path: Path) -> BinaryIO:
    """The file opened for reading; `DatasetError` where that fails."""
    try:
        return path.open("rb")
    except OSError as error:
        raise DatasetError(f"{path} cannot be opened: {error.strerror}") from error


def _fault(path: Path, error: Exception, where: str) -> DatasetError:
    at = _first_bad_byte(path)
    if at is not None:
        return DatasetError(f"{path}: byte {at} is not UTF-8; convert the file to UTF-8")
    reason = " ".join(str(error).split())
    return DatasetError(f"{path}: not valid JSON{', ' if where else ''}{where}: {reason}; fetch the file again")


def _first_bad_byte(path: Path) -> int | None:
    position, rest = 0, b""
    with open_binary(path) as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            data = rest + block
            try:
                data.decode("utf-8")
                rest = b""
            except UnicodeDecodeError as error:
                if error.reason != "unexpected end of data" or not block:
                    return position + error.start
                rest = data[error.start :]
            position += len(data) - len(rest)
            if not block:
                return None
