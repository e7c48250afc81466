"""Real training data from folders: COCO captions, LLaVA-ReCap and image-LaTeX pairs, in hub and official form.

Only the text that is needed to part the rows is read when a source is first used; pictures are read row by row, from
the row group that holds them. A row is held out by the hash of what it is called (image id, row id, or the formula
itself, so that one formula is never on both sides); held-out rows are never drawn for training. A damaged row is named
in a warning and another one drawn; `damaged: refuse` stops at the first. Layouts: documented forms of COCO 2014/2017,
lmms-lab/LLaVA-ReCap-118K and OleehyO/latex-formulas; the last two were not compared with the published files.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.datasets import coco, images, mmbench
from harness.datasets.arrow_rows import Tables, is_parquet, is_saved, open_tables
from harness.datasets.folder import inside
from harness.datasets.hub import COLUMNS
from harness.datasets.rows import Row
from harness.errors import DatasetError
from harness.mini.canvas import Pixels
from harness.training.examples import Example, Turn

logger = logging.getLogger(__name__)

_TRIES = 32
"""Damaged rows in a row before the data as a whole is called damaged."""
_NAMED = 10
"""Damaged rows that are named one by one in warnings; of further ones every hundredth is."""
_TEXTS = 20_000
"""Texts for a vocabulary."""


class RowFault(Exception):
    """A row that cannot be an example, with file, row and reason."""


@dataclass(frozen=True, slots=True)
class _Index:
    """Row numbers on both sides, in stored order."""

    training: NDArray[np.int64]
    held_out: NDArray[np.int64]


@dataclass
class Files(ABC):
    """A source of rows on disk; nothing is opened before the first use."""

    path: str
    """Folder of the data, relative to where the training is started."""
    split: str = "train"
    """The one split there is, whatever its name, is taken for `train`."""
    held_out_share: float = 0.02
    """Share of the rows that validation draws from and training does not."""
    first: int | None = None
    """Use only so many rows from the beginning."""
    prompt: str = ""
    """Prompt of every turn; sources with questions of their own use theirs where this is empty."""
    damaged: Literal["skip", "refuse"] = "skip"
    faults: dict[int, str] = field(default_factory=dict, init=False, repr=False)
    """Damaged rows met so far: row number → file, row and reason."""
    _index: _Index | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.held_out_share < 1:
            raise TypeError(f"held_out_share is {self.held_out_share}; give a share between 0 and 1")
        if self.damaged not in ("skip", "refuse"):
            raise TypeError(f"damaged is {self.damaged!r}; give skip or refuse")

    @abstractmethod
    def names(self) -> Iterator[str]:
        """What each row is called, in stored order; rows of one name are on one side."""

    @abstractmethod
    def example(self, number: int) -> Example:
        """The example of a row, with all its turns.

        Raises:
            RowFault: the row has no picture that can be read, or no text.
        """

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """A training row, all equally likely."""
        return self._drawn(rng, self._opened().training)

    def held_out(self, rng: np.random.Generator) -> Example:
        """A held-out row with one of its turns."""
        found = self._drawn(rng, self._opened().held_out)
        turn = found.turns[int(rng.random() * len(found.turns))]
        return Example(found.images, (turn,), found.kind)

    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Texts of training rows, evenly spread, at most 20,000."""

    def _spread(self) -> list[int]:
        rows = self._opened().training
        return [int(n) for n in rows[:: max(1, len(rows) // _TEXTS)][:_TEXTS]]

    def _drawn(self, rng: np.random.Generator, rows: NDArray[np.int64]) -> Example:
        reason = ""
        for _ in range(_TRIES):
            number = int(rows[int(rng.random() * len(rows))])
            try:
                return self.example(number)
            except RowFault as error:
                reason = str(error)
                if self.damaged == "refuse":
                    raise DatasetError(f"{reason}; repair the file, or set damaged: skip") from error
                self._note(number, reason)
        raise DatasetError(f"{self.path}: {_TRIES} rows in a row are damaged, the last: {reason}; fetch the data again")

    def _note(self, number: int, reason: str) -> None:
        if number in self.faults:
            return
        self.faults[number] = reason
        count = len(self.faults)
        if count <= _NAMED or count % 100 == 0:
            logger.warning("%s: skipped (damaged rows so far: %d)", reason, count)

    def _opened(self) -> _Index:
        if self._index is None:
            sides: tuple[list[int], list[int]] = ([], [])
            for number, name in enumerate(self.names()):
                if number == self.first:
                    break
                sides[is_held_out(name, self.held_out_share)].append(number)
            if not all(sides):
                raise DatasetError(
                    f"{self.path}: {len(sides[0])} rows for training and {len(sides[1])} held out; both are needed: "
                    "give more rows or another held_out_share"
                )
            self._index = _Index(np.array(sides[0], np.int64), np.array(sides[1], np.int64))
        return self._index


def is_held_out(name: str, share: float) -> bool:
    """Whether a row of this name is held out; it depends on nothing else."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big") < share * 2**64


class _Rows:
    """Random access to the rows of one split in one of the hub's forms."""

    def __init__(self, path: str, split: str, wanted: Mapping[str, Sequence[str]]) -> None:
        """`wanted` is our field → columns that may hold it, the first that is there."""
        self.root = Path(path)
        if not self.root.is_dir():
            raise DatasetError(f"{path}: there is no such folder; fetch the data there, or correct `path`")
        self._tables: Tables = open_tables(self.root)
        splits = self._tables.splits()
        self.split = splits[0] if split == "train" and len(splits) == 1 else split
        if self.split not in splits:
            raise DatasetError(f"{path}: has no split {split}; it has {', '.join(splits)}")
        present = self._tables.columns(self.split)
        by_name = {name.lower(): name for name in present}
        self.columns: dict[str, str] = {}
        for name, candidates in wanted.items():
            found = next((by_name[c] for c in candidates if c in by_name), None)
            if found is None:
                raise DatasetError(
                    f"{path}: split {self.split} has no column {' or '.join(candidates)}; it has {', '.join(present)}"
                )
            self.columns[name] = found
        self._addresses: list[str] = []

    def column(self, name: str) -> Iterator[Any]:
        """The cells of one column in stored order; notes where the rows are."""
        self._addresses = []
        try:
            for address, row in self._tables.rows(self.split, [self.columns[name]]):
                self._addresses.append(address)
                yield row[self.columns[name]]
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{self.where(len(self._addresses))}: {name} cannot be read: {error}; fetch the file again"
            ) from error

    def cell(self, number: int, name: str) -> Any:
        """One cell of one row, once `column` was read through to it."""
        try:
            return self._tables.cell(self.split, self._addresses[number], self.columns[name])
        except (OSError, ValueError) as error:
            raise RowFault(f"{self.where(number)}: {name} cannot be read: {error}") from error

    def where(self, number: int) -> str:
        """Folder and row for messages; rows count from 1."""
        return f"{self.root} {self.split} row {number + 1}"

    def picture(self, number: int, name: str = "image") -> Pixels:
        """The picture of a row, decoded."""
        cell = self.cell(number, name)
        where = f"{self.where(number)} {self.columns[name]}"
        try:
            return decoded(self._bytes(cell, where), where)
        except DatasetError as error:
            raise RowFault(str(error)) from error

    def _bytes(self, cell: Any, where: str) -> bytes:
        if isinstance(cell, list) and cell:
            cell = cell[0]
        if isinstance(cell, str):
            return mmbench.decode_cell(cell, where)
        if isinstance(cell, Mapping) and cell.get("bytes"):
            return bytes(cell["bytes"])
        if isinstance(cell, Mapping) and cell.get("path"):
            return inside(self.root, str(cell["path"])).read_bytes()
        raise RowFault(f"{where}: the cell holds no picture")


def decoded(data: bytes, where: str) -> Pixels:
    """A picture as RGB (height, width, 3)."""
    return np.asarray(images.decode(data, where), dtype=np.uint8)


@dataclass
class Captions(Files):
    """COCO captions: the official annotation folder, or the hub's form. One caption of a picture is learned at a time;
    at validation all of them count as right."""

    split: str = "train2017"
    _pictures: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list, init=False, repr=False)
    _official: coco.CocoCaptions | None = field(default=None, init=False, repr=False)
    _rows: _Rows | None = field(default=None, init=False, repr=False)

    def names(self) -> Iterator[str]:
        """Image ids."""
        root = Path(self.path)
        if root.is_dir() and (is_saved(root) or is_parquet(root)):
            wanted = COLUMNS["coco"]
            split = "train" if self.split == "train2017" else self.split
            keys = {"image": wanted["image"], "captions": wanted["captions"]}
            self._rows = _Rows(self.path, split, keys)
            for number, cell in enumerate(self._rows.column("captions")):
                yield "\n".join(_caption_list(cell)) or f"row {number}"
            return
        self._official = coco.CocoCaptions(root)
        # Captions of all pictures stay in memory, about 100 bytes each: 60 MB for the 118,000 pictures of train2017.
        for sample in self._official.samples(self.split):
            key = sample.images[0].key if sample.images else ""
            reason = (
                sample.problem.message if sample.problem else "" if key else f"image {sample.sample_id} has no file"
            )
            self._pictures.append((key, reason, sample.references))
            yield sample.cluster

    def example(self, number: int) -> Example:
        """A picture with its captions as turns of their own."""
        if self._rows is not None:
            captions = _caption_list(self._rows.cell(number, "captions"))
            if not captions:
                raise RowFault(f"{self._rows.where(number)}: has no caption")
            return self._captioned(self._rows.picture(number), captions)
        assert self._official is not None
        key, reason, references = self._pictures[number]
        if reason:
            raise RowFault(f"{self.path} {self.split}: {reason}")
        try:
            file = inside(self._official.root, key)
            return self._captioned(decoded(file.read_bytes(), str(file)), references)
        except (DatasetError, OSError) as error:
            raise RowFault(str(error)) from error

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """A picture with one of its captions."""
        found = super().draw(rng, progress)
        return Example(found.images, (found.turns[int(rng.random() * len(found.turns))],), found.kind)

    def held_out(self, rng: np.random.Generator) -> Example:
        """A held-out picture; every caption of it counts as right."""
        found = self._drawn(rng, self._opened().held_out)
        first, *others = found.turns
        return Example(found.images, (Turn(first.prompt, first.answer, tuple(t.answer for t in others)),), found.kind)

    def texts(self) -> Sequence[str]:
        """One caption of each picture, evenly spread."""
        numbers = self._spread()
        if self._rows is None:
            return [self._pictures[n][2][0] for n in numbers if self._pictures[n][2]]
        wanted, found = set(numbers), []
        for number, cell in enumerate(self._rows.column("captions")):
            if number in wanted and (captions := _caption_list(cell)):
                found.append(captions[0])
        return found

    def _captioned(self, picture: Pixels, captions: Sequence[str]) -> Example:
        return Example((picture,), tuple(Turn(self.prompt, c.strip()) for c in captions), "caption")


def _caption_list(cell: Any) -> tuple[str, ...]:
    """Captions in one of the hub's forms: a text, a list of texts, or objects with `raw`."""
    cell = cell.get("raw") if isinstance(cell, Mapping) else cell
    items = cell if isinstance(cell, list) else [cell]
    texts = (c.get("raw") if isinstance(c, Mapping) else c for c in items)
    return tuple(str(t) for t in texts if t is not None and str(t).strip())


@dataclass
class Recaptions(Files):
    """LLaVA-ReCap: rows of `id`, `image` and `conversations`, a list of `{from: human | gpt, value}` in turns.

    The place of the image (`<image>`) is taken out of a question. `prompt` replaces all questions.
    """

    _rows: _Rows | None = field(default=None, init=False, repr=False)

    def names(self) -> Iterator[str]:
        """Row ids."""
        columns = {"id": ("id",), "image": ("image",), "conversations": ("conversations",)}
        self._rows = _Rows(self.path, self.split, columns)
        for number, cell in enumerate(self._rows.column("id")):
            yield str(cell) if cell is not None else f"row {number}"

    def example(self, number: int) -> Example:
        """A picture with the turns of its conversation."""
        assert self._rows is not None
        turns = self._turns(self._rows.cell(number, "conversations"), self._rows.where(number))
        return Example((self._rows.picture(number),), turns, "recaption")

    def texts(self) -> Sequence[str]:
        """Questions and answers, evenly spread; rows that are damaged have none."""
        numbers = set(self._spread())
        assert self._rows is not None
        found = []
        for number, cell in enumerate(self._rows.column("conversations")):
            if number in numbers:
                try:
                    found += [f"{t.prompt} {t.answer}" for t in self._turns(cell, self._rows.where(number))]
                except RowFault as error:
                    self._note(number, str(error))
        return found

    def _turns(self, cell: Any, where: str) -> tuple[Turn, ...]:
        said = [Row(item, where) for item in cell] if isinstance(cell, list) else []
        texts = [(row.optional("from"), row.optional("value")) for row in said]
        fault = next((row.problem for row in said if row.problem), None)
        if fault is not None:
            raise RowFault(fault.message)
        asked, answered = texts[::2], texts[1::2]
        in_turn = all(who == "human" for who, _ in asked) and all(who == "gpt" for who, _ in answered)
        if not texts or len(texts) % 2 or not in_turn:
            raise RowFault(f"{where}: conversations are not turns of human and gpt: {[who for who, _ in texts][:6]}")
        if not all(answer.strip() for _, answer in answered):
            raise RowFault(f"{where}: an answer is empty")
        pairs = zip(asked, answered, strict=True)
        return tuple(Turn(self.prompt or q.replace("<image>", "").strip(), a.strip()) for (_, q), (_, a) in pairs)


@dataclass
class LatexFormulas(Files):
    """Pictures of formulas with their LaTeX: `image` and `latex_formula`, as in OleehyO/latex-formulas.

    Give the folder of one subset (`cleaned_formulas` or `raw_formulas`) as `path`.
    """

    _rows: _Rows | None = field(default=None, init=False, repr=False)

    def names(self) -> Iterator[str]:
        """The formulas, so that the same formula in two pictures is on one side."""
        columns = {"image": COLUMNS["latex"]["image"], "formula": COLUMNS["latex"]["formula"]}
        self._rows = _Rows(self.path, self.split, columns)
        for number, cell in enumerate(self._rows.column("formula")):
            yield " ".join(str(cell).split()) if cell else f"row {number}"

    def example(self, number: int) -> Example:
        """A picture with its formula."""
        assert self._rows is not None
        formula = self._rows.cell(number, "formula")
        if not isinstance(formula, str) or not formula.strip():
            raise RowFault(f"{self._rows.where(number)}: the formula is empty")
        return Example((self._rows.picture(number),), (Turn(self.prompt, formula.strip()),), "formula")

    def texts(self) -> Sequence[str]:
        """Formulas, evenly spread."""
        numbers = set(self._spread())
        assert self._rows is not None
        cells = enumerate(self._rows.column("formula"))
        return [cell.strip() for number, cell in cells if number in numbers and isinstance(cell, str)]
