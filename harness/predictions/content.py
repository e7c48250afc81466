"""A file of answers as rows of named fields, before anyone knows whose form it is.

JSON, JSON lines and Excel sheets come out alike. A JSON number with a fraction keeps its digits (`3.10` stays "3.10"),
so that a numeric answer is the text that was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from harness.errors import PredictionError

MAX_SHEET_BYTES = 1 << 30
"""Unpacked size of an Excel file that is still opened."""
Shape = Literal["list", "lines", "object", "sheet"]


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file, and what an error calls it."""

    where: str
    """`answers.json: entry 3`, `answers.jsonl: line 3`, `answers.xlsx: row 3`."""
    fields: Mapping[str, Any]

    def required(self, name: str) -> Any:
        """The value of a field.

        Raises:
            PredictionError: there is no such field, naming file, row and field.
        """
        if name not in self.fields:
            found = ", ".join(sorted(map(str, self.fields))) or "none"
            raise PredictionError(f'{self.where} has no field "{name}"; found: {found}')
        return self.fields[name]

    def text(self, name: str) -> str:
        """The value of a text field; a number counts as the text it is written with.

        Raises:
            PredictionError: no such field, or it is null, true, false, a list or an object.
        """
        value = self.required(name)
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise PredictionError(f'{self.where}: field "{name}" is {_kind(value)}; it should be text')

    def integer(self, name: str) -> int:
        """The value of a whole-number field, 0 or more; digits in quotes count.

        Raises:
            PredictionError: no such field, or another kind of value.
        """
        value = self.required(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise PredictionError(f'{self.where}: field "{name}" is {value!r}; it should be a whole number, 0 or more')
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """The value of a field that lists texts.

        Raises:
            PredictionError: no such field, or another kind of value.
        """
        value = self.required(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise PredictionError(f'{self.where}: field "{name}" should be a list of texts')
        return tuple(value)


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds."""

    path: Path
    sha256: str
    shape: Shape
    rows: tuple[Row, ...] = ()
    """Of a list, JSON lines or a sheet."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """The one JSON object, where the file is one; a file of a single JSON line is both."""

    def keys(self) -> frozenset[str]:
        """The field names of the first row, or of the one object."""
        return frozenset(self.rows[0].fields) if self.rows else frozenset(self.document)

    def has(self, *names: str) -> bool:
        """Whether the first row, or the one object, has all these fields."""
        return self.keys() >= set(names)


def read_content(path: Path) -> Content:
    """The records of a file: an Excel workbook by its first bytes, JSON or JSON lines otherwise.

    Raises:
        PredictionError: missing or unreadable file, bytes that are no UTF-8 (with the offset), JSON that does not
            parse (with the line), a key twice in one object, or nothing inside.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PredictionError(f"{path}: cannot be read: {error.strerror or error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if data[:4] == b"PK\x03\x04":
        return Content(path, digest, "sheet", tuple(_sheet(path, data)))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PredictionError(
            f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 (or give an .xlsx workbook)"
        ) from error
    if not text.strip():
        raise PredictionError(f"{path}: the file is empty")
    return _json(path, digest, text)


def _json(path: Path, digest: str, text: str) -> Content:
    try:
        whole = _parse(text)
    except json.JSONDecodeError as error:
        first_line = text.strip().split("\n", 1)[0]
        if "\n" in text.strip() and first_line.rstrip().endswith("}"):
            return Content(path, digest, "lines", tuple(_lines(path, text)))
        raise PredictionError(f"{path}: line {error.lineno}, column {error.colno} is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise PredictionError(f"{path}: {_message(error)}") from error
    if isinstance(whole, list):
        rows = tuple(_row(f"{path}: entry {number}", entry) for number, entry in enumerate(whole, start=1))
        return Content(path, digest, "list", rows)
    row = _row(f"{path}: the only record", whole)
    return Content(path, digest, "object", (row,), row.fields)


def _lines(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines(): U+2028 and others may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = _parse(line)
        except json.JSONDecodeError as error:
            raise PredictionError(f"{path}: line {number} is not JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:
            raise PredictionError(f"{path}: line {number}: {_message(error)}") from error
        yield _row(f"{path}: line {number}", record)


def _message(error: ValueError | RecursionError) -> str:
    return str(error) if isinstance(error, ValueError) else "the JSON is nested too deeply"


def _row(where: str, record: Any) -> Row:
    if not isinstance(record, dict):
        raise PredictionError(f"{where} is {_kind(record)}; it should be a JSON object with named fields")
    return Row(where, record)


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=str, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the key "{twice}" stands twice in one object; keep one of them')
    return record


def _sheet(path: Path, data: bytes) -> Iterator[Row]:
    import zipfile

    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(BytesIO(data)) as parts:
            size = sum(part.file_size for part in parts.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise PredictionError(f"{path}: not a readable Excel workbook: {error}") from error
    if size > MAX_SHEET_BYTES:
        raise PredictionError(
            f"{path}: {size:,} bytes when unpacked; the limit is {MAX_SHEET_BYTES:,}. Give JSON lines"
        )
    try:
        workbook = load_workbook(BytesIO(data), read_only=True, data_only=True)
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()
        table = list(sheet.iter_rows(values_only=True))
        workbook.close()
    except Exception as error:  # a damaged part ends in whatever the library's parsers happen to raise
        raise PredictionError(f"{path}: not a readable Excel workbook: {type(error).__name__}: {error}") from error
    if not table:
        raise PredictionError(f"{path}: the first sheet is empty")
    names = [str(name).strip() if name is not None else "" for name in table[0]]
    for number, cells in enumerate(table[1:], start=2):
        named = {name: cell for name, cell in zip(names, cells, strict=False) if name}
        if any(cell is not None for cell in named.values()):
            yield Row(f"{path}: row {number}", {name: named.get(name) for name in names if name})
