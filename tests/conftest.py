"""Fixtures and guards shared by all tests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness import registry

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# tox sets it, and commands would break their lines at it.
os.environ.pop("COLUMNS", None)

FOREIGN = {"lmms-eval"}
"""Registered names that ask another package for their data and their scores; tests/lmms has their tests."""
Command = Callable[..., tuple[int, str, str]]
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command; gives exit code, standard output and standard error."""
    from harness.cli.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        code = stopped.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real benchmark subsets that lies beside the checkout and is never part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real benchmark subsets (../shared/data) are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Name → folder of checkpoints of the real transformers classes with random weights, each built when first used."""
    pytest.importorskip("transformers", reason="the models extra is not installed")
    from tests.tiny_checkpoints import Checkpoints

    return Checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Installs a distribution that consists of entry points and files; returns its folder.

    Call as `installed("name", {"harness.models": {"x": "module:Class"}}, {"module.py": "..."})`.
    """

    def install(name: str, points: dict[str, dict[str, str]], files: dict[str, str] | None = None) -> Path:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in points.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        for path, text in (files or {}).items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)
        monkeypatch.syspath_prepend(str(site))
        registry.forget()
        return site

    yield install
    monkeypatch.undo()
    registry.forget()


@pytest.fixture
def scripted(installed: Callable[..., Path]) -> None:
    """Registers the scripted model."""
    installed("scripted-plugin", {"harness.models": {"scripted": "tests.scripted_model:Scripted"}})


@pytest.fixture
def chart_data(tmp_path: Path) -> Path:
    """A ChartQA folder: 6 charts, 2 questions each; one picture is missing, one is cut short."""
    return make_chart_data(tmp_path / "data")


def make_chart_data(root: Path) -> Path:
    """Write the folder behind `chart_data`; the last two charts cannot be read."""
    from PIL import Image

    test = root / "chartqa" / "ChartQA Dataset" / "test"
    (test / "png").mkdir(parents=True)
    human, augmented = [], []
    for number in range(6):
        name = f"chart{number}.png"
        picture = Image.new("RGB", (40, 30), (40 * number, 10, 200))
        picture.save(test / "png" / name)
        human.append({"imgname": name, "query": f"How many bars in {number}?", "label": str(number + 1)})
        augmented.append({"imgname": name, "query": "Which year is first?", "label": str(2000 + number)})
    (test / "png" / "chart4.png").unlink()
    whole = (test / "png" / "chart5.png").read_bytes()
    (test / "png" / "chart5.png").write_bytes(whole[: len(whole) // 2])
    (test / "test_human.json").write_text(json.dumps(human))
    (test / "test_augmented.json").write_text(json.dumps(augmented))
    return root


CHART_SUITE = """\
name: two-charts
version: 1
description: charts of a test
data: folder
tasks: [chartqa]
"""


@pytest.fixture
def chart_suite(tmp_path: Path) -> Path:
    """A suite of one task over `chart_data`."""
    path = tmp_path / "two-charts.yaml"
    path.write_text(CHART_SUITE)
    return path


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., Path]:
    """Writes a card for the scripted model: `card("name", **options)`."""

    def write(name: str, **options: object) -> Path:
        folder = tmp_path / "cards"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps({"name": name, "run": {"family": "scripted", "options": options}}))
        return path

    return write
