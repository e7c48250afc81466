"""A million samples, ten thousand runs, ten million cached answers: memory, time, and how both grow.

    python benchmarks/size.py [--samples 10000 100000 1000000] [--turns 5] [--runs 10000] [--cached 10000000]

Questions without pictures in the form of ScienceQA and a model that says "A": what is measured is the program. Each
run is a process of its own; its memory is the highest resident memory. The first run of a size asks every question, the
second takes every answer from the cache. `show` and `list runs` are whole processes too. At last the second size and
the smallest are taken from the cache again, in turns; the rate is that of the samples between the two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

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


def command(folder: Path, size: int) -> tuple[object, ...]:
    """The run over `size` questions; a second time it asks none."""
    data, out = folder / f"data-{size}", folder / f"out-{size}"
    return "run", "--suite", folder / "size.yaml", "--models", "always-a", "--data", data, "--out", out


def sample_rows(folder: Path, sizes: list[int], figures: list[Figure]) -> Iterator[str]:
    """A line for each size and pass, growth against the smallest size beside it."""
    (folder / "size.yaml").write_text(SUITE)
    smallest: Cost | None = None
    base = Cost(0, 0, 0)
    for size in sizes:
        make_questions(folder / f"data-{size}" / "scienceqa", size)
        for word in ("asked", "cached"):
            now = cost(*command(folder, size))
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
                figures.append(Figure(f"{what}: samples a CPU second", extra / (now.cpu_s - base.cpu_s), "/s"))
            peak = now.peak_bytes / MIB
            yield f"{size:9,} {word:7} {now.wall_s:8.1f} {now.cpu_s:8.1f} {rate} {peak:9.0f} {grown:+8.0f}"
        shown = cost("show", folder / f"out-{size}")
        figures.append(Figure(f"{size:,} samples: show", shown.wall_s, "s"))
        yield f"{size:9,} {'show':7} {shown.wall_s:8.1f} {shown.cpu_s:8.1f} {'':10} {shown.peak_bytes / MIB:9.0f}"


def rerun_rows(folder: Path, small: int, large: int, turns: int, figures: list[Figure]) -> Iterator[str]:
    """Both sizes from the cache in turns: the rate of the samples between them, and that of the whole process."""
    rates, whole = [], []
    for turn in range(turns):
        order = (small, large) if turn % 2 == 0 else (large, small)
        costs = {size: cost(*command(folder, size)) for size in order}
        rates.append((large - small) / (costs[large].cpu_s - costs[small].cpu_s))
        whole.append(large / costs[large].wall_s)
    least = 20_000
    figures.append(
        Figure(f"{large:,} cached answers, rerun: samples a CPU second", median(rates), "/s", at_least=least)
    )
    figures.append(Figure(f"{large:,} cached answers, rerun: samples a second of the process", median(whole), "/s"))
    for what, values in (("CPU second above " + f"{small:,}", rates), ("second, whole process", whole)):
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        yield f"{large:9,} cached again: {median(values):8,.0f} samples a {what} ({spread}, {turns} turns)"


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
    parser.add_argument("--turns", type=int, default=5, help="cached reruns of the first two sizes")
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
        if len(arguments.samples) > 1:
            for row in rerun_rows(folder, *arguments.samples[:2], arguments.turns, figures):
                print(row, flush=True)
        for row in run_rows(folder, arguments.runs, figures) if arguments.runs else ():
            print(row, flush=True)
        for row in cache_rows(folder, arguments.cached, figures) if arguments.cached else ():
            print(row, flush=True)
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
