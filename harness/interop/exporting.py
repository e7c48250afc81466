"""Sealed runs in the forms of other tools: one table of formats, one function that writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

from harness.errors import UnknownNameError
from harness.interop import InteropError
from harness.store.runs import Run, find_runs, read_run

Relationship = Literal["first_party", "third_party", "collaborative", "other"]


@dataclass(frozen=True, slots=True)
class HubDataset:
    """Where a benchmark lies on the hub."""

    repo: str
    """`owner/name`."""
    task_id: str | None = None
    """Id of the task in the benchmark's `eval.yaml`."""
    revision: str | None = None
    """Commit of the hub's repository."""

    @classmethod
    def parse(cls, text: str) -> tuple[str, HubDataset]:
        """(our task or data set, where it lies) of `NAME=OWNER/REPO[:TASK_ID][@REVISION]`.

        Raises:
            InteropError: another form.
        """
        name, _, rest = text.partition("=")
        rest, _, revision = rest.partition("@")
        repo, _, task_id = rest.partition(":")
        if not name or repo.count("/") != 1 or not all(repo.split("/")):
            raise InteropError(
                f"--hub-dataset {text}: give NAME=OWNER/REPO[:TASK_ID][@REVISION], such as chartqa=org/ChartQA:test"
            )
        return name, cls(repo, task_id or None, revision or None)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a format needs and a run does not know."""

    model_id: str | None = None
    """`owner/name` of the model on the hub."""
    source_url: str | None = None
    """A page or repository that holds the runs."""
    organisation: str | None = None
    """Who evaluated."""
    relationship: Relationship = "other"
    """Of the evaluator to the model's makers."""
    hub: Mapping[str, HubDataset] = field(default_factory=dict)
    """Our task, or our data set → where it lies on the hub."""
    percent: bool = False
    """Rates as percentages, for `.eval_results`."""
    samples: bool | None = None
    """With questions and answers; `None` takes the format's own choice."""
    now: float | None = None
    """Time of the export in seconds since 1970; `None` is the present."""

    def on_hub(self, task: str, dataset: str) -> HubDataset | None:
        """Where a task's benchmark lies; the task's own entry counts before its data set's."""
        return self.hub.get(task) or self.hub.get(dataset)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What the reader must know, such as values left out."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One form."""

    writes: str
    """One line for listings."""
    target: str
    """`module:function`, imported when used."""


EXPORT_FORMATS: Mapping[str, ExportFormat] = {
    "model-index": ExportFormat(
        "the model-index block of a Hugging Face model card (a file)", "harness.interop.hub:write_model_index"
    ),
    "eval-results": ExportFormat("the hub's .eval_results/*.yaml (a folder)", "harness.interop.hub:write_eval_results"),
    "every-eval-ever": ExportFormat(
        "Every Eval Ever JSON, schema 0.3.0 (a folder)", "harness.interop.every_eval_ever:write_every_eval_ever"
    ),
    "mlflow": ExportFormat("MLflow runs (a folder or tracking URI)", "harness.interop.mlflow_runs:write_mlflow"),
    "wandb": ExportFormat("Weights & Biases runs, offline (a folder)", "harness.interop.wandb_runs:write_wandb"),
    "parquet": ExportFormat("hive-partitioned Parquet for DuckDB (a folder)", "harness.interop.parquet:write_parquet"),
}


def export(runs: Sequence[Path], to: str, out: str, options: ExportOptions | None = None) -> Exported:
    """Write sealed runs in another tool's form.

    Args:
        runs: run folders, or folders of runs.
        to: a name of `EXPORT_FORMATS`.
        out: a file, a folder or (MLflow) a tracking URI, as the format wants.
        options: what the format needs and the runs do not say.

    Raises:
        UnknownNameError: no such format.
        InteropError, StoreError: no run, one given twice, or something the format needs is missing.
    """
    if to not in EXPORT_FORMATS:
        raise UnknownNameError.of("export format", to, EXPORT_FORMATS, "harness export --help")
    paths = list(dict.fromkeys(path.resolve() for given in runs for path in find_runs(given)))
    if not paths:
        given = ", ".join(map(str, runs)) or "nothing"
        raise InteropError(f"{given}: no sealed run here; give a run folder or a folder of runs")
    opened = [read_run(path) for path in paths]
    ids = [run.record.run_id for run in opened]
    twice = next((run for run in opened if ids.count(run.record.run_id) > 1), None)
    if twice is not None:
        raise InteropError(f"{twice.path}: run {twice.record.run_id} is given twice, in two folders; leave one out")
    module, _, function = EXPORT_FORMATS[to].target.partition(":")
    written: Exported = getattr(import_module(module), function)(opened, out, options or ExportOptions())
    return written


def new_file(out: str) -> Path:
    """The path of a file that is not there yet, its folder made.

    Raises:
        InteropError: it is there, or its folder cannot be made.
    """
    path = Path(out)
    if path.exists():
        raise InteropError(f"{path}: exists already; remove it or give another --out")
    _make(path.parent)
    return path


def new_folder(out: str) -> Path:
    """A folder that is new or empty.

    Raises:
        InteropError: it holds something, is a file, or cannot be made.
    """
    path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InteropError(f"{path}: exists already and is not an empty folder; give another --out")
    _make(path)
    return path


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InteropError(f"{folder}: cannot be made ({error.strerror}); give another --out") from error


def model_name(run: Run, options: ExportOptions) -> str:
    """The id on the hub where it is given or is the checkpoint itself, the card's name otherwise."""
    checkpoint = run.record.identity.settings.checkpoint or ""
    is_hub_id = checkpoint.count("/") == 1 and not checkpoint.startswith(("/", ".", "~")) and ":" not in checkpoint
    return options.model_id or (checkpoint if is_hub_id else run.record.model)


def one_model(runs: Sequence[Run], options: ExportOptions) -> None:
    """Check that a given model id names one model.

    Raises:
        InteropError: `--model-id` with runs of several models.
    """
    names = sorted({run.record.model for run in runs})
    if options.model_id is not None and len(names) > 1:
        raise InteropError(
            f"--model-id {options.model_id}: the runs are of {', '.join(names)}; export one model at a time"
        )
