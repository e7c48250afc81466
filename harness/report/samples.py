"""Data of the sample browser: an index of what the filters need, and the samples in chunks loaded when looked at.

Pages opened from disk cannot fetch JSON, so each file is a script that hands its data to one registered function.
`<` is written as an escape; the pages set every text as text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records import ImageRef, TaskPlan, TaskResult
from harness.report.formulas import Formulas
from harness.report.thumbnails import Thumbnails
from harness.store.runs import Run

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 200
"""Samples in one file."""
_TITLE_CHARS = 90
_MOST_VALUES = 40
"""A metadata field with more values than this is no filter."""


@dataclass(frozen=True, slots=True)
class Browsed:
    """What went into the browser."""

    samples: int
    images: int
    absent_images: int
    tasks: tuple[str, ...]
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answers:
    """One run on one task."""

    samples: Mapping[str, Mapping[str, Any]]
    """Sample id → row of the sample table."""
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Metric → unit → row of the score table; the main metric first."""
    higher_is_better: bool

    def score(self, metric: str, sample_id: str, group: str) -> Mapping[str, Any] | None:
        """The row of the sample, or of the group that it is scored with."""
        units = self.scores.get(metric, {})
        return units.get(sample_id) or (units.get(group) if group else None)


def write_samples(
    runs: Sequence[Run], names: Mapping[str, str], folder: Path, thumbnails: Thumbnails, formulas: Formulas
) -> Browsed:
    """Write `index.js` and `TASK-CHUNK.js`; every task of any run is there, in the order of the runs.

    Args:
        names: run id → name to show.
    """
    plans: dict[str, TaskPlan] = {}
    for run in runs:
        for task in run.record.tasks:
            plans.setdefault(task.plan.name, task.plan)
    tables = [(run.samples(), run.scores().drop(columns="statistics")) for run in runs]
    rules: dict[str, int] = {}
    tasks = []
    for number, (name, plan) in enumerate(plans.items()):
        answers = [_read(run, name, *frames) for run, frames in zip(runs, tables, strict=True)]
        indexed, full = _task(plan, answers, rules, thumbnails, formulas)
        tasks.append(indexed)
        for chunk, start in enumerate(range(0, len(full), CHUNK)):
            _write(folder / f"{number}-{chunk}.js", f"chunk({number},{chunk},", full[start : start + CHUNK])
    index = {"models": list(names.values()), "tasks": tasks, "rules": list(rules), "chunk": CHUNK}
    _write(folder / "index.js", "index(", index)
    total = sum(len(task["ids"]) for task in tasks)
    return Browsed(total, thumbnails.count, thumbnails.absent, tuple(plans), tuple(names.values()))


def _write(path: Path, call: str, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    path.write_text(f"harnessReport.{call}{text});\n", encoding="utf-8", newline="\n")


def _read(run: Run, task: str, samples: pd.DataFrame, scores: pd.DataFrame) -> _Answers:
    result = next((t for t in run.record.tasks if t.plan.name == task), None)
    if result is None:
        return _Answers({}, {}, True)
    rows = _records(samples[samples["task"] == task])
    scores = scores[scores["task"] == task]
    by_metric = {}
    for metric, signature in _signatures(result).items():
        found = _records(scores[scores["signature"] == signature])
        by_metric[metric] = {str(row["unit"]): row for row in found}
    return _Answers({str(row["sample_id"]): row for row in rows}, by_metric, result.values[0].higher_is_better)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows with `None` for what is not there, whatever the column's type calls it."""
    plain = frame.astype(object)
    return [dict(zip(plain.columns, row, strict=True)) for row in plain.where(plain.notna(), None).to_numpy().tolist()]


def _signatures(result: TaskResult) -> dict[str, str]:
    """`metric@variant` → signature, the main metric first."""
    return {v.name: v.signature for v in result.values if v.subset == "all"}


def _task(
    plan: TaskPlan,
    answers: Sequence[_Answers],
    rules: dict[str, int],
    thumbnails: Thumbnails,
    formulas: Formulas,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The task's part of the index, and its samples in full."""
    ids = list(dict.fromkeys(sample for run in answers for sample in run.samples))
    main = next((next(iter(run.scores)) for run in answers if run.scores), "")
    further = [metric for metric in dict.fromkeys(m for run in answers for m in run.scores) if metric != main]
    values = [row["value"] for run in answers for row in run.scores.get(main, {}).values()]
    higher = all(run.higher_is_better for run in answers)
    binary = higher and all(value in (0.0, 1.0) for value in values if value is not None)
    categories = _categories([_row(answers, sample) for sample in ids])
    index: dict[str, Any] = {
        "name": plan.name,
        "dataset": f"{plan.dataset}, {plan.split}",
        "metric": main,
        "further": further,
        "binary": binary,
        "categories": list(categories),
        "ids": ids,
        "titles": [],
        "verdicts": [],
        "values": [],
        "disagree": "",
        "best": [],
        "rules": [],
        "fields": [],
    }
    full = []
    for sample in ids:
        row = _row(answers, sample)
        scores = [run.score(main, sample, str(row["group"])) if sample in run.samples else None for run in answers]
        numbers = [_number(score["value"]) if score else None for score in scores]
        present = [number for number in numbers if number is not None]
        index["titles"].append(_title(row))
        index["verdicts"].append(
            "".join(_verdict(sample in run.samples, n, binary) for run, n in zip(answers, numbers, strict=True))
        )
        if not binary:
            index["values"].append(numbers)
        index["disagree"] += "1" if len(set(present)) > 1 else "0"
        index["best"].append(_alone(numbers, binary=binary, higher=higher))
        index["rules"].append([_rule(score, rules) for score in scores])
        index["fields"].append([categories[label] for label in _labels(row) if label in categories])
        full.append(_full(plan, row, answers, scores, further, thumbnails, formulas))
    return index, full


def _row(answers: Iterable[_Answers], sample: str) -> Mapping[str, Any]:
    """The sample as the first run that has it was asked."""
    return next(run.samples[sample] for run in answers if sample in run.samples)


def _labels(row: Mapping[str, Any]) -> list[str]:
    return [f"{field}: {value}" for field, value in json.loads(row["metadata"]).items()]


def _categories(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """`field: value` → its number, for the metadata fields that sort samples into a few kinds."""
    counted = Counter(label for row in rows for label in _labels(row))
    fields = Counter(label.partition(": ")[0] for label in counted)
    kept = sorted(label for label in counted if 2 <= fields[label.partition(": ")[0]] <= _MOST_VALUES)
    return {label: number for number, label in enumerate(kept)}


def _title(row: Mapping[str, Any]) -> str:
    text = " ".join((row["question"] or (row["references"][0] if len(row["references"]) else "")).split())
    return text if len(text) <= _TITLE_CHARS else f"{text[: _TITLE_CHARS - 1]}…"


def _number(value: float | None, places: int = 6) -> float | int | None:
    """Four digits, and no more than `places` after the point; whole numbers without one."""
    if value is None:
        return None
    short = round(float(f"{value:.4g}"), places)
    return int(short) if short == int(short) else short


def _verdict(asked: bool, number: float | None, binary: bool) -> str:
    """One letter: right, wrong, scored (neither right nor wrong), unscored, not asked."""
    if not asked:
        return "-"
    if number is None:
        return "u"
    return "s" if not binary else "r" if number == 1 else "w"


def _alone(numbers: Sequence[float | None], *, binary: bool, higher: bool) -> int:
    """Place of the only run that is right (or the best of all, where there is no right and wrong); -1 for none."""
    scored = [number for number in numbers if number is not None]
    if len(scored) < 2:
        return -1
    best = max(scored) if higher else min(scored)
    return -1 if scored.count(best) > 1 or (binary and best != 1) else numbers.index(best)


def _rule(score: Mapping[str, Any] | None, rules: dict[str, int]) -> int:
    return rules.setdefault(score["rule"], len(rules)) if score and score["rule"] else -1


def _full(
    plan: TaskPlan,
    row: Mapping[str, Any],
    answers: Sequence[_Answers],
    scores: Sequence[Mapping[str, Any] | None],
    metrics: Sequence[str],
    thumbnails: Thumbnails,
    formulas: Formulas,
) -> dict[str, Any]:
    sample, group = str(row["sample_id"]), str(row["group"])
    prompts = list(dict.fromkeys(run.samples[sample]["prompt"] for run in answers if sample in run.samples))
    asked = [
        _answer(run, sample, group, score, prompts, metrics) if sample in run.samples else None
        for run, score in zip(answers, scores, strict=True)
    ]
    drawn = formulas.draw if plan.kind == "image-to-latex" else _not_drawn
    for answer in filter(None, asked):
        answer.update(_without_empty({"formula": drawn(answer.get("text"))}))
    return _without_empty(
        {
            "question": row["question"],
            "hint": row["hint"],
            "choices": list(row["choices"]),
            "references": list(row["references"]),
            "formulas": [name for name in map(drawn, row["references"]) if name],
            "metadata": json.loads(row["metadata"]),
            "group": group,
            "base": next((s["sample_id"] for s in scores if s is not None and s["sample_id"] != sample), None),
            "problem": _problem(row, "problem"),
            "audio": list(row["audio_locators"]) if row.get("audio_locators") is not None else [],
            "images": _images(plan, row, [run.samples[sample] for run in answers if sample in run.samples], thumbnails),
            "prompts": prompts,
            "answers": asked,
        }
    )


def _not_drawn(text: str | None) -> None:
    """Answers of other tasks are no formulas."""


def _images(
    plan: TaskPlan, row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], thumbnails: Thumbnails
) -> list[list[str]]:
    """(file, name in the data set or why it is not shown) of each image."""
    places = list(zip(row["image_locators"], row["image_keys"], strict=True))
    hashes = next(
        (list(r["image_sha256"]) for r in rows if len(r["image_sha256"]) == len(places)), [None] * len(places)
    )
    shown = []
    for (locator, key), checksum in zip(places, hashes, strict=True):
        file, reason = thumbnails.show(plan, ImageRef(locator, key), checksum)
        shown.append([file, reason or locator])
    return shown


def _answer(
    run: _Answers,
    sample: str,
    group: str,
    score: Mapping[str, Any] | None,
    prompts: Sequence[str],
    metrics: Sequence[str],
) -> dict[str, Any]:
    row = run.samples[sample]
    further = [run.score(metric, sample, group) for metric in metrics]
    others = [_number(other["value"], places=4) if other else None for other in further]
    scored = score if score is not None and score["sample_id"] == sample else {}
    references = list(row["references"])
    return _without_empty(
        {
            "text": row["text"],
            "failure": _problem(row, "failure"),
            "extracted": None if scored.get("extracted") == row["text"] else scored.get("extracted"),
            "reference": None if references == [scored.get("reference")] else scored.get("reference"),
            "detail": scored.get("detail"),
            "unscored": _problem(score, "unscored") if score else None,
            "others": others if any(other is not None for other in others) else None,
            "steps": json.loads(row.get("steps") or "[]"),
            "prompt": prompts.index(row["prompt"]) or None,
        }
    )


def _problem(row: Mapping[str, Any], field: str) -> str | None:
    kind = row[f"{field}_kind"]
    return f"{kind}: {row[f'{field}_message']}" if isinstance(kind, str) else None


def _without_empty(record: dict[str, Any]) -> dict[str, Any]:
    """Without what is not there; an empty answer stays an answer."""
    return {
        key: value
        for key, value in record.items()
        if (key == "text" and value is not None) or value not in ("", None, [], {})
    }
