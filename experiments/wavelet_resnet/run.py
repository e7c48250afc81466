"""Compares ResNet-18 with and without one Haar level on CIFAR-10, or on drawn shapes where there is no CIFAR-10.

    python experiments/wavelet_resnet/run.py --out reports/wavelet-resnet
    python experiments/wavelet_resnet/run.py --out DIR --data CIFAR_FOLDER --width 64 --epochs 30 --batch 128 --rate 0.1

Writes `results.json` after every training and `README.md` from it. Trainings that `results.json` already holds are not
repeated; one made with other settings is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from arms import Schedule, settings, train_arm
from report import markdown

from harness.errors import HarnessError, TrainingError
from harness.fingerprint import fingerprint, plain
from harness.provenance import provenance
from harness.training.cifar import Classification, drawn_shapes, read_cifar10
from harness.training.resnet import Arm


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 for wrong usage or data."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except HarnessError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of results.json and README.md")
    parser.add_argument(
        "--data", type=Path, help="folder of CIFAR-10, either official layout; drawn shapes if left out"
    )
    parser.add_argument("--train", type=_positive, default=2000, help="number of drawn training pictures")
    parser.add_argument("--test", type=_positive, default=1000, help="number of drawn test pictures")
    parser.add_argument(
        "--width", type=_positive, default=8, help="channels of the first stage; 64 in the published network"
    )
    parser.add_argument("--epochs", type=_positive, default=8)
    parser.add_argument("--batch", type=_positive, default=32)
    parser.add_argument("--rate", type=float, default=0.05, help="highest learning rate")
    parser.add_argument("--seeds", type=_positive, default=3)
    parser.add_argument("--threads", type=_positive, default=1, help="threads of torch on the processor")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer >= 1")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    data: Classification = (
        read_cifar10(options.data) if options.data else drawn_shapes(options.train, options.test, noise=16.0)
    )
    schedule = Schedule(options.width, options.epochs, options.batch, options.rate)
    fixed = plain(settings(data, schedule, options.device))
    path = options.out / "results.json"
    results = _begun(path, fixed)
    results["labels"] = "".join(map(str, data.test.labels))
    options.out.mkdir(parents=True, exist_ok=True)
    for arm, seed in jobs(options.seeds):
        if any((r["arm"], r["seed"]) == (arm, seed) for r in results["runs"]):
            continue
        done = train_arm(arm, seed, data, schedule, options.device, lambda line: print(line, flush=True))
        results["runs"].append({**done, "made_with": _made_with(options.threads)})
        _write(path, json.dumps(results, indent=1) + "\n")
    _write(options.out / "README.md", markdown(results))


def jobs(seeds: int) -> list[tuple[Arm, int]]:
    """Both arms of each seed; the arm that goes first alternates, so that a machine that slows down favours neither."""
    order: tuple[Arm, Arm] = ("baseline", "wavelet")
    return [(arm, seed) for seed in range(seeds) for arm in (order if seed % 2 == 0 else order[::-1])]


def _begun(path: Path, fixed: dict[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {"schema_version": 1, "settings": fixed, "runs": []}
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        before = results["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: no results of this experiment ({error}); give another --out") from error
    if fingerprint(before) != fingerprint(fixed):
        names = sorted(k for k in {*before, *fixed} if before.get(k) != fixed.get(k))
        raise TrainingError(f"{path}: made with other settings ({', '.join(names)}); give another --out")
    return results


def _made_with(threads: int) -> dict[str, Any]:
    here = provenance()
    return {
        "commit": here["commit"],
        "processor": here["processor"],
        "threads": threads,
        "versions": {name: here["packages"][name] for name in ("torch", "numpy", "pillow")},
    }


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
