"""LibriSpeech's layout: a folder written by hand in it, and every way in which a row can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.base import ImageError
from harness.datasets.check import check_dataset
from harness.datasets.librispeech import LibriSpeech
from harness.datasets.opening import open_dataset
from harness.errors import DatasetError
from harness.records import ImageRef
from tests.unit.datasets.test_audio import wav


def chapter(root: Path, split: str, speaker: str, number: str, lines: dict[str, str], suffix: str = ".wav") -> Path:
    folder = root / "LibriSpeech" / split / speaker / number
    folder.mkdir(parents=True)
    text = "".join(f"{name} {words}\n" for name, words in lines.items())
    (folder / f"{speaker}-{number}.trans.txt").write_text(text, encoding="utf-8")
    for name in lines:
        (folder / f"{name}{suffix}").write_bytes(wav())
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    chapter(tmp_path, "test-other", "9", "2", {"9-2-0000": "GO ON"})
    chapter(tmp_path, "test-clean", "121", "3", {"121-3-0000": "ALSO A WORD", "121-3-0001": "DON'T"})
    chapter(tmp_path, "test-clean", "61", "70", {"61-70-0000": "HE BEGAN"})
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text("; ID | SEX\n")
    return tmp_path


def test_utterances_come_by_speaker_chapter_and_line(root: Path) -> None:
    data = LibriSpeech(root)
    assert data.splits() == ("test-clean", "test-other")
    samples = list(data.samples("test-clean"))
    assert [s.sample_id for s in samples] == ["61-70-0000", "121-3-0000", "121-3-0001"]
    assert [s.references for s in samples] == [("HE BEGAN",), ("ALSO A WORD",), ("DON'T",)]
    assert [s.cluster for s in samples] == ["61", "121", "121"]
    assert samples[0].metadata == {"speaker": "61", "chapter": "70"}
    assert samples[0].images == ()
    assert samples[0].audio[0].locator == "LibriSpeech/test-clean/61/70/61-70-0000.wav"
    assert data.audio_bytes(samples[0].audio[0]) == wav()
    assert len(data.files("test-clean")) == 2


def test_a_folder_of_splits_is_read_as_the_folder_above_it(root: Path) -> None:
    inner = root / "LibriSpeech"
    assert LibriSpeech.matches(inner)
    assert [s.sample_id for s in LibriSpeech(inner).samples("test-other")] == ["9-2-0000"]
    assert isinstance(open_dataset("librispeech", root), LibriSpeech)


def test_flac_is_preferred_and_named_where_neither_is_there(root: Path) -> None:
    folder = root / "LibriSpeech" / "test-other" / "9" / "2"
    (folder / "9-2-0000.flac").write_bytes(b"fLaC")
    (sample,) = LibriSpeech(root).samples("test-other")
    assert sample.audio[0].key.endswith(".flac")
    for path in folder.glob("9-2-0000.*"):
        path.unlink()
    data = LibriSpeech(root)
    (sample,) = data.samples("test-other")
    assert sample.problem is None
    with pytest.raises(ImageError, match=r"9-2-0000\.flac is not there") as caught:
        data.audio_bytes(sample.audio[0])
    assert caught.value.kind == "missing_audio"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("9-2-0001", "empty_reference"),
        ("9-2-0001   ", "empty_reference"),
        ("8-2-0001 WORDS", "malformed_row"),
        ("9-2-../x WORDS", "malformed_row"),
        ("9-2-0000 AGAIN", "duplicate_id"),
    ],
)
def test_a_wrong_row_is_counted_by_name_and_the_others_stay(root: Path, line: str, kind: str) -> None:
    path = root / "LibriSpeech" / "test-other" / "9" / "2" / "9-2.trans.txt"
    path.write_text(path.read_text() + line + "\n\n")
    good, bad = LibriSpeech(root).samples("test-other")
    assert good.problem is None
    assert bad.problem is not None
    assert bad.problem.kind == kind
    assert "9-2.trans.txt, line 2" in bad.problem.message
    assert bad.audio == ()
    assert good.sample_id != bad.sample_id


def test_a_name_outside_the_folder_is_not_read(root: Path) -> None:
    with pytest.raises(ImageError) as caught:
        LibriSpeech(root).audio_bytes(ImageRef("x", "../secret.wav"))
    assert caught.value.kind == "path_outside_data"


def test_there_are_no_pictures(root: Path) -> None:
    with pytest.raises(ImageError, match="no pictures"):
        LibriSpeech(root).image_bytes(ImageRef("x", "x.png"))


def test_a_folder_without_transcripts_is_not_this_benchmark(tmp_path: Path, root: Path) -> None:
    (tmp_path / "empty" / "a" / "b").mkdir(parents=True)
    assert not LibriSpeech.matches(tmp_path / "empty")
    with pytest.raises(DatasetError, match='no split "train"'):
        list(LibriSpeech(root).samples("train"))


def test_a_transcript_that_is_no_text_is_refused_by_name(root: Path) -> None:
    path = root / "LibriSpeech" / "test-other" / "9" / "2" / "9-2.trans.txt"
    path.write_bytes(b"9-2-0000 \xff\xfe")
    with pytest.raises(DatasetError, match=r"9-2\.trans\.txt cannot be read"):
        list(LibriSpeech(root).samples("test-other"))


def test_the_check_counts_recordings_and_names_faulty_ones(root: Path) -> None:
    (root / "LibriSpeech" / "test-clean" / "61" / "70" / "61-70-0000.wav").write_bytes(wav()[:46])
    (report,) = check_dataset(LibriSpeech(root), split="test-clean")
    assert (report.n_samples, report.n_images, report.n_audio) == (3, 0, 3)
    (problem,) = report.problems
    assert (problem.kind, problem.count) == ("truncated_audio", 1)
    assert problem.examples[0].startswith("61-70-0000: ")


def test_a_changed_recording_changes_the_checksum(root: Path) -> None:
    (before,) = check_dataset(LibriSpeech(root), split="test-other")
    (root / "LibriSpeech" / "test-other" / "9" / "2" / "9-2-0000.wav").write_bytes(wav((0.1, 0.2)))
    (after,) = check_dataset(LibriSpeech(root), split="test-other")
    assert before.checksum != after.checksum
