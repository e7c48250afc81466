"""`harness export` and `harness import`: sealed runs in the forms of other tools, and their results as runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.interop.exporting import Relationship


def export_command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or a folder of runs.")],
    to: Annotated[str, typer.Option(help="model-index, eval-results, every-eval-ever, mlflow, wandb or parquet.")],
    out: Annotated[str, typer.Option(help="A new file or folder; for mlflow a folder or a tracking URI.")],
    model_id: Annotated[str | None, typer.Option(help="The model on the hub, OWNER/NAME.")] = None,
    source_url: Annotated[str | None, typer.Option(help="A page or repository that holds the runs.")] = None,
    hub_dataset: Annotated[
        list[str] | None, typer.Option(help="A task or data set on the hub: NAME=OWNER/REPO:TASK_ID")
    ] = None,
    organisation: Annotated[str | None, typer.Option(help="Who evaluated (every-eval-ever).")] = None,
    relationship: Annotated[
        str, typer.Option(help="Of the evaluator to the model: first_party, third_party, collaborative, other.")
    ] = "other",
    percent: Annotated[bool, typer.Option("--percent", help="Rates in per cent (eval-results).")] = False,
    samples: Annotated[
        bool | None, typer.Option(help="With questions and answers (every-eval-ever: off, parquet: on).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write sealed runs for other tools; every number keeps its signature, samples, interval and origin."""
    from harness.interop.exporting import ExportOptions, HubDataset, export

    options = ExportOptions(
        model_id=model_id,
        source_url=source_url,
        organisation=organisation,
        relationship=_relationship(relationship),
        hub=dict(HubDataset.parse(text) for text in hub_dataset or ()),
        percent=percent,
        samples=samples,
    )
    written = export(runs, to, out, options)
    _tell(written, as_json)


def _tell(written: Any, as_json: bool) -> None:
    """Print `files` and `notes` of what was written."""
    from harness.cli.output import print_json, printable, say

    if as_json:
        print_json(written)
        return
    for note in written.notes:
        say(f"note: {note}", indent="  ", error=True)
    for file in written.files:
        print(printable(str(file)))


def _relationship(text: str) -> Relationship:
    from typing import get_args

    from harness.errors import UnknownNameError
    from harness.interop.exporting import Relationship

    for name in get_args(Relationship):
        if name == text:
            return name  # type: ignore[no-any-return]
    raise UnknownNameError.of("relationship", text, get_args(Relationship), "harness export --help")


def import_command(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="VLMEvalKit's MODEL_BENCHMARK files, or lmms-eval's DATE_results.json, or folders of them."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
    model: Annotated[str | None, typer.Option(help="Name of the model, instead of the file's.")] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="VLMEvalKit's name of the benchmark, for one file named otherwise.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="A metric of ours: beside lmms-eval's own, or instead of the task's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the values as JSON.")] = False,
) -> None:
    """Seal the answers of VLMEvalKit or lmms-eval as runs, scored and marked as imported."""
    from harness.cli.output import print_json, printable, say, value_objects
    from harness.cli.scoring import show
    from harness.interop.lmms.logs import import_lmms_eval, is_log
    from harness.interop.vlmevalkit import import_vlmevalkit

    if all(is_log(path) for path in results):
        if benchmark is not None:
            raise typer.BadParameter("belongs to VLMEvalKit's files", param_hint="--benchmark")
        made = import_lmms_eval(results, out, model=model, metrics=tuple(metric or ()))
    else:
        made = import_vlmevalkit(results, out, model=model, benchmark=benchmark, metrics=metric)
    for note in dict.fromkeys(note for one in made for note in one.notes):
        say(f"note: {note}", indent="  ", error=True)
    if as_json:
        print_json(value_objects([one.run.record for one in made]))
        return
    for one in made:
        show(one.run.record)
        print(printable(f"run in {one.run.path}"))


def lmms_suite_command(
    folder: Annotated[Path, typer.Argument(help="lmms-eval's task definitions, as for its --include_path.")],
    tasks: Annotated[list[str], typer.Argument(help="Names of tasks in it.")],
    out: Annotated[Path, typer.Option(help="Where the suite goes.")] = Path("suites"),
    suite: Annotated[str, typer.Option(help="Name of the suite.")] = "lmms-eval",
    kind: Annotated[str, typer.Option(help="What the tasks ask, such as chart-qa.")] = "vqa",
    model: Annotated[str, typer.Option(help="Whose words the tasks take, where they have several.")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a suite that asks tasks of lmms-eval; `harness run --data FOLDER` runs it like any other."""
    from typing import get_args

    from harness.errors import UnknownNameError
    from harness.interop.lmms.suites import write_suite
    from harness.vocabulary import TaskKind

    if kind not in get_args(TaskKind):
        raise UnknownNameError.of("kind of task", kind, get_args(TaskKind), "harness lmms-suite --help")
    written = write_suite(folder, tasks, out, suite=suite, kind=kind, model=model)  # type: ignore[arg-type]
    _tell(written, as_json)
