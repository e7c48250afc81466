"""A million samples, ten thousand runs, ten million cached answers: memory, time, and how both grow.

    python benchmarks/size.py [--samples 10000 100000 1000000] [--runs 10000] [--cached 10000000]

Questions without pictures in the form of ScienceQA and a model that says "A": what is measured is the program. Each
run is a process of its own; its memory is the highest resident memory. The first run of a size asks every question, the
second takes every answer from the cache. `show` and `list runs` are whole processes too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from figures import Figure, add_option, write

SUITE = "name: size\nversion: 1\ndescription: questions without end\ndata: folder\ntasks: [scienceqa]\n"
MIB = 2**20
LOOKUPS = 10_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def cost(*arguments: object) -> Cost:
    """A whole process of the harness."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"harness {' '.join(map(str, arguments))} failed:\n{said.decode()[-2000:]}")
    wall_s = time.perf_counter() - start
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def make_questions(folder: Path, count: int) -> None:
    """A ScienceQA folder; written a question at a time."""
    folder.mkdir(parents=True)
    problem = {"choices": ["one", "two", "three", "four"], "hint": "", "image": None, "subject": "natural science"}
    problem |= {"topic": "units", "grade": "grade2", "task": "closed choice", "category": "Units", "skill": "Count"}
    with (folder / "problems.json").open("w") as file:
        file.write("{")
        for number in range(count):
            question = f"Question {number}: which of these comes after number {number % 7} in the row?"
            content = problem | {"question": question, "answer": number % 4, "split": "test"}
            file.write(f'{"," if number else ""}\n"{number}": {json.dumps(content)}')
        file.write("}")
    (folder / "pid_splits.json").write_text(json.dumps({"test": [str(number) for number in range(count)]}))


def sample_rows(folder: Path, sizes: list[int], figures: list[Figure]) -> Iterator[str]:
    """A line for each size and pass, growth against the smallest size beside it."""
    (folder / "size.yaml").write_text(SUITE)
    smallest: Cost | None = None
    base = Cost(0, 0, 0)
    for size in sizes:
        make_questions(folder / f"data-{size}" / "scienceqa", size)
        out = folder / f"out-{size}"
        run = ("run", "--suite", folder / "size.yaml", "--models", "always-a", "--data", folder / f"data-{size}")
        for word in ("asked", "cached"):
            now = cost(*run, "--out", out)
            if smallest is None:
                smallest, base = now, now
            if size == sizes[0] and word == "cached":
                base = now
            extra = size - sizes[0]
            rate = f"{extra / (now.cpu_s - base.cpu_s):10,.0f}" if extra else " " * 10
            grown = (now.peak_bytes - smallest.peak_bytes) / MIB
            if extra:
                what = f"{size:,} samples, {word}"
                figures.append(Figure(f"{what}: memory above {sizes[0]:,} samples", grown, "MiB", at_most=300))
                least = 20_000 if word == "cached" else None
                rate_now = extra / (now.cpu_s - base.cpu_s)
                figures.append(Figure(f"{what}: samples a CPU second", rate_now, "/s", at_least=least))
            peak = now.peak_bytes / MIB
            yield f"{size:9,} {word:7} {now.wall_s:8.1f} {now.cpu_s:8.1f} {rate} {peak:9.0f} {grown:+8.0f}"
        shown = cost("show", out)
        figures.append(Figure(f"{size:,} samples: show", shown.wall_s, "s"))
        yield f"{size:9,} {'show':7} {shown.wall_s:8.1f} {shown.cpu_s:8.1f} {'':10} {shown.peak_bytes / MIB:9.0f}"
        shutil.rmtree(folder / f"data-{size}")


def run_rows(folder: Path, count: int, figures: list[Figure]) -> Iterator[str]:
    """The list of a results folder with `count` runs: first built, then asked again."""
    out = folder / "many"
    cost("run", "--suite", "smoke", "--models", "always-a", "--out", out)
    (first,) = (path for path in out.iterdir() if path.name != ".cache")
    record = (first / "record.json").read_text()
    for number in range(2, count + 1):
        other = out / f"{first.name[:-3]}{number:05d}"
        other.mkdir()
        (other / "record.json").write_text(record)
    for word in ("index made", "again", "again"):
        listed = cost("list", "runs", "--out", out)
        yield f"{count:,} runs, {word:12} {listed.wall_s:7.2f} s wall, {listed.cpu_s:7.2f} CPU s"
    figures.append(Figure(f"{count:,} runs listed, whole process", listed.wall_s, "s", at_most=1))
    start = time.perf_counter()
    from harness.store.index import results

    found = len({row.run for row in results(out)})
    wall_s, kib = time.perf_counter() - start, len(record) / 1024
    yield f"{found:,} runs, from Python  {wall_s:7.2f} s wall (all of them, {kib:.0f} KiB a record)"


def cache_rows(folder: Path, count: int, figures: list[Figure]) -> Iterator[str]:
    """Looking up and adding answers in a cache of `count` rows, and in one of a hundredth of that."""
    from hashlib import sha256

    from harness.records import Request, Response
    from harness.store.cache import ResponseCache

    def name(number: int) -> str:
        return sha256(str(number).encode()).hexdigest()

    for size in (count // 100, count):
        path = folder / f"responses-{size}.sqlite"
        ResponseCache(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            keys = sorted(bytes.fromhex(name(number)) for number in range(size))
            rows = ((key, "an answer of some words", 0.1, 8, 40, 6, "[]") for key in keys)
            connection.executemany("INSERT INTO responses VALUES (?,?,?,?,?,?,?)", rows)
        connection.close()
        del keys
        with ResponseCache(path) as cache:
            asked = [Request(name(n * (size // LOOKUPS)), "t", str(n), "") for n in range(LOOKUPS)]
            start = time.perf_counter()
            found = [answer for at in range(0, LOOKUPS, 64) for answer in cache.get(asked[at : at + 64])]
            read_s = time.perf_counter() - start
            assert all(found)
            new = [Response(name(size + n), "t", str(n), "new", batch_size=1) for n in range(LOOKUPS)]
            start = time.perf_counter()
            for at in range(0, LOOKUPS, 64):
                cache.put(new[at : at + 64])
            write_s = time.perf_counter() - start
        read_us, write_us = 1e6 * read_s / LOOKUPS, 1e6 * write_s / LOOKUPS
        figures.append(Figure(f"an answer found among {size:,} cached ones", read_us, "us"))
        yield (
            f"{size:11,} rows, {path.stat().st_size / MIB:6,.0f} MiB: {read_us:6.1f} us to find an answer, "
            f"{write_us:6.1f} us to add one (batches of 64)"
        )
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--cached", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where files go; removed at the end")
    add_option(parser)
    arguments = parser.parse_args()
    figures: list[Figure] = []
    machine, python = platform.processor() or platform.machine(), platform.python_version()
    print(f"{machine}, Python {python}, SQLite {sqlite3.sqlite_version}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.samples:
            print("  samples         wall s    CPU s  samples/s  peak MiB    grown")
        for row in sample_rows(folder, arguments.samples, figures):
            print(row, flush=True)
        for row in run_rows(folder, arguments.runs, figures) if arguments.runs else ():
            print(row, flush=True)
        for row in cache_rows(folder, arguments.cached, figures) if arguments.cached else ():
            print(row, flush=True)
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
