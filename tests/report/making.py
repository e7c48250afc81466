"""Runs for the tests of reports: files of answers to the bundled questions, some of them hostile."""

from __future__ import annotations

import json
from pathlib import Path

from harness.datasets.opening import open_dataset
from harness.engine.run import run_suite
from harness.store.runs import Run
from harness.tasks.schema import Subset

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    '"><svg onload=alert(3)>',
    "line one\u2028line two",
    "'); alert(4); ('",
    "<!-- <script>",
)
TASKS = {"chartqa": "test", "scienceqa": "test"}
FIRST = 60


def make_runs(folder: Path) -> list[Run]:
    """Sealed runs of `exact` (always right), `hostile` (markup first) and `patchy` (each fifth missing, else 0)."""
    samples = []
    for name in TASKS:
        dataset = open_dataset(name)
        samples += list(dataset.samples(dataset.splits()[0]))[: FIRST + 20]
    hostile = dict(zip((s.sample_id for s in samples), HOSTILE, strict=False))
    answers = {
        "exact": {s.sample_id: s.references[0] for s in samples},
        "hostile": {s.sample_id: hostile.get(s.sample_id, s.references[0]) for s in samples},
        "patchy": {s.sample_id: "0" for number, s in enumerate(samples) if number % 5},
    }
    cards = []
    for model, texts in answers.items():
        file = folder / f"{model}.jsonl"
        lines = [json.dumps({"sample_id": sample, "text": text}) for sample, text in texts.items()]
        file.write_text("\n".join(lines), encoding="utf-8")
        card = folder / f"{model}.yaml"
        card.write_text(json.dumps({"name": model, "run": {"family": "predictions", "options": {"path": str(file)}}}))
        cards.append(card)
    suite = folder / "two-tasks.yaml"
    suite.write_text(
        f"name: two-tasks\nversion: 1\ndescription: d\ndata: bundled\ntasks: [{', '.join(TASKS)}]\n", encoding="utf-8"
    )
    outcome = run_suite(suite, cards, out=folder / "runs", subset=Subset(first=FIRST))
    assert not outcome.failures
    return list(outcome.runs)
