"""MMBench and CCBench: multiple choice asked in several passes with the options rolled (CircularEval).

On disk: quoted TSV with the columns index, question, hint, A, B, …, answer, category, image (base64), l2-category,
split. Every `*.tsv` is a split.

Pass k of a question moves its options k places towards the end, the last going round to A, and carries index +
1,000,000 x k; the answer follows its text. A last option that speaks about the others ("None of the above", "both A, B,
and C": the words `all` or `none`, or the letters of all the others) keeps its place; the question has one pass less.
Source: VLMEvalKit `vlmutil circular`. Verified on the release of 2023-07-12 (the rows that LLaVA-1.5-13B answered):
this rule gives all 2,348 rows of 627 questions, options, letters and number of passes, 19 of them with a fixed option.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.datasets import tsv
from harness.datasets.base import ImageError
from harness.datasets.folder import FolderDataset, annotation_file, inside
from harness.datasets.rows import LETTERS, Ids, Row, lone
from harness.errors import DatasetError
from harness.records import ImageRef, Sample
from harness.sample_ids import MMBENCH_PASS, mmbench_id

REQUIRED = ("index", "question", "A", "B", "answer", "image")
_REFERENCE_LENGTH = 64
"""A shorter image cell made of digits is the index of the row that holds the picture."""


def question_sample(row: Row, image: ImageRef | None, number: int, ids: Ids) -> Sample:
    """One row as it stands (no rolling); the fields are those of the official columns, in lower case but for A–Z."""
    index = row.text("index").strip()
    if not (index.isascii() and index.isdigit()):
        row.fail("bad_field", f'"index" is {index!r}; a whole number is expected')
        return lone(ids.claim(f"row-{number}", row), row)
    base, passed = str(int(index) % MMBENCH_PASS), int(index) // MMBENCH_PASS
    question = row.text("question")
    choices = _choices(row)
    references = row.reference("answer")
    answer = references[0].strip() if references else ""
    if answer and (len(answer) != 1 or answer not in LETTERS[: len(choices)]):
        row.fail("bad_answer", f'"answer" is {answer!r}; the question has {len(choices)} options')
    sample_id = ids.claim(str(int(index)), row)
    return Sample(
        sample_id=sample_id,
        question=question,
        images=(image,) if image else (),
        references=(answer,) if answer else (),
        choices=choices,
        hint=row.optional("hint"),
        cluster=base,
        group=base if sample_id == str(int(index)) else sample_id,
        metadata={**row.metadata("category", "l2-category", "split"), "pass": str(passed)},
        problem=row.problem,
    )


def _choices(row: Row) -> tuple[str, ...]:
    cells = [row.optional(letter) for letter in LETTERS if letter in row.values]
    choices = tuple(cell for cell in cells if cell.strip())
    if len(choices) < 2:
        row.fail("missing_field", f"has {len(choices)} options; at least A and B are expected")
    elif any(not cell.strip() for cell in cells[: len(choices)]):
        row.fail("bad_field", "an option is empty but a later one is not")
    return choices


def movable(choices: tuple[str, ...]) -> int:
    """How many options roll: all but a last one (and then the one before it) that speaks about the others."""
    count = len(choices)
    while count > 2 and _speaks_of_others(choices[count - 1], count):
        count -= 1
    return count


def _speaks_of_others(option: str, count: int) -> bool:
    words = option.replace(",", " ").split()
    lower = {word.lower() for word in words}
    return all(letter in words for letter in LETTERS[: count - 1]) or bool(lower & {"all", "none"})


def passes(sample: Sample, already_rolled: Container[int] = ()) -> Iterator[Sample]:
    """The sample as pass 0 and its other passes; the sample alone if it has a problem or the file holds its passes."""
    yield sample
    index = int(sample.sample_id) if sample.problem is None else MMBENCH_PASS
    if index >= MMBENCH_PASS or index in already_rolled:
        return
    count = movable(sample.choices)
    answer = LETTERS.index(sample.references[0])
    for shift in range(1, count):
        rolled = tuple(sample.choices[(i - shift) % count] for i in range(count))
        yield dataclasses.replace(
            sample,
            sample_id=mmbench_id(index, shift),
            choices=rolled + sample.choices[count:],
            references=(LETTERS[(answer + shift) % count if answer < count else answer],),
            metadata={**sample.metadata, "pass": str(shift)},
        )


def decode_cell(cell: str, locator: str) -> bytes:
    """The bytes behind a base64 cell.

    Raises:
        ImageError: `missing_image` for an empty cell, `unreadable_image` for one that is not base64.
    """
    text = "".join(cell.split())
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if not text:
        raise ImageError("missing_image", f"{locator}: the image cell is empty")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error, or characters that are no ASCII
        raise ImageError("unreadable_image", f"{locator}: the image cell is not base64: {error}") from error


class MMBench(FolderDataset):
    """Option `circular` (default true): roll each question that the file does not roll itself; false: pass 0 alone."""

    name = "mmbench"
    layout = "*.tsv with the columns index, question, hint, A, B, C, D, answer, category, image, l2-category, split"
    known_options = frozenset({"circular"})

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(root, options)
        self.circular = self.options.get("circular", True)
        if not isinstance(self.circular, bool):
            raise DatasetError(f"mmbench: option circular is {self.circular!r}; give true or false")
        self._indexes: dict[str, dict[int, int]] = {}

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether a TSV file lies in `root`."""
        return any(root.glob("*.tsv"))

    def splits(self) -> tuple[str, ...]:
        """The names of the TSV files without ending, MMBench's dev files first."""
        stems = (path.stem for path in self.root.glob("*.tsv"))
        return tuple(sorted(stems, key=lambda stem: (not stem.lower().startswith("mmbench_dev"), stem)))

    def files(self, split: str) -> tuple[Path, ...]:
        """The TSV file."""
        self.check_split(split)
        return (annotation_file(self.root, self.root / f"{split}.tsv"),)

    def read(self, split: str) -> Iterator[Sample]:
        """Rows in file order, each followed by those passes that the file lacks."""
        (path,) = self.files(split)
        rolled = {index % MMBENCH_PASS for index in self._index(path) if index >= MMBENCH_PASS}
        header = _header(path)
        ids = Ids()
        for number, (offset, cells) in enumerate(_body(path), 1):
            where = f"{path.name} row {number}"
            row = Row(dict(zip(header, cells, strict=False)), where)
            if len(cells) != len(header):
                row.fail("malformed_row", f"has {len(cells)} cells; the header names {len(header)} columns")
            sample = question_sample(row, ImageRef(where, f"{path.name}:{offset}"), number, ids)
            if self.circular:
                yield from passes(sample, rolled)
            elif sample.metadata.get("pass", "0") == "0":
                yield sample

    def image_bytes(self, image: ImageRef) -> bytes:
        """The decoded base64 cell; a cell that names another row's index is followed to it."""
        name, _, offset = image.key.rpartition(":")
        path = inside(self.root, name)
        column = _header(path).index("image")
        position, visited = int(offset), set[int]()
        while True:
            _, cells = next(tsv.records(path, position))
            cell = cells[column].strip() if column < len(cells) else ""
            if not (cell.isascii() and cell.isdigit() and len(cell) < _REFERENCE_LENGTH):
                return decode_cell(cell, image.locator)
            visited.add(position)
            target = self._index(self.root / name).get(int(cell))
            if target is None or target in visited:
                raise ImageError("missing_image", f"{image.locator}: the image is that of index {cell}, which has none")
            position = target

    def _index(self, path: Path) -> dict[int, int]:
        """Index → byte offset of its first row; ids and numbers only, so that pictures are never held."""
        if path.name not in self._indexes:
            column = _header(path).index("index")
            found: dict[int, int] = {}
            for offset, cells in _body(path):
                text = cells[column].strip() if column < len(cells) else ""
                if text.isascii() and text.isdigit():
                    found.setdefault(int(text), offset)
            self._indexes[path.name] = found
        return self._indexes[path.name]


def _header(path: Path) -> list[str]:
    first = next(tsv.records(path), None)
    names = [cell.strip() for cell in first[1]] if first else []
    header = [name if len(name) == 1 and name in LETTERS else name.lower() for name in names]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise DatasetError(f"{path}: no column {', '.join(missing)}; the header reads {names[:20]}")
    return header


def _body(path: Path) -> Iterator[tuple[int, list[str]]]:
    rows = tsv.records(path)
    next(rows, None)
    return rows
