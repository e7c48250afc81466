"""Runs logged to MLflow: values with their bounds as metrics, origin as parameters, definitions as tags.

Metric names: `TASK/METRIC.VARIANT/SUBSET/{estimate,low,high,n_scored,n_total}`, with `_` for characters that MLflow
does not take. The whole of every value lies in the artifact `measurements.json`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.interop import InteropError
from harness.interop.exporting import Exported, ExportOptions
from harness.interop.measurements import Measurement, left_out, measurements, run_facts
from harness.store.files import write_json
from harness.store.runs import Run

RUN_TAG = "vlm_harness.run"
NUMBERS = ("estimate", "low", "high", "n_scored", "n_total")
_FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"
_LIMIT = 500
"""Characters of a parameter that every MLflow server takes."""


def metric_path(measurement: Measurement) -> str:
    """`TASK/METRIC.VARIANT/SUBSET` in the characters that trackers take."""
    value = measurement.value
    name = f"{value.metric}.{value.variant}" if value.variant else value.metric
    return "/".join(re.sub(r"[^\w. -]", "_", part, flags=re.ASCII) for part in (measurement.place, name, value.subset))


def paths_of(found: Sequence[Measurement]) -> list[str]:
    """The paths of a run's values.

    Raises:
        InteropError: two values would have one name.
    """
    paths = [metric_path(measurement) for measurement in found]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise InteropError(f"two values of run {found[0].record.run_id} would both be named {twice}; rename the subset")
    return paths


def write_mlflow(runs: Sequence[Run], out: str, options: ExportOptions) -> Exported:
    """One MLflow run for each run, in an experiment named after the suite.

    `out` is a folder (MLflow's file store) or a tracking URI such as `sqlite:///mlflow.db`, which needs sqlalchemy and
    alembic. A run that is there already is refused.
    """
    if find_spec("mlflow") is None:
        raise InteropError('MLflow is not installed; pip install "vlm-harness[mlflow]"')
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    is_uri = "://" in out
    uri = out if is_uri else Path(out).resolve().as_uri()
    notes: list[str] = []
    made: list[str] = []
    with _file_store_allowed(not is_uri or uri.startswith("file:")):
        try:
            client = MlflowClient(tracking_uri=uri)
            for run in runs:
                made.append(_log(client, run, options))
                notes += left_out(measurements(run.record))
        except MlflowException as error:
            raise InteropError(f"{out}: MLflow cannot write there: {error}") from error
        except ImportError as error:
            raise InteropError(f"{out}: MLflow needs a further package for this back end: {error}") from error
    return Exported(tuple(f"{out}: run {run}" for run in made), tuple(notes))


@contextmanager
def _file_store_allowed(wanted: bool) -> Iterator[None]:
    """MLflow 3 calls its file store finished and opens it only where this variable says so."""
    before = os.environ.get(_FILE_STORE)
    if wanted and before is None:
        os.environ[_FILE_STORE] = "true"
    try:
        yield
    finally:
        if wanted and before is None:
            os.environ.pop(_FILE_STORE, None)


def _log(client: Any, run: Run, options: ExportOptions) -> str:
    record, facts = run.record, run_facts(run.record)
    found = measurements(record)
    paths = paths_of(found)
    name = f"vlm-harness/{record.suite}"
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment is not None else client.create_experiment(name)
    quoted = record.run_id.replace("'", "")
    if client.search_runs([experiment_id], f"tags.`{RUN_TAG}` = '{quoted}'"):
        raise InteropError(f"{run.path}: run {record.run_id} is in MLflow already; delete it there or leave it out")
    start, end = _milliseconds(facts["started"]), _milliseconds(facts["ended"])
    tags = {RUN_TAG: quoted} | {f"signature/{path}": m.value.signature for path, m in zip(paths, found, strict=True)}
    made = client.create_run(experiment_id, start_time=start, run_name=record.run_id, tags=tags)
    run_id: str = made.info.run_id
    samples = {f"sample_set/{m.place}": m.sample_set for m in found}
    for key, value in (facts | samples).items():
        if value is not None and value != "":
            client.log_param(run_id, key, str(value)[:_LIMIT])
    for path, measurement in zip(paths, found, strict=True):
        for number in NUMBERS:
            value = getattr(measurement.value, number)
            if value is not None:
                client.log_metric(run_id, f"{path}/{number}", float(value), timestamp=end)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measurements.json"
        write_json(file, [m.facts() for m in found])
        client.log_artifact(run_id, str(file))
    client.set_terminated(run_id, end_time=end)
    return run_id


def _milliseconds(when: str | None) -> int | None:
    return round(1000 * datetime.fromisoformat(when).timestamp()) if when else None
