"""NLVR2 (statements on two photographs) and NLVR (statements on drawn pictures in six layouts).

On disk, NLVR2: JSON lines in `data/<split>.json`, `data/balanced/`, `data/unbalanced/`; photographs, which the authors
do not publish, in `images/<split>/[<directory>/]<split>-<set>-<pair>-img{0,1}.png`. NLVR: `nlvr1/<split>/<split>.json`
and `nlvr1/<split>/images/<directory>/<split>-<identifier>-<k>.png`, k = 0…5 (lil-lab/nlvr).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.datasets import json_files
from harness.datasets.folder import FolderDataset, annotation_file, subfolders
from harness.datasets.rows import Ids, Row, lone
from harness.records import ImageRef, Sample

CHOICES = ("True", "False")
LAYOUTS = 6
"""Drawings of each NLVR picture that differ in the order of their boxes."""
_IDENTIFIER = re.compile(r"(?P<split>[\w-]+)-(?P<set>\d+)-(?P<pair>\d+)-(?P<sentence>\d+)")
_OLD_IDENTIFIER = re.compile(r"(?P<sentence>\d+)-(?P<picture>\d+)")
_OLD = "nlvr1-"
_ORDER = ("dev", "test1", "test2", "train")


def pair_sample(
    row: Row,
    identifier: str,
    images: tuple[ImageRef, ...],
    ids: Ids,
    *,
    group: str,
    cluster: str,
    metadata: Mapping[str, str] | None = None,
) -> Sample:
    """One statement on its pictures; the fields are `sentence` and `label`, as in the official files."""
    question = row.text("sentence")
    sample_id = ids.claim(identifier, row)
    return Sample(
        sample_id=sample_id,
        question=question,
        images=images,
        references=truth(row),
        choices=CHOICES,
        cluster=cluster,
        group=group if sample_id == identifier else sample_id,
        metadata=metadata or {},
        problem=row.problem,
    )


def truth(row: Row, field: str = "label") -> tuple[str, ...]:
    """`("True",)` or `("False",)` from `True`, `true`, a boolean; empty, with a problem, from anything else."""
    label = row.values.get(field)
    if label is None or label == "":
        row.fail("empty_reference", f'"{field}" is missing')
        return ()
    word = str(label).strip().capitalize()
    if word not in CHOICES:
        row.fail("bad_answer", f'"{field}" is {label!r}; True or False is expected')
        return ()
    return (word,)


def sentence_group(identifier: str) -> tuple[str, str] | None:
    """(group, cluster) of an official identifier: one sentence of a set, and the set; `None` for other forms."""
    match = _IDENTIFIER.fullmatch(identifier)
    if match is None:
        return None
    return f"{match['split']}-{match['set']}-*-{match['sentence']}", f"{match['split']}-{match['set']}"


class NLVR(FolderDataset):
    """`group` is a sentence with all its pairs (consistency), `cluster` the set of pictures it was written for."""

    name = "nlvr2"
    layout = "data/dev.json (JSON lines; also data/balanced, data/unbalanced), images/, and nlvr1/<split>/<split>.json"

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether `data/*.json` with NLVR2's names or `nlvr1/` lies in `root`."""
        return bool(_files(root))

    def splits(self) -> tuple[str, ...]:
        """`dev` first; NLVR's splits (`nlvr1-dev`) last."""
        order = {name: place for place, name in enumerate(_ORDER)}
        return tuple(sorted(_files(self.root), key=lambda s: (s.startswith(_OLD), order.get(s, len(order)), s)))

    def files(self, split: str) -> tuple[Path, ...]:
        """The file of JSON lines."""
        self.check_split(split)
        return (annotation_file(self.root, _files(self.root)[split]),)

    def read(self, split: str) -> Iterator[Sample]:
        """Lines in file order; of NLVR each line six times, once for each layout."""
        (path,) = self.files(split)
        ids = Ids()
        for number, values in json_files.json_lines(path):
            row = Row(values, f"{path.name} line {number}")
            identifier = row.text("identifier")
            if split.startswith(_OLD):
                yield from self._layouts(row, identifier, number, path, ids)
            else:
                yield self._pair(row, identifier, number, ids)

    def _pair(self, row: Row, identifier: str, number: int, ids: Ids) -> Sample:
        match = _IDENTIFIER.fullmatch(identifier)
        names = sentence_group(identifier)
        if match is None or names is None:
            return _unnamed(row, identifier, number, ids)
        folder = match["split"]
        directory = f"{row.file_name('directory')}/" if row.values.get("directory") is not None else ""
        images = []
        for side in (0, 1):
            name = f"{folder}-{match['set']}-{match['pair']}-img{side}.png"
            plain = (f"images/{folder}/{name}", f"{folder}/{name}")
            images.append(self.ref(*(f"images/{folder}/{directory}{name}", *plain) if directory else plain))
        return pair_sample(row, identifier, tuple(images), ids, group=names[0], cluster=names[1])

    def _layouts(self, row: Row, identifier: str, number: int, path: Path, ids: Ids) -> Iterator[Sample]:
        match = _OLD_IDENTIFIER.fullmatch(identifier)
        directory = row.file_name("directory")
        if match is None or not directory:
            yield _unnamed(row, identifier, number, ids)
            return
        folder = path.parent.relative_to(self.root).as_posix()
        for layout in range(LAYOUTS):
            own = Row(row.values, row.where)
            image = self.ref(f"{folder}/images/{directory}/{path.stem}-{identifier}-{layout}.png")
            yield pair_sample(
                own,
                f"{identifier}-{layout}",
                (image,),
                ids,
                group=f"{match['sentence']}-{layout}",
                cluster=match["sentence"],
                metadata={"layout": str(layout)},
            )


def _unnamed(row: Row, identifier: str, number: int, ids: Ids) -> Sample:
    row.fail("bad_field", f'"identifier" is {identifier!r}, which is not of the published form')
    return lone(ids.claim(f"row-{number}", row), row)


def _files(root: Path) -> dict[str, Path]:
    found = {}
    for folder in (root / "data", root / "data" / "balanced", root / "data" / "unbalanced"):
        for path in sorted(folder.glob("*.json")):
            if path.stem.removeprefix("un").removeprefix("balanced_").startswith(_ORDER):
                found[path.stem] = path
    if (root / "nlvr1").is_dir():
        for folder in subfolders(root / "nlvr1"):
            if (path := folder / f"{folder.name}.json").is_file():
                found[_OLD + folder.name] = path
    return found
