"""COCO captions: the official annotation files and Karpathy's `dataset_coco.json`; Flickr30k in Karpathy's form.

An image's captions lie anywhere in the official file, so they are first put into a temporary SQLite table (on disk,
deleted on closing) and then fetched image by image; memory holds ids only.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from harness.datasets import json_files
from harness.datasets.folder import FolderDataset, annotation_file, subfolders
from harness.datasets.retrieval import retrieval_view
from harness.datasets.rows import Ids, Row, lone
from harness.errors import DatasetError
from harness.records import ImageRef, Sample

TEXT_ONLY = "_text_only"
"""Ending of a split whose captions are those of a larger part of the same set, most of them without image."""
_USUAL = ("karpathy-test", "val2017", "val2014", "karpathy-val", "test2017", "train2017", "train2014")
_KARPATHY = "karpathy-"
_KARPATHY_FILES = ("dataset_coco.json", "dataset_flickr30k.json")
_VIEWS = ("captions", "retrieval")
_CACHE_KIB = 8192


def check_view(options: Mapping[str, Any]) -> None:
    """Nothing if the option `view` is one that there is.

    Raises:
        DatasetError: naming the views.
    """
    if options.get("view", _VIEWS[0]) not in _VIEWS:
        raise DatasetError(f"coco: view is {options['view']!r}; give {' or '.join(_VIEWS)}")


def viewed(images: Iterator[Sample], options: Mapping[str, Any]) -> Iterator[Sample]:
    """Images with their captions as the option `view` says."""
    return retrieval_view(images) if options.get("view") == "retrieval" else images


def caption_sample(row: Row, image_id: str, captions: tuple[str, ...], image: ImageRef | None, ids: Ids) -> Sample:
    """One image with its captions as references."""
    if not captions:
        row.fail("empty_reference", f"image {image_id} has no caption")
    sample_id = ids.claim(image_id, row)
    images = (image,) if image else ()
    return Sample(sample_id, images=images, references=captions, cluster=image_id, problem=row.problem)


def read_annotations(path: Path, picture: Callable[[str], ImageRef] | None = None) -> Iterator[Sample]:
    """The images of one annotation file in file order, then captions of images it does not list (with a problem).

    Args:
        path: a file in COCO's caption form.
        picture: file name → where the picture lies; without it samples have no pictures.

    Raises:
        DatasetError: not UTF-8, not JSON, or no caption annotations.
    """
    ids = Ids()
    with contextlib.closing(sqlite3.connect("", check_same_thread=False)) as table:
        table.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        table.execute("CREATE TABLE captions (image_id TEXT, caption TEXT)")
        table.executemany("INSERT INTO captions VALUES (?, ?)", _captions(path))
        table.execute("CREATE INDEX by_image ON captions (image_id)")
        number = 0
        for number, values in enumerate(json_files.array_items(path, "images.item"), 1):
            row = Row(values, f"{path.name} image {number}")
            image_id = row.text("id") or f"row-{number}"
            name = row.file_name("file_name")
            image = picture(name) if picture and name else None
            found = table.execute("SELECT caption FROM captions WHERE image_id = ? ORDER BY rowid", (image_id,))
            yield caption_sample(row, image_id, tuple(caption for (caption,) in found), image, ids)
        if not number:
            raise DatasetError(f"{path}: holds no list `images`; it should be a COCO caption annotation file")
        for (image_id,) in table.execute("SELECT image_id FROM captions GROUP BY image_id ORDER BY min(rowid)"):
            if image_id not in ids:
                row = Row({}, path.name)
                row.fail("missing_row", f"captions name the image {image_id!r}, which `images` does not list")
                yield lone(ids.claim(image_id, row), row)


def _captions(path: Path) -> Iterator[tuple[str, str]]:
    for number, values in enumerate(json_files.array_items(path, "annotations.item"), 1):
        row = Row(values, f"{path.name} annotation {number}")
        image_id, caption = row.optional("image_id"), row.optional("caption")
        if row.problem or not image_id:
            raise DatasetError(f"{path}: annotation {number} has no `image_id`; fetch the file again")
        if caption.strip():
            yield image_id, caption


class CocoCaptions(FolderDataset):
    """One sample for each image; `references` are its captions in file order.

    Option `view`: `captions` (as said), or `retrieval` (images and captions find each other, see `retrieval_view`).
    """

    name = "coco"
    layout = "annotations/captions_<split>.json (or dataset_coco.json) and image folders such as val2017/"
    known_options = frozenset({"view"})

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether caption annotations lie in `root`."""
        return bool(_official(root)) or _karpathy_file(root) is not None

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(root, options)
        self._splits: tuple[str, ...] | None = None
        check_view(self.options)

    def splits(self) -> tuple[str, ...]:
        """Karpathy's test split or a validation split first, text-only ones last; Karpathy's file is scanned once."""
        if self._splits is None:
            found = list(_official(self.root))
            if (path := _karpathy_file(self.root)) is not None:
                rows = json_files.array_items(annotation_file(self.root, path), "images.item")
                names = {str(row["split"]) for row in rows if isinstance(row, dict) and row.get("split")}
                found += [_KARPATHY + name for name in names]
            self._splits = tuple(sorted(found, key=_usual_first))
        return self._splits

    def files(self, split: str) -> tuple[Path, ...]:
        """The annotation file, and the larger text-only one where the reference corpus comes from it."""
        self.check_split(split)
        path = self._file(split)
        larger = self._larger_corpus(split)
        return (path, larger) if larger else (path,)

    def reference_corpus(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """All captions on disk for the split by image id: its own, and those of a larger text-only file beside it."""
        corpus: dict[str, list[str]] = {}
        if split.startswith(_KARPATHY):
            return {s.cluster: s.references for s in self._images(split) if s.references}
        self.check_split(split)
        own = self._file(split)
        for path in filter(None, (self._larger_corpus(split), own)):
            fresh: dict[str, list[str]] = {}
            for image_id, caption in _captions(path):
                fresh.setdefault(image_id, []).append(caption)
            corpus.update(fresh)
        return {image_id: tuple(captions) for image_id, captions in corpus.items()}

    def read(self, split: str) -> Iterator[Sample]:
        """Images in file order, then captions whose image the file does not list (each with a problem)."""
        return viewed(self._images(split), self.options)

    def _images(self, split: str) -> Iterator[Sample]:
        if split.startswith(_KARPATHY):
            return self._karpathy(split.removeprefix(_KARPATHY))
        folder = self._image_folder(split)
        return read_annotations(self._file(split), lambda name: self.ref(f"{folder}/{name}"))

    def _karpathy(self, part: str) -> Iterator[Sample]:
        path = self._file(_KARPATHY + part)
        ids = Ids()
        for number, values in enumerate(json_files.array_items(path, "images.item"), 1):
            row = Row(values, f"{path.name} image {number}")
            if row.values.get("split") != part:
                continue
            name = row.file_name("filename")
            # Flickr30k has no ids of its own: its pictures are called by them
            own = PurePosixPath(name).stem if name and "cocoid" not in row.values else row.text("cocoid")
            image_id = own or f"row-{number}"
            folder = row.file_name("filepath") if row.values.get("filepath") else ""
            places = [f"{folder}/{name}" if folder else name, f"images/{folder}/{name}" if folder else f"images/{name}"]
            places.append(f"flickr30k-images/{name}")
            sentences = row.values.get("sentences")
            captions = [Row(s, row.where).optional("raw") for s in sentences] if isinstance(sentences, list) else []
            image = self.ref(*places) if name else None
            yield caption_sample(row, image_id, tuple(c for c in captions if c.strip()), image, ids)

    def _file(self, split: str) -> Path:
        karpathy = _karpathy_file(self.root)
        path = karpathy if split.startswith(_KARPATHY) and karpathy else _official(self.root)[split]
        return annotation_file(self.root, path)

    def _larger_corpus(self, split: str) -> Path | None:
        other = _official(self.root).get(split + TEXT_ONLY)
        if other is None or split.startswith(_KARPATHY) or other.stat().st_size <= self._file(split).stat().st_size:
            return None
        return annotation_file(self.root, other)

    def _image_folder(self, split: str) -> str:
        """The folder named like the split, or the longest name that the split's name begins with."""
        for parent in ("", "images/"):
            base = self.root / parent
            names = [f.name for f in subfolders(base) if split.startswith(f.name)] if base.is_dir() else []
            if names:
                return parent + max(names, key=len)
        return split


def _official(root: Path) -> dict[str, Path]:
    paths = sorted((root / "annotations").glob("captions_*.json"))
    return {path.stem.removeprefix("captions_"): path for path in paths}


def _karpathy_file(root: Path) -> Path | None:
    places = (folder / name for name in _KARPATHY_FILES for folder in (root, root / "annotations"))
    return next((path for path in places if path.is_file()), None)


def _usual_first(split: str) -> tuple[bool, int, str]:
    return split.endswith(TEXT_ONLY), _USUAL.index(split) if split in _USUAL else len(_USUAL), split
