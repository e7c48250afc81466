"""Coverage-guided fuzzing of everything that reads files of others (tests/fuzz/targets.py), with atheris.

    python benchmarks/fuzz.py [--seconds 60] [--targets card,record]

Needs the package atheris. Each target runs in a process of its own for that many seconds, from its good files and the
pieces of tests/fuzz. The harness's modules are instrumented. Anything but a `HarnessError` is a finding: it is printed
with its input, and the exit code is 1. The last lines are a table of inputs tried.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, add_option, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["harness"]):
        from harness.errors import HarnessError
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.test_fuzz import DICTIONARY

    target = TARGETS[name]
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory() as place:
        corpus = Path(place) / "corpus"
        corpus.mkdir()
        for number, content in enumerate((*target.seeds, *DICTIONARY)):
            (corpus / str(number)).write_bytes(content)
        words = Path(place) / "dictionary"
        pieces = ["".join(map(r"\x{:02x}".format, piece)) for piece in DICTIONARY if 0 < len(piece) < 64]
        words.write_text("".join(f'"{piece}"\n' for piece in pieces))

        def one(data: bytes) -> None:
            with tempfile.TemporaryDirectory(dir=memory) as folder, contextlib.suppress(HarnessError):
                target.read(data, Path(folder))

        limits = [
            f"-max_total_time={seconds}",
            "-max_len=6000",
            "-timeout=20",
            "-rss_limit_mb=4096",
            f"-artifact_prefix={place}/",
            f"-dict={words}",
        ]
        atheris.Setup([name, *limits, "-print_final_stats=1", str(corpus)], one)
        atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--targets", help="names, separated by commas; all where left out")
    add_option(parser)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        fuzz(arguments.one, arguments.seconds)
        return
    from tests.fuzz.targets import TARGETS

    names = arguments.targets.split(",") if arguments.targets else list(TARGETS)
    rows, failed = [], False
    for name in names:
        command = [sys.executable, __file__, "--one", name, "--seconds", str(arguments.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
        rows.append((name, int(tried[1]) if tried else 0, done.returncode))
        if done.returncode:
            failed = True
            print(f"{name}: {done.stderr[-3000:]}\n{done.stdout[-3000:]}")
    for name, count, code in rows:
        print(f"{name:20} {count:10,} inputs  {'a finding' if code else 'no finding'}")
    total = sum(count for _, count, _ in rows)
    print(f"{len(rows)} targets, {len(rows) * arguments.seconds / 60:.0f} minutes, {total:,} inputs")
    write(
        arguments.json,
        [
            Figure("fuzzing, inputs tried", total, "inputs"),
            Figure("fuzzing, hours", len(rows) * arguments.seconds / 3600, "h"),
            Figure("fuzzing, findings", sum(code != 0 for _, _, code in rows), "", at_most=0),
        ],
    )
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
