"""The tiny checkpoints: the real classes, complete, alike from build to build. Evidence: properties."""

from __future__ import annotations

from pathlib import Path

from harness.fingerprint import file_sha256
from tests.tiny_checkpoints import BUILDERS, build


def test_all_families_are_built_and_small(tiny_checkpoints: dict[str, Path]) -> None:
    assert set(tiny_checkpoints) == set(BUILDERS)
    for folder in tiny_checkpoints.values():
        assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000


def test_two_builds_have_the_same_bytes(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    again = build(tmp_path, ["blip2_opt"])["blip2_opt"]
    for file in again.iterdir():
        assert file_sha256(file) == file_sha256(tiny_checkpoints["blip2_opt"] / file.name), file.name


def test_a_checkpoint_that_is_there_is_kept(tmp_path: Path) -> None:
    folder = build(tmp_path, ["deplot"])["deplot"]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert build(tmp_path, ["deplot"])["deplot"] == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
