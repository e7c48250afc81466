"""Results in the shared form of the EvalEval coalition: one JSON file for each task of a run, samples beside it.

Schema 0.3.0 (`eval.schema.json`, `instance_level_eval.schema.json` of the package every-eval-ever). Free-form fields
there take strings only. What has no field of its own stands in `score_details.details`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.fingerprint import canonical_json
from harness.interop.exporting import Exported, ExportOptions, model_name, new_folder, one_model
from harness.interop.imported import is_imported
from harness.interop.measurements import Measurement, left_out, measurements, run_facts
from harness.interop.secrets import clean_text
from harness.records import TaskResult
from harness.store.files import write_json
from harness.store.runs import Run, answers_file
from harness.store.tables import SCORES, Answered, read_answers

SCHEMA = "0.3.0"
_NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class _Place:
    """What the aggregate file and its samples have in common."""

    evaluation_id: str
    model_id: str
    task: TaskResult
    found: tuple[Measurement, ...]


def write_every_eval_ever(runs: Sequence[Run], out: str, options: ExportOptions) -> Exported:
    """`data/TASK/OWNER/MODEL/UUID.json` below `out`, with `UUID_samples.jsonl` where samples are wanted.

    Samples are left out unless `options.samples` is true: they hold the benchmark's own questions.
    """
    one_model(runs, options)
    root = new_folder(out) / "data"
    files: list[str] = []
    notes: list[str] = []
    if options.organisation is None:
        notes.append(f'source_organization_name is "{_NOT_STATED}"; give it with --organisation')
    for run in runs:
        found = measurements(run.record, efficiency=False)
        notes += left_out(found)
        for task in run.record.tasks:
            mine = tuple(m for m in found if m.task is task and m.value.estimate is not None)
            if mine:
                written, said = _write(run, task, mine, root, options)
                files += map(str, written)
                notes += said
    return Exported(tuple(files), tuple(notes))


def _write(
    run: Run, task: TaskResult, found: tuple[Measurement, ...], root: Path, options: ExportOptions
) -> tuple[list[Path], list[str]]:
    model_id = model_name(run, options)
    stamp = f"{options.now if options.now is not None else time.time():.3f}"
    place = _Place(f"{task.plan.name}/{model_id}/{stamp}", model_id, task, found)
    content = _content(run, place, stamp, options)
    # The schema's README asks for version 4; drawn from the content, one export has one name.
    digest = hashlib.sha256(canonical_json(content).encode("utf-8")).digest()
    name = str(uuid.UUID(bytes=digest[:16], version=4))
    folder = root / _part(task.plan.name) / _part(_owner(model_id)) / _part(model_id.rpartition("/")[2])
    folder.mkdir(parents=True, exist_ok=True)
    paths, notes = [folder / f"{name}.json"], []
    if options.samples:
        if (run.path / SCORES).exists() and answers_file(run.path).exists():
            rows, without = _instances(run, place)
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            paths.append(folder / f"{name}_samples.jsonl")
            paths[1].write_text(text, encoding="utf-8")
            content["detailed_evaluation_results"] = {
                "format": "jsonl",
                "file_path": paths[1].relative_to(root.parent).as_posix(),
                "hash_algorithm": "sha256",
                "checksum": hashlib.sha256(text.encode("utf-8")).hexdigest(),
                "total_rows": len(rows),
            }
            notes += [f"{run.record.model}, {task.plan.name}: {line}" for line in without]
        else:
            notes.append(f"{run.path}: holds no samples; only the values of {task.plan.name} are exported")
    write_json(paths[0], content)
    return paths, notes


def _part(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".") or "_"


def _owner(model_id: str) -> str:
    return model_id.rpartition("/")[0] or "unknown"


def _content(run: Run, place: _Place, stamp: str, options: ExportOptions) -> dict[str, Any]:
    record, facts = run.record, run_facts(run.record)
    imported = is_imported(place.task.plan)
    local = not imported and facts["weights"].startswith("sha256:")
    library = ("commit", "dirty", "python", "platform", "processor", "packages", "run", "run_key", "rescored_from")
    model = ("family", "checkpoint", "revision", "weights")
    source: dict[str, Any] = {
        "source_name": "vlm-harness",
        "source_type": "evaluation_run",
        "source_organization_name": options.organisation or _NOT_STATED,
        "evaluator_relationship": options.relationship,
        "additional_details": _texts(facts, ("suite", "suite_version", "warnings")),
    }
    if options.source_url is not None:
        source["source_organization_url"] = clean_text(options.source_url)
    content: dict[str, Any] = {
        "schema_version": SCHEMA,
        "evaluation_id": place.evaluation_id,
        "retrieved_timestamp": stamp,
        "source_metadata": source,
        "eval_library": {
            "name": "vlm-harness",
            "version": record.harness_version,
            "additional_details": _texts(facts, library),
        },
        "model_info": {
            "name": record.model,
            "id": place.model_id,
            "additional_details": {
                "deployment_type": "self_deployed" if local else "unknown",
                "model_availability": "unknown",
                **_texts(facts, model),
            },
        },
        "evaluation_results": [_result(measurement, options) for measurement in place.found],
    }
    if facts["started"]:
        content["evaluation_timestamp"] = facts["started"]
    return content


def _texts(facts: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The facts that are known, as the strings that free-form fields take."""
    return {name: str(facts[name]) for name in names if facts[name] is not None and facts[name] != ""}


def _result_id(measurement: Measurement) -> str:
    return f"{measurement.place}/{measurement.value.signature}/{measurement.value.subset}"


def _result(measurement: Measurement, options: ExportOptions) -> dict[str, Any]:
    value, facts = measurement.value, measurement.facts()
    metric: dict[str, Any] = {
        "metric_id": value.metric,
        "metric_name": measurement.name,
        "metric_unit": "proportion" if value.unit == "rate" else value.unit,
        "metric_parameters": {"signature": value.signature},
        "lower_is_better": not value.higher_is_better,
    }
    if value.unit == "rate":
        metric |= {"score_type": "continuous", "min_score": 0, "max_score": 1}
    uncertainty: dict[str, Any] = {"num_samples": value.n_scored}
    if value.low is not None and value.high is not None:
        uncertainty["confidence_interval"] = {
            "lower": value.low,
            "upper": value.high,
            "confidence_level": value.confidence,
            "method": value.method,
        }
    resamples = re.search(r"\bB=(\d+)", value.method)
    if resamples:
        uncertainty["num_bootstrap_samples"] = int(resamples[1])
    details = tuple(name for name in facts if name not in ("estimate", "low", "high", "confidence", "packages"))
    result: dict[str, Any] = {
        "evaluation_result_id": _result_id(measurement),
        "evaluation_name": measurement.place if value.subset == "all" else f"{measurement.place}/{value.subset}",
        "source_data": _source_data(measurement, options),
        "metric_config": metric,
        "score_details": {
            "score": value.estimate,
            "details": _texts(facts, details),
            "uncertainty": uncertainty,
        },
    }
    return result | _generation(measurement.task)


def _source_data(measurement: Measurement, options: ExportOptions) -> dict[str, Any]:
    facts = measurement.facts()
    details = _texts(facts, ("dataset", "split", "data", "data_revision", "sample_set", "n_samples"))
    where = options.on_hub(facts["task"], facts["dataset"])
    if where is None:
        return {
            "dataset_name": facts["dataset"],
            "source_type": "other",
            "source_id": f"{facts['dataset']}/{facts['split']}",
            "source_version": f"sha256:{facts['data_revision']}",
            "additional_details": details,
        }
    source = {
        "dataset_name": facts["dataset"],
        "source_type": "hf_dataset",
        "hf_repo": where.repo,
        "hf_split": facts["split"],
        "samples_number": facts["n_samples"],
        "additional_details": details,
    }
    return source | ({"hf_revision": where.revision} if where.revision is not None else {})


def _generation(task: TaskResult | None) -> dict[str, Any]:
    """The generation settings; nothing where answers were imported and the settings are not known."""
    if task is None or is_imported(task.plan):
        return {}
    plan, settings = task.plan, task.plan.generation
    more = {
        "prompt": f"{plan.prompt_name} v{plan.prompt_version}",
        "model_template": plan.template,
        "answer_by": plan.answer_by,
        **{
            name: str(getattr(settings, name))
            for name in ("do_sample", "num_beams", "min_new_tokens", "length_penalty", "repetition_penalty", "seed")
        },
        "stop": json.dumps(list(settings.stop), ensure_ascii=False),
        "image_steps": ", ".join(plan.image_steps) or "none",
    }
    arguments = {
        "temperature": settings.temperature if settings.do_sample else 0.0,
        "top_p": settings.top_p if settings.do_sample else None,
        "max_tokens": settings.max_new_tokens,
        "prompt_template": plan.prompt_text,
    }
    return {"generation_config": {"generation_args": arguments, "additional_details": more}}


def _instances(run: Run, place: _Place) -> tuple[list[dict[str, Any]], list[str]]:
    """One row for each unit and metric that says right or wrong, and what has no row.

    The schema wants `is_correct` of every row, so metrics without a verdict (CIDEr, edit distance) have none, and a
    unit that was not scored cannot be written: it is counted.
    """
    plan = place.task.plan
    answers = {row.sample.sample_id: row for row in read_answers(answers_file(run.path), plan.name)}
    scores = run.scores()
    scores = scores[scores["task"] == plan.name]
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    silent: list[str] = []
    for measurement in (m for m in place.found if m.value.subset == "all"):
        mine = scores[scores["signature"] == measurement.value.signature]
        scored = mine[mine["value"].notna()]
        if not scored["value"].isin((0.0, 1.0)).all():
            silent.append(measurement.name)
            continue
        if len(scored) < len(mine):
            notes.append(f"{measurement.name}: {len(mine) - len(scored)} of {len(mine)} samples are unscored, left out")
        rows += _rows(place, measurement, scored.to_dict("records"), answers)
    if silent:
        notes.append(f"no samples of {', '.join(silent)}, which say neither right nor wrong")
    return rows, notes


def _rows(
    place: _Place, measurement: Measurement, scores: Sequence[Mapping[Any, Any]], answers: Mapping[str, Answered]
) -> Iterator[dict[str, Any]]:
    for score in scores:
        answer = answers[score["sample_id"]]
        sample, response = answer.sample, answer.response
        text = clean_text(response.text or "")
        row: dict[str, Any] = {
            "schema_version": SCHEMA,
            "evaluation_id": place.evaluation_id,
            "model_id": place.model_id,
            "evaluation_name": measurement.place,
            "evaluation_result_id": _result_id(measurement),
            "sample_id": sample.sample_id,
            "sample_hash": hashlib.sha256("".join([sample.question, *sample.references]).encode("utf-8")).hexdigest(),
            "interaction_type": "single_turn",
            "input": {
                "raw": sample.question,
                "formatted": answer.prompt,
                "reference": list(sample.references),
                "choices": list(sample.choices) or None,
            },
            "output": {"raw": [text]},
            "messages": None,
            "answer_attribution": _attribution(score),
            "evaluation": {"score": float(score["value"]), "is_correct": bool(score["value"] == 1.0)},
            "metadata": {
                "unit": str(score["unit"]),
                "cluster": str(score["cluster"]),
                "signature": measurement.value.signature,
                "fingerprint": response.fingerprint,
                **{f"sample.{name}": str(value) for name, value in sample.metadata.items()},
            },
        }
        if response.prompt_tokens is not None and response.output_tokens is not None:
            used = (response.prompt_tokens, response.output_tokens)
            row["token_usage"] = {"input_tokens": used[0], "output_tokens": used[1], "total_tokens": sum(used)}
        if response.latency_s is not None:
            row["performance"] = {"latency_ms": 1000 * response.latency_s}
        yield row


def _attribution(score: Mapping[Any, Any]) -> list[dict[str, Any]]:
    if not isinstance(score["extracted"], str):
        return []
    attribution = {
        "turn_idx": 0,
        "source": "output.raw",
        "extracted_value": score["extracted"],
        "extraction_method": score["rule"] or "none",
        "is_terminal": True,
    }
    return [attribution]
