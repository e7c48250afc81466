r"""Pictures of formulas with their LaTeX: im2latex lists, TexTeller's JSON lines, plain pairs, and formulas alone.

Each sub-folder is a source, recognised by its files:
- im2latex: `formulas.lst` (or `*_formulas.lst`), one formula a line, and `<list>.lst` with `line image type`;
  split `<folder>/<list>`. Lines end in `\n` alone: formulas may hold `\r` and form feeds;
- TexTeller: `formulas.jsonl` with `img_name` and `formula`, pictures in `images/`; split `<folder>`;
- pairs: `pairs.csv` or `pairs.jsonl` with `image` and `formula`, or NAME.png beside NAME.txt; split `<folder>`;
- formulas alone: `<list>.norm.txt`; split `<folder>/<list>`, every sample with the problem `no_image`.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.datasets import json_files
from harness.datasets.folder import IMAGE_SUFFIXES, FolderDataset, annotation_file, subfolders
from harness.datasets.rows import Ids, Row, lone
from harness.errors import DatasetError
from harness.records import ImageRef, Sample

_LISTS = ("test", "validate", "val", "train")


@dataclass(frozen=True, slots=True)
class _Source:
    """One split: which files it is read from and how."""

    files: tuple[Path, ...]
    read: Callable[[Latex, _Source], Iterator[Sample]]
    has_images: bool = True


def formula_sample(
    row: Row, name: str, formula: str, image: ImageRef | None, ids: Ids, metadata: Mapping[str, str], cluster: str = ""
) -> Sample:
    """One picture with its formula, unchanged."""
    if not formula.strip():
        row.fail("empty_reference", "the formula is empty")
    return Sample(
        sample_id=ids.claim(name, row),
        images=(image,) if image else (),
        references=(formula,) if formula.strip() else (),
        cluster=cluster or name,
        metadata=metadata,
        problem=row.problem,
    )


class Latex(FolderDataset):
    """One sample for each picture of a formula; the reference is the formula as it stands in the file."""

    name = "latex"
    layout = (
        "one folder per source: formulas.lst + <list>.lst + images/, or formulas.jsonl + images/, or pairs.csv / "
        "pairs.jsonl / NAME.png + NAME.txt, or <list>.norm.txt"
    )

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(root, options)
        self._found = _sources(root)

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether `root`, or a folder in it, is a source."""
        return root.is_dir() and bool(_sources(root))

    def splits(self) -> tuple[str, ...]:
        """Test lists first, formulas without pictures last."""

        def order(split: str) -> tuple[bool, int, str]:
            last = split.rpartition("/")[2]
            place = next((i for i, name in enumerate(_LISTS) if name in last.split("_")), 0)
            return not self._found[split].has_images, place, split

        return tuple(sorted(self._found, key=order))

    def files(self, split: str) -> tuple[Path, ...]:
        """The list and the formulas; for NAME.txt pairs every text file."""
        self.check_split(split)
        return tuple(annotation_file(self.root, path) for path in self._found[split].files)

    def read(self, split: str) -> Iterator[Sample]:
        """Samples in the order of the list, or of file names where there is none."""
        self.files(split)
        source = self._found[split]
        return source.read(self, source)

    def _im2latex(self, source: _Source) -> Iterator[Sample]:
        listing, formulas = source.files
        folder = listing.parent
        pictures = next((name for name in ("images", "formula_images") if (folder / name).is_dir()), "images")
        ids = Ids()
        with _Lines(formulas) as lines:
            for number, text in json_files.text_lines(listing):
                if not text.strip():
                    continue
                row = Row({}, f"{listing.name} line {number}")
                parts = text.split()
                if len(parts) < 2 or not parts[0].isdigit():
                    row.fail("malformed_row", f"{text[:60]!r} is not `line image type`")
                    yield lone(ids.claim(f"row-{number}", row), row)
                    continue
                line, name = int(parts[0]), parts[1]
                formula, encoding = "", ""
                if line < len(lines):
                    formula, encoding = lines.get(line)
                else:
                    row.fail("missing_row", f"names formula {line}; {formulas.name} has {len(lines)}")
                metadata = {"source": folder.name, "render": parts[2] if len(parts) > 2 else ""}
                if encoding:
                    metadata["encoding"] = encoding
                file_name = name if Path(name).suffix.lower() in IMAGE_SUFFIXES else f"{name}.png"
                picture = Row({"image": file_name}, row.where)
                image = self._picture(picture, "image", folder, pictures)
                row.problem = row.problem or picture.problem
                yield formula_sample(row, name, formula, image, ids, metadata, cluster=f"formula-{line}")

    def _json_lines(self, source: _Source) -> Iterator[Sample]:
        (path,) = source.files
        rows = ((f"line {number}", values) for number, values in json_files.json_lines(path))
        return self._pairs(path, rows, "img_name" if path.name == "formulas.jsonl" else "image")

    def _csv(self, source: _Source) -> Iterator[Sample]:
        (path,) = source.files

        def rows() -> Iterator[tuple[str, Any]]:
            table = csv.DictReader((f"{line}\n" for _, line in json_files.text_lines(path)), strict=True)
            try:
                if not {"image", "formula"} <= set(table.fieldnames or ()):
                    raise DatasetError(f"{path}: the header reads {table.fieldnames}; image and formula are expected")
                for values in table:
                    yield f"line {table.line_num}", {k: v for k, v in values.items() if k is not None}
            except csv.Error as error:
                raise DatasetError(f"{path}: line {table.line_num} is not CSV: {error}") from error

        return self._pairs(path, rows(), "image")

    def _pairs(self, path: Path, rows: Iterator[tuple[str, Any]], field: str) -> Iterator[Sample]:
        ids = Ids()
        for place, values in rows:
            row = Row(values, f"{path.name} {place}")
            name = row.optional(field)
            image = self._picture(row, field, path.parent, "images")
            formula = row.optional("formula")
            sample_id = name or f"row-{place.rpartition(' ')[2]}"
            yield formula_sample(row, sample_id, formula, image, ids, {"source": path.parent.name})

    def _text_files(self, source: _Source) -> Iterator[Sample]:
        ids = Ids()
        for path in source.files:
            row = Row({}, path.name)
            try:
                formula = path.read_bytes().decode("utf-8-sig").strip("\r\n")
            except UnicodeDecodeError as error:
                formula = ""
                row.fail("malformed_row", f"byte {error.start} is not UTF-8")
            picture = _beside(path)
            key = picture.relative_to(self.root).as_posix()
            yield formula_sample(row, picture.name, formula, ImageRef(key, key), ids, {"source": path.parent.name})

    def _formulas_alone(self, source: _Source) -> Iterator[Sample]:
        (path,) = source.files
        ids = Ids()
        for number, formula in json_files.text_lines(path):
            row = Row({}, f"{path.name} line {number}")
            row.fail("no_image", "the formula has no picture")
            yield formula_sample(row, str(number - 1), formula, None, ids, {"source": path.parent.name})

    def _picture(self, row: Row, field: str, folder: Path, pictures: str) -> ImageRef | None:
        name = row.file_name(field)
        base = "" if folder == self.root else f"{folder.relative_to(self.root).as_posix()}/"
        return self.ref(f"{base}{pictures}/{name}", f"{base}{name}") if name else None


class _Lines:
    """Random access to the lines of a file by where they begin: 8 bytes of memory a line."""

    def __init__(self, path: Path) -> None:
        self._file = json_files.open_binary(path)
        self._starts = array("Q", [0])
        for line in self._file:
            self._starts.append(self._starts[-1] + len(line))

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def get(self, number: int) -> tuple[str, str]:
        """(line from 0, encoding): empty for UTF-8, `latin-1` for a line that is not UTF-8."""
        self._file.seek(self._starts[number])
        data = self._file.read(self._starts[number + 1] - self._starts[number]).removesuffix(b"\n")
        try:
            return data.decode("utf-8"), ""
        except UnicodeDecodeError:
            return data.decode("latin-1"), "latin-1"


def _sources(root: Path) -> dict[str, _Source]:
    found = _in_folder(root)
    for folder in [] if found else subfolders(root):
        found.update(_in_folder(folder))
    return found


def _in_folder(folder: Path) -> dict[str, _Source]:
    name = folder.name
    lists = sorted(folder.glob("*.lst"))
    formulas = next((path for path in lists if path.stem.endswith("formulas")), None)
    found: dict[str, _Source] = {}
    if formulas is not None:
        found = {f"{name}/{p.stem}": _Source((p, formulas), Latex._im2latex) for p in lists if p != formulas}
    elif (path := folder / "formulas.jsonl").is_file() or (path := folder / "pairs.jsonl").is_file():
        found[name] = _Source((path,), Latex._json_lines)
    elif (path := folder / "pairs.csv").is_file():
        found[name] = _Source((path,), Latex._csv)
    elif texts := tuple(sorted(p for p in folder.glob("*.txt") if _beside(p).is_file())):
        found[name] = _Source(texts, Latex._text_files)
    for path in sorted(folder.glob("*.norm.txt")):
        split = f"{name}/{path.name.removesuffix('.norm.txt')}"
        found[split] = _Source((path,), Latex._formulas_alone, has_images=False)
    return found


def _beside(text: Path) -> Path:
    """The picture of the same name beside a text file; the PNG where there is none."""
    places = (text.with_suffix(suffix) for suffix in sorted(IMAGE_SUFFIXES))
    return next((path for path in places if path.is_file()), text.with_suffix(".png"))
