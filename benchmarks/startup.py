"""CPU seconds of `harness --help` and of a whole run of 20 mini samples with a control model; best of five each."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = 5


def cpu_seconds(arguments: list[str], folder: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "harness", *arguments], cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def main() -> None:
    rows: dict[str, list[float]] = {"harness --help": [], "harness run, 20 mini samples, a control": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(RUNS):
            rows["harness --help"].append(cpu_seconds(["--help"], folder))
            out = str(Path(folder) / f"out{number}")
            run = ["run", "--suite", "smoke", "--models", "majority-answer", "--out", out]
            rows["harness run, 20 mini samples, a control"].append(cpu_seconds(run, folder))
    for name, seconds in rows.items():
        ordered = sorted(seconds)
        print(f"{name}: median {ordered[RUNS // 2]:.3f} CPU s, {ordered[0]:.3f} to {ordered[-1]:.3f}, {RUNS} runs")


if __name__ == "__main__":
    main()
