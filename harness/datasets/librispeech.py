"""LibriSpeech: read English sentences with their transcripts.

On disk: `LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac`, and in each chapter's folder
`<speaker>-<chapter>.trans.txt` with one `<id> <TRANSCRIPT>` a line. WAV files are read as well (the bundled mini set).
Source: Panayotov et al. 2015; openslr.org/12.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.datasets.base import ImageError
from harness.datasets.folder import FolderDataset, annotation_file, inside, subfolders
from harness.errors import DatasetError
from harness.records import ImageRef, Problem, Sample

_SUFFIXES = (".flac", ".wav")
_ORDER = ("test-clean", "test-other", "dev-clean", "dev-other")


class LibriSpeech(FolderDataset):
    """Utterances; those of one speaker are one cluster."""

    name = "librispeech"
    layout = "LibriSpeech/<split>/<speaker>/<chapter>/ with <speaker>-<chapter>.trans.txt and one .flac for each line"

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether a split with transcripts lies in `root` or in its folder `LibriSpeech`."""
        return any(_transcripts(folder) for folder in _split_folders(root))

    def splits(self) -> tuple[str, ...]:
        """`test-clean`, `test-other`, `dev-clean`, `dev-other`, then the others by name."""
        found = [folder.name for folder in _split_folders(self.root) if _transcripts(folder)]
        return tuple(sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)))

    def files(self, split: str) -> tuple[Path, ...]:
        """The transcript files of all chapters."""
        self.check_split(split)
        folder = next(folder for folder in _split_folders(self.root) if folder.name == split)
        return tuple(_transcripts(folder))

    def read(self, split: str) -> Iterator[Sample]:
        """The utterances by speaker, chapter and line."""
        seen: set[str] = set()
        for path in self.files(split):
            try:
                lines = annotation_file(self.root, path).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DatasetError(f"{path} cannot be read: {error}; fetch {split} again") from error
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield self._utterance(path, number, line, seen)

    def _utterance(self, path: Path, number: int, line: str, seen: set[str]) -> Sample:
        chapter, speaker = path.parent, path.parent.parent
        name, _, text = line.strip().partition(" ")
        where = f"{path.relative_to(self.root).as_posix()}, line {number}"
        problem = None
        if not name.startswith(f"{speaker.name}-{chapter.name}-") or "/" in name or "\\" in name:
            problem = Problem("malformed_row", f"{where}: {name!r} is no utterance of this chapter")
        elif not text.strip():
            problem = Problem("empty_reference", f"{where}: {name} has no transcript")
        sample_id = name
        if name in seen:
            sample_id = f"{name}#{path.name}:{number}"
            problem = Problem("duplicate_id", f"{where}: {name} was there before")
        seen.add(name)
        base = chapter.relative_to(self.root).as_posix()
        return Sample(
            sample_id=sample_id,
            references=(text.strip(),) if text.strip() else (),
            audio=() if problem else (self.ref(*(f"{base}/{name}{suffix}" for suffix in _SUFFIXES)),),
            cluster=speaker.name,
            metadata={"speaker": speaker.name, "chapter": chapter.name},
            problem=problem,
        )

    def image_bytes(self, image: ImageRef) -> bytes:
        """Nothing.

        Raises:
            ImageError: `missing_image`; there are recordings only.
        """
        raise ImageError("missing_image", f"{image.locator}: librispeech has recordings and no pictures")

    def audio_bytes(self, audio: ImageRef) -> bytes:
        """The encoded bytes of a recording, unchanged; see `Dataset.audio_bytes`."""
        try:
            return inside(self.root, audio.key).read_bytes()
        except ImageError as error:
            kind = "missing_audio" if error.kind == "missing_image" else error.kind
            raise ImageError(kind, str(error)) from error
        except OSError as error:
            raise ImageError("unreadable_audio", f"{audio.locator} cannot be read: {error}") from error


def _split_folders(root: Path) -> list[Path]:
    base = root / "LibriSpeech"
    return subfolders(base if base.is_dir() else root)


def _transcripts(split: Path) -> list[Path]:
    """The transcript files of a split by speaker and chapter; numbers in order of value."""
    found = split.glob("*/*/*.trans.txt")
    return sorted(found, key=lambda path: [(len(part), part) for part in path.parts[-3:]])
