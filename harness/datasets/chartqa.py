"""ChartQA: questions on charts, and (view `tables`) the charts' tables.

On disk: `ChartQA Dataset/<split>/{png,tables,<split>_human.json,<split>_augmented.json}` (vis-nlp/ChartQA).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from harness.datasets import json_files
from harness.datasets.base import ImageError
from harness.datasets.folder import FolderDataset, annotation_file, inside, subfolders
from harness.datasets.rows import Row
from harness.errors import DatasetError
from harness.records import ImageRef, Problem, Sample
from harness.sample_ids import ChartQAIds

SUBSETS = ("human", "augmented")
_ORDER = ("test", "val", "train")


def question_sample(row: Row, subset: str, imgname: str, image: ImageRef | None, ids: ChartQAIds) -> Sample:
    """One question; the fields are `query` and `label`, as in the official files."""
    question = row.text("query")
    references = row.reference("label")
    return Sample(
        sample_id=ids.next(subset, imgname, question),
        question=question,
        images=(image,) if image else (),
        references=references,
        cluster=imgname,
        metadata={"subset": subset},
        problem=row.problem,
    )


def linearise(table: str) -> str:
    r"""A CSV table as DePlot writes its target: cells joined by ` | `, rows by a line feed, no title line.

    White space in a cell becomes single blanks and a ` | ` in it `|`, so that the cells can be told apart again. The
    published CSV files name no title, so none is written; the row metrics take a title for a data point of its own.
    Source: Liu et al. 2023 (DePlot), section 3.
    """
    rows = csv.reader(io.StringIO(table, newline=""), strict=True)
    cleaned = ([" ".join(cell.split()).replace(" | ", "|") for cell in row] for row in rows)
    return "\n".join(" | ".join(row) for row in cleaned if any(row))


class ChartQA(FolderDataset):
    """Questions of people (`human`) and of a generator (`augmented`); option `view: tables` gives tables instead.

    A question has its chart's table as metadata `table` where one can be read; with `need_table: true` a question
    without one cannot be asked.
    """

    name = "chartqa"
    layout = '"ChartQA Dataset"/<split>/ with png/ and <split>_human.json or <split>_augmented.json'
    known_options = frozenset({"view", "need_table"})

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(root, options)
        self.view = self.options.get("view", "questions")
        if self.view not in ("questions", "tables"):
            raise DatasetError(f'chartqa: option view is {self.view!r}; give "questions" or "tables"')
        self.need_table = self.options.get("need_table", False)
        if not isinstance(self.need_table, bool):
            raise DatasetError(f"chartqa: option need_table is {self.need_table!r}; give true or false")

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether a split with questions or tables lies in `root` or in its folder `ChartQA Dataset`."""
        base = _base(root)
        return base.is_dir() and any(_questions(base, folder.name) for folder in subfolders(base))

    def splits(self) -> tuple[str, ...]:
        """`test`, `val`, `train` as far as they are there."""
        base = _base(self.root)
        found = [f.name for f in subfolders(base) if self._files(f.name)] if base.is_dir() else []
        return tuple(sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)))

    def files(self, split: str) -> tuple[Path, ...]:
        """The question files, human before augmented; or the tables; both where questions need their tables."""
        self.check_split(split)
        return self._files(split)

    def _files(self, split: str) -> tuple[Path, ...]:
        base = _base(self.root)
        tables = tuple(sorted((base / split / "tables").glob("*.csv")))
        if self.view == "tables":
            return tables
        questions = tuple(path for _, path in _questions(base, split))
        return questions + tables if self.need_table and questions else questions

    def read(self, split: str) -> Iterator[Sample]:
        """Questions in file order, or tables in order of name."""
        return self._tables(split) if self.view == "tables" else self._question_samples(split)

    def _question_samples(self, split: str) -> Iterator[Sample]:
        folder = (_base(self.root) / split).relative_to(self.root).as_posix()
        ids = ChartQAIds()
        table = lru_cache(maxsize=64)(lambda stem: self._table(f"{folder}/tables/{stem}.csv"))
        for subset, path in _questions(_base(self.root), split):
            for number, values in enumerate(json_files.array_items(annotation_file(self.root, path)), 1):
                row = Row(values, f"{path.name} row {number}")
                imgname = row.file_name("imgname")
                image = self.ref(f"{folder}/png/{imgname}") if imgname else None
                text, problem = table(PurePosixPath(imgname).stem) if imgname else ("", None)
                if self.need_table and problem:
                    row.fail(problem.kind, problem.message)
                sample = question_sample(row, subset, imgname or f"row-{number}", image, ids)
                yield replace(sample, metadata={**sample.metadata, "table": text}) if text else sample

    def _table(self, relative: str) -> tuple[str, Problem | None]:
        """A linearised table, and why there is none."""
        name = PurePosixPath(relative).name
        try:
            text = linearise(inside(self.root, relative).read_bytes().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            return "", Problem("malformed_row", f"{name}: byte {error.start} is not UTF-8")
        except csv.Error as error:
            return "", Problem("malformed_row", f"{name}: not a CSV table: {error}")
        except ImageError as error:
            absent = error.kind == "missing_image"
            return "", Problem(
                "missing_table" if absent else error.kind, f"{relative} is not there" if absent else str(error)
            )
        return text, None if text else Problem("empty_reference", f"{name}: the table has no cells")

    def _tables(self, split: str) -> Iterator[Sample]:
        for path in self._files(split):
            folder = path.parent.parent.relative_to(self.root).as_posix()
            reference, problem = self._table(path.relative_to(self.root).as_posix())
            yield Sample(
                sample_id=path.stem,
                images=(self.ref(f"{folder}/png/{path.stem}.png"),),
                references=(reference,) if reference else (),
                cluster=f"{path.stem}.png",
                problem=problem,
            )


def _base(root: Path) -> Path:
    nested = root / "ChartQA Dataset"
    return nested if nested.is_dir() else root


def _questions(base: Path, split: str) -> list[tuple[str, Path]]:
    paths = [(subset, base / split / f"{split}_{subset}.json") for subset in SUBSETS]
    return [(subset, path) for subset, path in paths if path.is_file()]
