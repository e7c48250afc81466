"""Rows of Arrow tables on disk, in the two forms of the hub: `save_to_disk` folders and parquet shards.

Pictures stay encoded: a cell is read as it is stored, `{"bytes": ..., "path": ...}`, and never decoded here. Nothing is
written, no cache either. Rows are read in batches of `BATCH_ROWS`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.datasets.folder import annotation_file, subfolders
from harness.errors import DatasetError

BATCH_ROWS = 16
_SHARD = re.compile(r"(?P<split>.+?)-\d+-of-\d+(-[0-9a-f]+)?")


class Tables(ABC):
    """The splits of one folder."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""

    @abstractmethod
    def files(self, split: str) -> tuple[Path, ...]:
        """The files a split is stored in."""

    @abstractmethod
    def columns(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """Column → names of its classes; no names where it does not hold class numbers."""

    @abstractmethod
    def rows(self, split: str, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(address, row) in stored order; the address finds the row again."""

    @abstractmethod
    def cell(self, split: str, address: str, column: str) -> Any:
        """One cell."""


def open_tables(root: Path) -> Tables:
    """The tables in `root`.

    Raises:
        DatasetError: if it is neither a `save_to_disk` folder nor holds parquet shards.
    """
    if is_saved(root):
        return Saved(root)
    if is_parquet(root):
        return Parquet(root)
    raise DatasetError(f"{root}: holds neither dataset_dict.json, nor state.json + dataset_info.json, nor *.parquet")


def is_saved(root: Path) -> bool:
    """Whether `datasets` saved a data set or a dictionary of splits here."""
    single = (root / "state.json").is_file() and (root / "dataset_info.json").is_file()
    return single or (root / "dataset_dict.json").is_file()


def is_parquet(root: Path) -> bool:
    """Whether parquet shards lie here, in folders or in folders of folders."""
    return any(any(root.glob(pattern)) for pattern in ("*.parquet", "*/*.parquet", "*/*/*.parquet"))


class Saved(Tables):
    """A folder written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`, memory-mapped."""

    def __init__(self, root: Path) -> None:
        self._root = root
        whole = (root / "state.json").is_file()
        self._folders = {"all": root} if whole else {f.name: f for f in subfolders(root) if is_saved(f)}
        if not self._folders:
            raise DatasetError(f"{root / 'dataset_dict.json'}: none of the splits it names is there")
        self._opened: dict[str, Any] = {}

    def splits(self) -> tuple[str, ...]:
        """The sub-folders; `all` where one data set was saved without a split."""
        return tuple(sorted(self._folders))

    def files(self, split: str) -> tuple[Path, ...]:
        """The Arrow files."""
        return tuple(annotation_file(self._root, path) for path in sorted(self._folders[split].glob("*.arrow")))

    def columns(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """Columns with their class names; see `Tables.columns`."""
        features = self._table(split).features
        return {name: tuple(getattr(feature, "names", None) or ()) for name, feature in features.items()}

    def rows(self, split: str, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Rows in stored order; see `Tables.rows`."""
        table = self._table(split).select_columns(list(columns))
        for start in range(0, len(table), BATCH_ROWS):
            for place, row in enumerate(table[start : start + BATCH_ROWS].to_pylist(), start):
                yield str(place), row

    def cell(self, split: str, address: str, column: str) -> Any:
        """One cell; see `Tables.cell`."""
        return self._table(split).select_columns([column])[int(address)].to_pylist()[0][column]

    def _table(self, split: str) -> Any:
        if split not in self._opened:
            self.files(split)
            try:
                import datasets
            except ImportError as error:
                raise DatasetError(
                    f'{self._root}: reading a save_to_disk folder needs `datasets`: pip install "vlm-harness[hub]"'
                ) from error
            try:
                table = datasets.load_from_disk(str(self._folders[split]))
            except (OSError, ValueError, KeyError) as error:
                raise DatasetError(f"{self._folders[split]}: cannot be opened: {error}; fetch it again") from error
            self._opened[split] = table.with_format("arrow")
        return self._opened[split]


class Parquet(Tables):
    """Shards: `data/<split>-00000-of-00003.parquet`, `default/<split>/0000.parquet` or `<split>.parquet`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._shards: dict[str, list[Path]] = {}
        for path in sorted(p for pattern in ("*.parquet", "*/*.parquet", "*/*/*.parquet") for p in root.glob(pattern)):
            self._shards.setdefault(_split_of(path), []).append(path)
        self._held: tuple[tuple[str, int, int, str], Any] | None = None

    def splits(self) -> tuple[str, ...]:
        """Splits by prefix or folder."""
        return tuple(sorted(self._shards))

    def files(self, split: str) -> tuple[Path, ...]:
        """The shards in order of name."""
        return tuple(annotation_file(self._root, path) for path in self._shards[split])

    def columns(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """Columns with their class names, from the features that `datasets` leaves in the schema."""
        schema = self._open(self.files(split)[0]).schema_arrow
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted.get("info", {}).get("features", {})
        return {name: tuple(features.get(name, {}).get("names") or ()) for name in schema.names}

    def rows(self, split: str, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Rows in stored order; see `Tables.rows`."""
        for number, path in enumerate(self.files(split)):
            with self._open(path) as shard:
                for group in range(shard.num_row_groups):
                    place = 0
                    for batch in shard.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns)):
                        for row in batch.to_pylist():
                            yield f"{number}:{group}:{place}", row
                            place += 1

    def cell(self, split: str, address: str, column: str) -> Any:
        """One cell; the column of its row group stays in memory until another group is asked for."""
        number, group, place = (int(part) for part in address.split(":"))
        key = (split, number, group, column)
        held = self._held
        if held is None or held[0] != key:
            with self._open(self.files(split)[number]) as shard:
                held = (key, shard.read_row_group(group, columns=[column])[column])
            self._held = held
        return held[1][place].as_py()

    def _open(self, path: Path) -> Any:
        import pyarrow.lib
        import pyarrow.parquet

        try:
            return pyarrow.parquet.ParquetFile(path)
        except (pyarrow.lib.ArrowException, OSError) as error:
            raise DatasetError(f"{path}: not a readable parquet file: {error}; fetch it again") from error


def _split_of(path: Path) -> str:
    match = _SHARD.fullmatch(path.stem)
    if match:
        return match["split"]
    return path.parent.name if path.stem.isdigit() else path.stem
