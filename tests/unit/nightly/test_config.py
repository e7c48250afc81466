"""The gate's YAML file: what is filled in, and every fault with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import NightlyError
from harness.nightly.config import load_config


def written(folder: Path, text: str) -> Path:
    path = folder / "gate.yaml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file_and_folders_have_defaults(tmp_path: Path) -> None:
    loaded = load_config(written(tmp_path, "suites: [mini, own/s.yaml]\nmodels: [a, b.yaml, 'blank-image:b.yaml']\n"))
    assert loaded.out == tmp_path / "results"
    assert loaded.baselines == tmp_path / "results" / "baselines"
    assert loaded.reports == tmp_path / "results" / "nightly"
    assert loaded.data is None
    assert loaded.suites == ("mini", str(tmp_path / "own/s.yaml"))
    assert loaded.models == ("a", str(tmp_path / "b.yaml"), f"blank-image:{tmp_path / 'b.yaml'}")
    assert loaded.config.false_alarms_per_night == 0.05


def test_folders_can_be_named(tmp_path: Path) -> None:
    text = "suites: [mini]\nmodels: [a]\nout: o\nbaselines: kept/b\nreports: /r\ndata: d\ncards: [c]\n"
    loaded = load_config(written(tmp_path, text))
    assert (loaded.out, loaded.baselines, loaded.reports) == (tmp_path / "o", tmp_path / "kept/b", Path("/r"))
    assert (loaded.data, loaded.cards) == (tmp_path / "d", (tmp_path / "c",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "suites: [mini]\nmodels: [a]\nbaseline: x\n",
            r'gate.yaml:3: baseline: unknown field; did you mean "baselines"',
        ),
        ("suites: [mini]\n", r"models: this field is required"),
        ("suites: [mini]\nmodels: []\n", r"gate.yaml:2: models: "),
        ("suites: [mini]\nmodels: [a]\nfalse_alarms_per_night: 1.5\n", r"gate.yaml:3: false_alarms_per_night: is 1.5"),
        ("suites: [mini]\nmodels: [a, b, a]\n", r'models: "a" is given twice'),
        ("suites: [mini]\nmodels: [a]\ntime_limit_s: 9\n", "time_limit_s needs `isolate: true`"),
        ("suites: [mini]\nmodels: [a]\nsubset: {first: 2, sample: 3}\n", "give `first` or `sample`, not both"),
        ("suites: [mini\n", r"gate.yaml:2: not valid YAML"),
    ],
)
def test_faults_name_file_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(NightlyError, match=message):
        load_config(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NightlyError, match=r"none.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")
