"""Every benchmark that has a goal, one after the other, and one table of what they measured.

    python benchmarks/targets.py [--only engine,size] [--out table.md] [--quick] [--peer PYTHON] [--captions FILE]

Each row of a comparison is measured in alternating order within its benchmark's own run; the ratios are of medians.
`--peer` is the interpreter of an environment with lmms-eval (docs/interop.md), which cannot share one with everything
else; without it that benchmark is left out and said to be. `--quick` tries that all of them run: its figures mean
nothing. Exit code 1 where a goal is not reached.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from figures import Figure, machine, read

HERE = Path(__file__).resolve().parent
FULL: dict[str, list[str]] = {
    "engine": [],
    "batch_precision": [],
    "beside_lmms_eval": [],
    "caption_metrics": [],
    "ray_actors": [],
    "size": [],
    "fuzz": ["--seconds", "60"],
}
QUICK: dict[str, list[str]] = {
    "engine": ["--charts", "3", "--turns", "1", "--batch", "4"],
    "batch_precision": ["--inputs", "9"],
    "beside_lmms_eval": ["--charts", "2", "--turns", "1", "--null-turns", "1"],
    "caption_metrics": ["--images", "40", "--turns", "1"],
    "ray_actors": ["--images", "120", "--turns", "1"],
    "size": ["--samples", "200", "400", "--turns", "1", "--runs", "20", "--cached", "20000"],
    "fuzz": ["--seconds", "1", "--targets", "card"],
}
KILLS = "kills"


def measured(name: str, command: list[str], folder: Path) -> list[Figure]:
    """The figures of one benchmark; its own table goes to the terminal."""
    file = folder / f"{name}.json"
    start = time.perf_counter()
    print(f"\n== {name}", flush=True)
    done = subprocess.run([*command, "--json", str(file)], check=False)
    print(f"({time.perf_counter() - start:.0f} s)", flush=True)
    if not file.is_file():
        return [Figure(f"exit code {done.returncode}, no figures", done.returncode, "", at_most=0)]
    return read(file)


def kill_matrix(folder: Path) -> list[Figure]:
    """Instants at which the program was killed; a lost or repeated answer fails its test."""
    file = folder / "kills.xml"
    print(f"\n== {KILLS}", flush=True)
    tests = HERE.parent / "tests" / "reliability" / "test_kill_matrix.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), f"--junitxml={file}"]
    # xunit1 is the form that has a test's properties
    failed = subprocess.run([*command, "-o", "junit_family=xunit1"], check=False).returncode
    properties = ElementTree.parse(file).iter("property")
    instants = sum(int(p.attrib["value"]) for p in properties if p.attrib["name"] == "instants")
    return [
        Figure("SIGKILL at random instants", instants, "instants", at_least=100),
        Figure("tests of it that failed (lost or repeated answers)", float(failed != 0), "", at_most=0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--out", type=Path, help="file for the table, in Markdown")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer", help="Python of an environment with lmms-eval")
    parser.add_argument("--captions", help="COCO captions for caption_metrics")
    arguments = parser.parse_args()
    chosen = QUICK if arguments.quick else FULL
    judged = not arguments.quick
    names = arguments.only.split(",") if arguments.only else [*chosen, KILLS]
    if unknown := sorted(set(names) - {*chosen, KILLS}):
        raise SystemExit(f"no benchmark {unknown[0]!r}; there are {', '.join([*chosen, KILLS])}")
    rows: list[tuple[str, Figure]] = []
    left_out = []
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            if name == KILLS:
                rows += [(name, figure) for figure in kill_matrix(Path(place))]
                continue
            python = arguments.peer if name == "beside_lmms_eval" else sys.executable
            if python is None:
                left_out.append(f"{name}: --peer is not given")
                continue
            more = ["--captions", arguments.captions] if name == "caption_metrics" and arguments.captions else []
            command = [python, str(HERE / f"{name}.py"), *chosen[name], *more]
            rows += [(name, figure) for figure in measured(name, command, Path(place))]
    lines = [machine(), "", "| benchmark | figure | measured | goal | reached |", "| --- | --- | ---: | --- | --- |"]
    lines += [
        f"| {name} | {f.what} | {f.value:.4g} {f.unit} | {f.goal} | {f.reached if judged else ''} |" for name, f in rows
    ]
    lines += [f"\nleft out: {line}" for line in left_out]
    text = "\n".join(lines) + "\n"
    print(f"\n{text}")
    if arguments.out:
        arguments.out.write_text(text)
    raise SystemExit(1 if judged and any(figure.reached == "NO" for _, figure in rows) else 0)


if __name__ == "__main__":
    main()
