"""The benchmarks as the hub stores them: `COLUMNS` says which column means what, the rest is as in the official form.

Column names follow the documented forms of HuggingFaceM4/ChartQA and TIGER-Lab/NLVR2 and those that lmms-eval reads
(ChartQA, COCO-Caption, MMBench); the other names (ScienceQA, further NLVR2 sets, image-formula sets such as
OleehyO/latex-formulas) were not compared with the published files. Sample ids are those of the official readers where
the hub keeps what they are made of (MMBench index, COCO image id, NLVR2 identifier, names of picture files); otherwise
a digest of what is asked takes their place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from harness.datasets import chartqa, coco, latex, mmbench, nlvr, scienceqa
from harness.datasets.arrow_rows import Tables, is_parquet, is_saved, open_tables
from harness.datasets.base import ImageError
from harness.datasets.folder import FolderDataset, inside
from harness.datasets.rows import LETTERS, ContentIds, Ids, Row
from harness.errors import DatasetError
from harness.records import ImageRef, Sample
from harness.sample_ids import MMBENCH_PASS, ChartQAIds

COLUMNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "chartqa": {
        "image": ("image", "images"),
        "query": ("query", "question"),
        "label": ("label", "answer"),
        "subset": ("human_or_machine", "type"),
        "imgname": ("imgname", "image_name"),
    },
    "coco": {
        "image": ("image",),
        "captions": ("answer", "captions", "caption", "sentences_raw", "sentences"),
        "image_id": ("image_id", "cocoid"),
        "file_name": ("file_name", "filename", "question_id"),
        "id": ("id",),
    },
    "mmbench": {
        **{
            name: (name,)
            for name in ("index", "question", "hint", "answer", "image", "category", "l2-category", "split")
        },
        **{letter: (letter,) for letter in LETTERS},
    },
    "scienceqa": {
        "pid": ("pid", "problem_id", "question_id", "id"),
        **{name: (name,) for name in ("image", "question", "choices", "answer", "hint", *scienceqa.FIELDS)},
    },
    "nlvr2": {
        "image": ("images", "left_image"),
        "right": ("right_image",),
        "sentence": ("sentence", "question"),
        "label": ("label", "answer"),
        "identifier": ("identifier", "uid", "question_id", "id"),
    },
    "latex": {
        "image": ("image",),
        "formula": ("latex_formula", "formula", "latex", "text"),
        "name": ("name", "image_name", "file_name", "filename"),
    },
}
"""Benchmark → our field → columns that hold it, the first that is there; upper and lower case are alike for words."""
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "chartqa": ("image", "query", "label", "subset"),
    "coco": ("image", "captions"),
    "mmbench": ("image", "index", "question", "A", "B", "answer"),
    "scienceqa": ("image", "question", "choices", "answer"),
    "nlvr2": ("image", "sentence", "label"),
    "latex": ("image", "formula"),
}
"""Fields without which a split is not this benchmark."""
_ORDER = ("test", "val", "validation", "dev", "train")
_SEPARATOR = "\x1f"


class HubRow(Row):
    """A row under our field names, with its pictures."""

    def __init__(
        self, values: Mapping[str, Any], where: str, split: str, address: str, columns: Mapping[str, str]
    ) -> None:
        super().__init__(values, where)
        self._split, self._address, self._columns = split, address, columns

    def pictures(self, *fields: str) -> tuple[ImageRef, ...]:
        """References to all pictures in the fields; a null cell has none."""
        refs = []
        for field in fields:
            cell = self.values.get(field)
            for place in range(len(cell) if isinstance(cell, list) else cell is not None):
                column = self._columns[field]
                key = _SEPARATOR.join((self._split, self._address, column, str(place)))
                refs.append(ImageRef(f"{self.where} {column}" + (f"[{place}]" if place else ""), key))
        return tuple(refs)

    def picture(self) -> ImageRef | None:
        """The one picture of the field `image`; a problem where there is none."""
        found = self.pictures("image")
        if not found:
            self.fail("missing_field", '"image" is null')
            return None
        return found[0]

    def picture_name(self) -> str:
        """The file name stored with the picture, or the beginning of its SHA-256; a name fit for an id."""
        cell = self.values.get("image")
        cell = cell[0] if isinstance(cell, list) and cell else cell
        if isinstance(cell, Mapping):
            if cell.get("path"):
                return PurePosixPath(str(cell["path"]).replace("\\", "/")).name
            return hashlib.sha256(cell.get("bytes") or b"").hexdigest()[:16]
        return hashlib.sha256(str(cell).encode()).hexdigest()[:16]


_OPTIONS: Mapping[str, frozenset[str]] = {
    "mmbench": frozenset({"circular"}),
    "chartqa": frozenset({"view"}),
    "coco": frozenset({"view"}),
}


class HubDataset(FolderDataset):
    """One benchmark in the hub's form; options are those of its official reader."""

    form = "hub"

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None, *, name: str) -> None:
        """Open `root` as the benchmark `name`.

        Raises:
            DatasetError: no mapping of columns for `name`, no tables, or an unknown option.
        """
        if name not in COLUMNS:
            raise DatasetError(f'there is no hub form of "{name}"; there is one of: {", ".join(sorted(COLUMNS))}')
        self.name = name
        self.layout = "dataset_dict.json or state.json of save_to_disk, or parquet shards"
        self.known_options = _OPTIONS.get(name, frozenset())
        super().__init__(root, options)
        if name == "coco":
            coco.check_view(self.options)
        elif self.options.get("view", "questions") != "questions":
            raise DatasetError(f"chartqa: {root} is in the hub's form, which holds no tables; leave out option view")
        if not isinstance(self.options.get("circular", True), bool):
            raise DatasetError(f"mmbench: option circular is {self.options['circular']!r}; give true or false")
        self._tables: Tables = open_tables(root)

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether `root` holds tables in one of the hub's forms."""
        return root.is_dir() and (is_saved(root) or is_parquet(root))

    def splits(self) -> tuple[str, ...]:
        """`test`, then `val`, `validation`, `dev`, `train`, then others by name."""
        place = {name: index for index, name in enumerate(_ORDER)}
        return tuple(sorted(self._tables.splits(), key=lambda split: (place.get(split, len(place)), split)))

    def files(self, split: str) -> tuple[Path, ...]:
        """The files that the split is stored in."""
        self.check_split(split)
        return self._tables.files(split)

    def read(self, split: str) -> Iterator[Sample]:
        """Samples in stored order."""
        return _READERS[self.name](self, split)

    def reference_corpus(self, split: str) -> Mapping[str, tuple[str, ...]] | None:
        """All captions of the split by image id; `None` for other benchmarks."""
        if self.name != "coco":
            return None
        return {s.cluster: s.references for s in _coco_images(self, split) if s.references}

    def image_bytes(self, image: ImageRef) -> bytes:
        """The encoded bytes as stored; a stored path is read only if it lies in the folder."""
        split, address, column, place = image.key.split(_SEPARATOR)
        cell = self._tables.cell(split, address, column)
        if isinstance(cell, list):
            cell = cell[int(place)]
        if isinstance(cell, str):
            return mmbench.decode_cell(cell, image.locator)
        if isinstance(cell, Mapping) and cell.get("bytes"):
            return bytes(cell["bytes"])
        if isinstance(cell, Mapping) and cell.get("path"):
            return inside(self.root, str(cell["path"])).read_bytes()
        raise ImageError("missing_image", f"{image.locator}: the cell holds no picture")

    def rows(self, split: str, fields: Container[str] | None = None) -> Iterator[HubRow]:
        """Rows under our field names (all, or those given), class numbers replaced by their names."""
        classes = self._tables.columns(split)
        columns = {
            field: column
            for field, column in self._columns(split, classes).items()
            if fields is None or field in fields
        }
        for number, (address, stored) in enumerate(self._tables.rows(split, list(columns.values())), 1):
            values = {}
            for field, column in columns.items():
                value, names = stored[column], classes[column]
                in_names = names and isinstance(value, int) and 0 <= value < len(names)
                values[field] = names[value] if in_names else value
            yield HubRow(values, f"{split} row {number}", split, address, columns)

    def _columns(self, split: str, present: Mapping[str, Any]) -> dict[str, str]:
        by_name = {name if len(name) == 1 else name.lower(): name for name in present}
        chosen = {}
        for field, candidates in COLUMNS[self.name].items():
            found = next((by_name[c] for c in candidates if c in by_name), None)
            if found is not None:
                chosen[field] = found
        for field in REQUIRED[self.name]:
            if field not in chosen:
                wanted = " or ".join(COLUMNS[self.name][field])
                raise DatasetError(
                    f"{self.name}: split {split} in {self.root} has no column {wanted}; it has {', '.join(present)}"
                )
        return chosen


def _read_chartqa(data: HubDataset, split: str) -> Iterator[Sample]:
    ids = ChartQAIds()
    for row in data.rows(split):
        kind = row.optional("subset").lower()
        subset = "human" if kind.startswith("human") or kind == "0" else "augmented"
        if not kind.startswith(("human", "machine", "augmented")) and kind not in ("0", "1"):
            row.fail("bad_field", f'"{kind}" says neither human nor machine')
        name = row.optional("imgname") or row.picture_name()
        yield chartqa.question_sample(row, subset, name, row.picture(), ids)


def _read_coco(data: HubDataset, split: str) -> Iterator[Sample]:
    return coco.viewed(_coco_images(data, split), data.options)


def _coco_images(data: HubDataset, split: str) -> Iterator[Sample]:
    ids = Ids()
    for number, row in enumerate(data.rows(split), 1):
        cell = row.values.get("captions")
        texts = cell.get("raw") if isinstance(cell, Mapping) else cell
        items = texts if isinstance(texts, list) else [texts]
        captions = tuple(str(c["raw"] if isinstance(c, Mapping) else c) for c in items if c)
        yield coco.caption_sample(row, _image_id(row, number), captions, row.picture(), ids)


def _image_id(row: HubRow, number: int) -> str:
    """COCO's image id: its own column, else the number that ends the file's name, else the column `id`."""
    digits = re.search(r"(\d+)(?:\.\w+)?$", row.optional("file_name"))
    found = row.optional("image_id") or (str(int(digits[1])) if digits else "") or row.optional("id")
    if not found:
        row.fail("missing_field", "no image id and no file name")
    return found or f"row-{number}"


def _read_mmbench(data: HubDataset, split: str) -> Iterator[Sample]:
    ids = Ids()
    circular = data.options.get("circular", True)
    rolled: set[int] = set()
    if circular:
        indexes = (row.optional("index") for row in data.rows(split, ("index",)))
        rolled = {int(i) % MMBENCH_PASS for i in indexes if i.isascii() and i.isdigit() and int(i) >= MMBENCH_PASS}
    for number, row in enumerate(data.rows(split), 1):
        row.values = {field: None if value == "nan" else value for field, value in row.values.items()}
        sample = mmbench.question_sample(row, row.picture(), number, ids)
        if circular:
            yield from mmbench.passes(sample, rolled)
        elif sample.metadata.get("pass", "0") == "0":
            yield sample


def _read_scienceqa(data: HubDataset, split: str) -> Iterator[Sample]:
    ids, contents = Ids(), ContentIds()
    for row in data.rows(split):
        choices = row.values.get("choices")
        parts = [
            row.optional("question"),
            row.optional("hint"),
            *map(str, choices if isinstance(choices, list) else ()),
        ]
        pid = row.optional("pid") or contents.next(*parts)
        images = row.pictures("image")
        yield scienceqa.problem_sample(row, pid, images[0] if images else None, ids)


def _read_nlvr2(data: HubDataset, split: str) -> Iterator[Sample]:
    ids, contents = Ids(), ContentIds()
    for row in data.rows(split):
        sentence = row.optional("sentence")
        images = row.pictures("image", "right")
        if len(images) != 2:
            row.fail("missing_field", f"holds {len(images)} pictures; a left and a right one are expected")
        if isinstance(row.values.get("label"), int) and row.values["label"] in (0, 1):
            row.values = {**row.values, "label": bool(row.values["label"])}
        identifier = row.optional("identifier") or contents.next(sentence)
        own = "sentence-" + hashlib.sha256(sentence.encode()).hexdigest()[:16]
        group, cluster = nlvr.sentence_group(identifier) or (own, own)
        yield nlvr.pair_sample(row, identifier, images, ids, group=group, cluster=cluster)


def _read_latex(data: HubDataset, split: str) -> Iterator[Sample]:
    ids, contents = Ids(), ContentIds()
    for row in data.rows(split):
        formula = row.optional("formula")
        name = row.optional("name") or contents.next(row.picture_name(), formula)
        yield latex.formula_sample(row, name, formula, row.picture(), ids, {"source": split})


_READERS: Mapping[str, Callable[[HubDataset, str], Iterator[Sample]]] = {
    "chartqa": _read_chartqa,
    "coco": _read_coco,
    "mmbench": _read_mmbench,
    "scienceqa": _read_scienceqa,
    "nlvr2": _read_nlvr2,
    "latex": _read_latex,
}
