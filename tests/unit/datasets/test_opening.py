"""Which reader opens which folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import registry
from harness.datasets.base import Dataset
from harness.datasets.opening import open_dataset
from harness.errors import DatasetError, UnknownNameError
from tests.conftest import FOREIGN
from tests.unit.datasets import builders


def test_own_folder_and_folder_of_benchmarks_open_alike(tmp_path: Path) -> None:
    builders.nlvr2(tmp_path / "nlvr2", [builders.pair()])
    builders.mmbench(tmp_path / "mmbench", [builders.mmbench_row()])
    for folder in (tmp_path, tmp_path / "nlvr2"):
        data = open_dataset("nlvr2", folder)
        assert (data.root, data.form) == (tmp_path / "nlvr2", "official")
    assert open_dataset("mmbench", tmp_path, {"circular": False}).options == {"circular": False}


def test_saved_and_parquet_folders_open_in_the_hubs_form(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the hub extra is not installed")
    datasets.disable_progress_bars()
    row = {"image": {"bytes": builders.png(), "path": None}, "latex_formula": "x"}
    datasets.DatasetDict({"train": datasets.Dataset.from_list([row])}).save_to_disk(tmp_path / "a" / "latex")
    (tmp_path / "b").mkdir()
    datasets.Dataset.from_list([row]).to_parquet(tmp_path / "b" / "train-00000-of-00001.parquet")
    for folder in ("a", "b"):
        data = open_dataset("latex", tmp_path / folder)
        assert (data.form, data.name, data.splits()) == ("hub", "latex", ("train",))


NAMES = sorted(set(registry.names("datasets")) - FOREIGN)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_another_kind_is_refused_with_what_is_expected_and_found(tmp_path: Path, name: str) -> None:
    builders.write(tmp_path / "holiday.jpeg", b"x")
    with pytest.raises(DatasetError, match=r"Expected: .*Found: holiday\.jpeg"):
        open_dataset(name, tmp_path)


def test_empty_and_absent_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Found: nothing"):
        open_dataset("coco", tmp_path)
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        open_dataset("coco", tmp_path / "nowhere")


def test_unknown_name_has_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match='did you mean "chartqa"'):
        open_dataset("chartqaa", tmp_path)


def test_no_folder_means_the_bundled_data() -> None:
    from harness.mini import bundled_data

    assert open_dataset("coco", None).root == bundled_data() / "coco"


def test_a_plugin_is_opened_by_its_own_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Dataset):
        name = "mine"

        @classmethod
        def matches(cls, root: Path) -> bool:
            return True

        def splits(self) -> tuple[str, ...]:
            return ("test",)

        def samples(self, split):  # type: ignore[no-untyped-def]
            return iter(())

        def image_bytes(self, image):  # type: ignore[no-untyped-def]
            return b""

        def files(self, split: str) -> tuple[Path, ...]:
            return ()

    monkeypatch.setattr(registry, "load", lambda kind, name: Mine)
    assert isinstance(open_dataset("mine", tmp_path), Mine)
