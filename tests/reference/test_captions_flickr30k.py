"""Four published systems on 1,000 Flickr30k images: every caption metric equals pycocoevalcap 1.2's stored value.

The tolerance of 1e-6 is far below the fourth digit that papers print; the differences seen are below 1e-15.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.errors import MetricUnavailable
from harness.metrics.base import ScoringContext
from harness.records import Case, Sample

SYSTEMS = ("magic", "zerocap", "clipretrieval", "contrastive")
KEYS = {
    "bleu-1": "Bleu_1",
    "bleu-2": "Bleu_2",
    "bleu-3": "Bleu_3",
    "bleu-4": "Bleu_4",
    "rouge-l": "ROUGE_L",
    "cider": "CIDEr",
    "meteor": "METEOR",
}


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "coco" / "flickr30k_metric_test"


@pytest.fixture(scope="module")
def references(folder: Path) -> dict[int, list[str]]:
    (file,) = (folder / "annotations").glob("*.json")
    found: dict[int, list[str]] = {}
    for annotation in json.loads(file.read_text(encoding="utf-8"))["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation["caption"])
    return found


@pytest.mark.parametrize("system", SYSTEMS)
def test_all_metrics_equal_pycocoevalcap(system: str, folder: Path, references: dict[int, list[str]]) -> None:
    name = f"captions_flickr30k_{system}_results"
    results = json.loads((folder / "results" / f"{name}.json").read_text(encoding="utf-8"))
    expected = json.loads((folder / "results" / "reference_scores.json").read_text(encoding="utf-8"))[name]
    texts = {result["image_id"]: result["caption"] for result in results}
    cases = [Case(Sample(str(i), references=tuple(refs)), texts[i]) for i, refs in references.items()]
    assert len(cases) == expected["images"] == 1000
    context = ScoringContext()
    found = {}
    for metric_name, key in KEYS.items():
        metric = registry.load("metrics", metric_name)()
        try:
            scores = metric.score(cases, context)
        except MetricUnavailable as error:
            pytest.skip(str(error))
        found[key] = float(metric.aggregate(np.array([score.statistics for score in scores]).sum(0)))
    assert found == pytest.approx({key: expected[key] for key in KEYS.values()}, abs=1e-6)


def test_magic_rounds_to_the_published_figures(folder: Path) -> None:
    stored = json.loads((folder / "results" / "reference_scores.json").read_text(encoding="utf-8"))
    magic = stored["captions_flickr30k_magic_results"]
    published = {"Bleu_1": 44.5, "Bleu_4": 6.4, "METEOR": 13.1, "ROUGE_L": 31.6, "CIDEr": 20.4}
    assert {key: round(100 * magic[key], 1) for key in published} == published
