"""Writes all mini benchmarks with their provenance: `README.md` and `manifest.json`.

The same seed, number and library versions give the same bytes. The manifest names the versions, so that whoever
compares two writings knows whether to expect equal bytes or only equal pictures and answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import features

from harness.errors import DatasetError
from harness.mini.official_layouts import WRITERS, as_json, save
from harness.mini.statements import PAIRS
from harness.mini.streams import stream

GENERATOR_VERSION = 1
"""Raised when the generator draws anything else from the same seed."""
BUNDLED_SEED, BUNDLED_N = 2026, 200
"""What the committed data were written with."""


@dataclass(frozen=True, slots=True)
class MiniReport:
    """What was written."""

    folder: Path
    counts: Mapping[str, Mapping[str, int]]
    """Benchmark → what → how many."""
    n_files: int
    size_bytes: int
    """Sum over all files, README and manifest included."""


def versions() -> dict[str, str]:
    """Versions of everything that shapes the bytes of a picture."""
    found = {name: features.version(name) for name in ("freetype2", "zlib", "zlib_ng")}
    return {
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        **{name: version for name, version in found.items() if version is not None},
    }


def write_mini(out: Path, *, seed: int, n: int) -> MiniReport:
    """Counts of what was written to `out`: seven benchmarks in their official layouts, `README.md`, `manifest.json`.

    Args:
        out: a folder that is absent or empty.
        seed: any integer from 0 on; two seeds share no picture but by chance.
        n: pictures of each benchmark (for `nlvr2` pairs, for `scienceqa` problems), a multiple of 4; a sixteenth of
            it are recordings.

    Raises:
        DatasetError: if `n` or `seed` is out of range, or `out` is not empty.
    """
    if n < PAIRS or n % PAIRS:
        raise DatasetError(f"n is {n}; give a multiple of {PAIRS}, because sentences are judged on {PAIRS} pairs")
    if seed < 0:
        raise DatasetError(f"seed is {seed}; give an integer from 0 on")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out}: is not an empty folder; name a new one or empty it first")
    counts = {name: write(out / name, stream(seed, name, "test"), n) for name, write in WRITERS.items()}
    save(out / "README.md", _readme(seed, n, counts))
    files = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
    manifest = {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "n": n,
        "versions": versions(),
        "counts": counts,
        "sha256": files,
    }
    save(out / "manifest.json", as_json(manifest, indent=0))
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return MiniReport(out, counts, len(files) + 1, size)


def _readme(seed: int, n: int, counts: Mapping[str, Mapping[str, int]]) -> str:
    rows = "".join(
        f"| {name} | {', '.join(f'{k} {what}' for what, k in counted.items())} |\n" for name, counted in counts.items()
    )
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"""# Mini benchmarks

Small synthetic benchmarks in the official on-disk layouts of COCO captions, ChartQA, MMBench, ScienceQA, NLVR2,
im2latex and LibriSpeech (tones in the place of words: there is no speech in them). They test the program end to end
and measure the nano models trained on the same generator. They hold nothing of the benchmarks whose layouts they
follow, and scores on them say nothing about scores on those.

| Folder | Content |
|---|---|
{rows}
- Made by `harness.mini.write.write_mini`, generator version {GENERATOR_VERSION}, seed {seed}, n = {n}.
- Libraries: {used}. With the same versions the same bytes come out again; `manifest.json` has the SHA-256 of each file.
- Random streams of training and test have different names, so training never repeats a test item by its seed. Formulas
  are besides divided by content: a test formula is never drawn for training.
- Licence: Apache-2.0, as the program. Text in the pictures is set in DejaVu Sans and in a cut of STIX General; the
  licences of both fonts put no condition on pictures made with them.
"""
