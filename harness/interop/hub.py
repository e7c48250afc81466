"""Results for the Hugging Face hub: the `model-index` of a model card, and the newer `.eval_results/*.yaml`.

Fields of `model-index`: huggingface_hub's `EvalResult`. Fields of `.eval_results`: hub-docs `docs/hub/eval-results.md`
and huggingface_hub's `EvalResultEntry`; the hub calls that feature work in progress.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.interop import InteropError
from harness.interop.exporting import Exported, ExportOptions, HubDataset, model_name, new_file, new_folder, one_model
from harness.interop.imported import is_imported
from harness.interop.measurements import Measurement, interval_text, left_out, measurements
from harness.interop.secrets import clean_text
from harness.store.runs import Run

_PIPELINE_TAGS: Mapping[str, str] = {
    "captioning": "image-to-text",
    "image-to-latex": "image-to-text",
    "ocr": "image-to-text",
    "chart-to-table": "image-to-text",
    "chart-qa": "visual-question-answering",
    "vqa": "visual-question-answering",
    "multiple-choice": "visual-question-answering",
    "speech-recognition": "automatic-speech-recognition",
}
"""Question type → task name of the hub; other types keep their own name."""


def write_model_index(runs: Sequence[Run], out: str, options: ExportOptions) -> Exported:
    """One file: the front matter of a README with a result for each task and metric over all samples.

    What the format has no field for stands in each metric's `args`. The data set's `args` would not do: huggingface_hub
    merges results of one data set and keeps the `args` of the first.
    """
    one_model(runs, options)
    index: dict[str, list[dict[str, Any]]] = {}
    notes: list[str] = []
    for run in runs:
        found = measurements(run.record, subsets=False, efficiency=False)
        notes += left_out(found)
        results = index.setdefault(model_name(run, options), [])
        for task in run.record.tasks:
            mine = [m for m in found if m.place == task.plan.name and m.value.estimate is not None]
            if mine:
                results.append(_result(mine, options))
    if not any(index.values()):
        raise InteropError(f"{runs[0].path}: no metric was computed; there is nothing to export")
    content = {"model-index": [{"name": name, "results": results} for name, results in index.items() if results]}
    path = new_file(out)
    path.write_text(f"---\n{_yaml(content)}---\n", encoding="utf-8")
    return Exported((str(path),), tuple(notes))


def _result(mine: Sequence[Measurement], options: ExportOptions) -> dict[str, Any]:
    facts = mine[0].facts()
    where = options.on_hub(facts["task"], facts["dataset"])
    dataset = {"name": facts["dataset"], "type": where.repo if where else facts["dataset"], "split": facts["split"]}
    if where is not None and where.revision is not None:
        dataset["revision"] = where.revision
    result: dict[str, Any] = {
        "task": {"type": _PIPELINE_TAGS.get(facts["kind"], facts["kind"]), "name": facts["task"]},
        "dataset": dataset,
        "metrics": [_metric(measurement) for measurement in mine],
    }
    if options.source_url is not None:
        result["source"] = {"name": f"vlm-harness run {facts['run']}", "url": clean_text(options.source_url)}
    return result


def _metric(measurement: Measurement) -> dict[str, Any]:
    facts = {name: fact for name, fact in measurement.facts().items() if fact is not None and fact != ""}
    metric: dict[str, Any] = {
        "type": measurement.value.metric,
        "name": measurement.name,
        "value": measurement.value.estimate,
    }
    if measurement.value.variant:
        metric["config"] = measurement.value.variant
    return metric | {"args": facts}


def write_eval_results(runs: Sequence[Run], out: str, options: ExportOptions) -> Exported:
    """`.eval_results/TASK.yaml` of one model: the main metric of each task whose benchmark is named on the hub.

    The format has no field for the metric, the interval or the samples: they stand in `notes`.
    """
    models = sorted({run.record.model for run in runs})
    if len(models) > 1:
        raise InteropError(f"eval-results belong to one model's repository; the runs are of {', '.join(models)}")
    entries: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    absent: list[str] = []
    claimed: dict[tuple[str, str], str] = {}
    for run in runs:
        for task in run.record.tasks:
            plan = task.plan
            where = options.on_hub(plan.name, plan.dataset)
            if where is None or where.task_id is None:
                absent.append(f"{plan.name} ({plan.dataset})")
                continue
            mine = [m for m in measurements(run.record, subsets=False, efficiency=False) if m.task is task]
            if not mine or mine[0].value.estimate is None:
                notes += left_out(mine[:1])
                continue
            name = re.sub(r"[^a-z0-9._-]", "_", plan.name)
            if name in entries:
                raise InteropError(f"{run.path}: task {plan.name} is in two of the runs; export one run of it")
            other = claimed.setdefault((where.repo, where.task_id), plan.name)
            if other != plan.name:
                raise InteropError(
                    f"tasks {other} and {plan.name} would both be {where.repo}:{where.task_id}; "
                    f"name the task that it is: --hub-dataset {other}={where.repo}:{where.task_id}"
                )
            entries[name] = _entry(mine[0], where, options)
            notes += [f"{plan.name}: {m.name} is left out: the form holds one value for a task" for m in mine[1:]]
    if not entries:
        raise InteropError(
            f"no task can be named on the hub: {', '.join(absent) or 'nothing was computed'}; "
            "give --hub-dataset TASK=OWNER/REPO:TASK_ID for each of them (TASK_ID as in the benchmark's eval.yaml)"
        )
    notes += [f"{name} is left out: no --hub-dataset with a task id names its benchmark" for name in absent]
    folder = new_folder(out) / ".eval_results"
    folder.mkdir()
    paths = [_write(folder / f"{name}.yaml", [entry]) for name, entry in entries.items()]
    return Exported(tuple(map(str, paths)), tuple(notes))


def _entry(measurement: Measurement, where: HubDataset, options: ExportOptions) -> dict[str, Any]:
    facts, value = measurement.facts(), measurement.value
    dataset = {"id": where.repo, "task_id": where.task_id}
    if where.revision is not None:
        dataset["revision"] = where.revision
    in_percent = options.percent and value.unit == "rate"
    estimate = value.estimate or 0.0
    entry: dict[str, Any] = {"dataset": dataset, "value": 100 * estimate if in_percent else estimate}
    if facts["started"]:
        entry["date"] = facts["started"]
    if options.source_url is not None:
        entry["source"] = {"url": clean_text(options.source_url), "name": f"vlm-harness run {facts['run']}"}
    return entry | {"notes": _notes(measurement, in_percent=in_percent)}


def _notes(measurement: Measurement, *, in_percent: bool) -> str:
    facts, value = measurement.facts(), measurement.value
    commit = f", commit {facts['commit']}{' (dirty)' if facts['dirty'] else ''}" if facts["commit"] else ""
    parts = [
        f"{measurement.name}: {value.signature}",
        f"value {'in per cent, interval as a rate' if in_percent else f'in unit {value.unit}'}",
        interval_text(value),
        f"n = {value.n_scored}/{value.n_total}",
        f"sample set sha256:{facts['sample_set']}",
        f"data {facts['dataset']} {facts['split']} sha256:{facts['data_revision']}",
        f"weights {facts['weights']}",
        f"prompt {facts['prompt']}, {facts['generation']}",
        f"vlm-harness {facts['harness_version']}{commit}, run {facts['run']}",
    ]
    if measurement.task is not None and is_imported(measurement.task.plan):
        parts.insert(0, "answers imported from a file of another tool")
    if facts["warnings"]:
        parts.append(f"warnings: {facts['warnings']}")
    return "; ".join(parts)


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _write(path: Path, content: Any) -> Path:
    path.write_text(_yaml(content), encoding="utf-8")
    return path
