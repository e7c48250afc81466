"""ScienceQA: school questions with two to five options, about half of them with a picture.

On disk: `problems.json` (pid → problem), `pid_splits.json` (split → pids), `images/<split>/<pid>/image.png`
(lupantech/ScienceQA); `images/<pid>/image.png` is read too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.datasets import json_files
from harness.datasets.folder import FolderDataset, annotation_file
from harness.datasets.rows import LETTERS, Ids, Row, lone
from harness.errors import DatasetError
from harness.records import ImageRef, Sample

FIELDS = ("subject", "topic", "grade", "task", "category", "skill")
"""Fields of a problem that scores can be broken down by."""
_ORDER = ("test", "val", "train")


def problem_sample(row: Row, pid: str, image: ImageRef | None, ids: Ids) -> Sample:
    """One problem; the fields are those of `problems.json`, the reference is the letter of `answer`."""
    question = row.text("question")
    raw = row.values.get("choices")
    choices = tuple([str(choice) for choice in raw]) if isinstance(raw, list | tuple) else ()
    if len(choices) < 2:
        row.fail("missing_field", f'"choices" holds {len(choices)} options; at least two are expected')
    answer = row.values.get("answer")
    letter = ""
    if answer is None:
        row.fail("empty_reference", '"answer" is missing')
    elif isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < min(len(choices), len(LETTERS)):
        row.fail("bad_answer", f'"answer" is {answer!r}; a number from 0 to {len(choices) - 1} is expected')
    else:
        letter = LETTERS[answer]
    return Sample(
        sample_id=ids.claim(pid, row),
        question=question,
        images=(image,) if image else (),
        references=(letter,) if letter else (),
        choices=choices,
        hint=row.optional("hint"),
        cluster=pid,
        metadata={"modality": "image" if image else "text", **row.metadata(*FIELDS)},
        problem=row.problem,
    )


class ScienceQA(FolderDataset):
    """One sample for each problem of a split, in the order of `problems.json`."""

    name = "scienceqa"
    layout = "problems.json, pid_splits.json and images/<split>/<pid>/image.png"

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(root, options)
        self._base = _base(root)
        self._members: dict[str, dict[str, str]] | None = None

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether `problems.json` lies in `root` or in its folder `data/scienceqa`."""
        return (_base(root) / "problems.json").is_file()

    def splits(self) -> tuple[str, ...]:
        """The names in `pid_splits.json`, `test` first."""
        names = self._splits()
        return tuple(sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)))

    def files(self, split: str) -> tuple[Path, ...]:
        """`problems.json` and `pid_splits.json`."""
        self.check_split(split)
        return self._problems(), self._base / "pid_splits.json"

    def count(self, split: str) -> int:
        """The pids that the split lists; a problem that stands twice in `problems.json` is not counted twice."""
        self.check_split(split)
        return len(self._splits()[split])

    def read(self, split: str) -> Iterator[Sample]:
        """The problems whose pid the split lists; listed pids without a problem come last, with a reason."""
        pids = self._splits()[split]
        ids = Ids()
        folder = "" if self._base == self.root else f"{self._base.relative_to(self.root).as_posix()}/"
        for name, values in json_files.object_items(self._problems()):
            pid = pids.get(name)
            if pid is None:
                continue
            row = Row(values, f"problems.json {pid}")
            image = None
            if row.values.get("image"):
                file_name = row.file_name("image")
                part = row.optional("split") or split
                places = (f"{folder}images/{part}/{pid}/{file_name}", f"{folder}images/{pid}/{file_name}")
                image = self.ref(*places) if file_name else None
            yield problem_sample(row, pid, image, ids)
        for pid in pids:
            if pid not in ids:
                row = Row({}, "pid_splits.json")
                row.fail("missing_row", f"{split} lists {pid}, which problems.json does not hold")
                yield lone(ids.claim(pid, row), row)

    def _problems(self) -> Path:
        return annotation_file(self.root, self._base / "problems.json")

    def _splits(self) -> dict[str, dict[str, str]]:
        """The pids of each split in order, each found by itself: one string serves all that is kept of a problem."""
        if self._members is None:
            path = annotation_file(self.root, self._base / "pid_splits.json")
            value = json_files.load(path)
            if not isinstance(value, dict) or not all(isinstance(pids, list) for pids in value.values()):
                raise DatasetError(f"{path}: an object of split names and lists of pids is expected")
            self._members = {name: {pid: pid for pid in map(str, pids)} for name, pids in value.items()}
        return self._members


def _base(root: Path) -> Path:
    nested = root / "data" / "scienceqa"
    return nested if (nested / "problems.json").is_file() else root
