"""SPICE: the reason where its parser is missing, and the reading of its output, with a stand-in for the program.

The program itself needs 0.4 GB of jars that are in no package; no test runs it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.errors import MetricError, MetricUnavailable
from harness.metrics import spice
from harness.metrics.java import package_file

PAIRS = [("a dog", ["a dog"]), ("a cat", ["a brown cat"]), ("", ["a man"])]


def test_missing_parser_is_named_and_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spice, "find_java", lambda: Path("java"))
    monkeypatch.setattr(spice, "package_file", lambda name: tmp_path / name)
    with pytest.raises(MetricUnavailable, match=r"SPICE needs stanford-corenlp-3\.6\.0\.jar and .*models"):
        spice.spice_scores(PAIRS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("caption_tools")
def test_the_installed_package_alone_is_not_enough() -> None:
    if (package_file(spice.JAR).parent / "lib" / spice.PARSER_JARS[0]).is_file():
        pytest.skip("SPICE's parser is installed here")
    with pytest.raises(MetricUnavailable, match="put them"):
        spice.spice_scores(PAIRS)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Java that writes the JSON it is told to, in the place SPICE would."""
    folder = tmp_path / "spice"
    (folder / "lib").mkdir(parents=True)
    for name in spice.PARSER_JARS:
        (folder / "lib" / name).touch()
    home = tmp_path / "home" / "bin"
    home.mkdir(parents=True)
    script = (
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "written = sys.argv[sys.argv.index('-out') + 1]\n"
        "pathlib.Path(written).write_bytes(pathlib.Path('answer.json').read_bytes())\n"
    )
    (home / "java").write_text(script)
    (home / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home.parent))
    monkeypatch.setattr(spice, "package_file", lambda name: folder / "spice-1.0.jar")
    return folder / "answer.json"


def _item(number: int, value: float | None) -> dict[str, object]:
    return {"image_id": number, "scores": {"All": {"f": value, "pr": 0.1, "re": 0.2}}}


def test_scores_are_matched_by_id_and_a_missing_f_is_0(program: Path) -> None:
    program.write_text(json.dumps([_item(2, None), _item(0, 1.0), _item(1, 0.25)]))
    assert spice.spice_scores(PAIRS) == [1.0, 0.25, 0.0]


@pytest.mark.parametrize("text", ["", "[{}]", "{", json.dumps([_item(0, 1.0)])])
def test_output_that_does_not_fit_is_refused(program: Path, text: str) -> None:
    program.write_text(text)
    with pytest.raises(MetricError, match="SPICE"):
        spice.spice_scores(PAIRS)
