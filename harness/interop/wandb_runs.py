"""Runs logged to Weights & Biases offline: nothing is sent; `wandb sync` uploads the folder later.

The summary has the names of the MLflow export; the config holds origin, and signature and sample set of every value.
Host, user, program, repository and console are kept out of the files.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.fingerprint import fingerprint
from harness.interop import InteropError
from harness.interop.exporting import Exported, ExportOptions, new_folder
from harness.interop.measurements import left_out, measurements, run_facts
from harness.interop.mlflow_runs import NUMBERS, paths_of
from harness.store.runs import Run

PROJECT = "vlm-harness"


def write_wandb(runs: Sequence[Run], out: str, options: ExportOptions) -> Exported:
    """One offline run for each run, below `out/wandb`; its id is made of ours, so that a run has one id everywhere."""
    if find_spec("wandb") is None:
        raise InteropError('Weights & Biases is not installed; pip install "vlm-harness[wandb]"')
    folder = new_folder(out)
    notes: list[str] = []
    for run in runs:
        _log(run, folder)
        notes += left_out(measurements(run.record))
    for log in [
        *folder.glob("wandb/debug*.log"),
        folder / "wandb" / "latest-run",
        *folder.glob("wandb/offline-run-*/logs"),
    ]:
        if log.is_dir() and not log.is_symlink():
            shutil.rmtree(log)
        else:
            log.unlink(missing_ok=True)
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    if len(files) != len(runs):
        raise InteropError(f"{folder}: W&B wrote {len(files)} of {len(runs)} runs; see its messages above")
    return Exported(tuple(map(str, files)), tuple(notes))


def _log(run: Run, folder: Path) -> None:
    import wandb

    record = run.record
    found = measurements(record)
    paths = paths_of(found)
    origin = run_facts(record)
    config: dict[str, Any] = origin | {
        "values": {
            path: {name: fact for name, fact in m.facts().items() if name not in origin}
            for path, m in zip(paths, found, strict=True)
        }
    }
    quiet = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        host="",
        program="",
        username="",
        email="",
    )
    logged = wandb.init(
        mode="offline",
        dir=folder,
        project=PROJECT,
        group=record.suite,
        name=record.run_id,
        id=fingerprint(record.run_id)[:16],
        config=config,
        settings=quiet,
        reinit="create_new",
    )
    try:
        numbers = {
            f"{path}/{number}": getattr(measurement.value, number)
            for path, measurement in zip(paths, found, strict=True)
            for number in NUMBERS
        }
        logged.summary.update({name: value for name, value in numbers.items() if value is not None})
    finally:
        logged.finish()
