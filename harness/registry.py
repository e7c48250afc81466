"""Names → lazily imported objects, for every kind of thing that can be added.

Built-ins and entry points of installed packages stand in one table. Nothing is imported before it is asked for. A
plugin that cannot be imported stays in the table with its error and hides nothing else; a name claimed twice is an
error that names both owners, raised when the name is used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.errors import RegistryError, UnknownNameError

_BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "models": {
        "llava": "harness.models.llava:Llava",
        "blip2": "harness.models.blip2:Blip2",
        "pix2struct": "harness.models.pix2struct:Pix2Struct",
        "wavelet": "harness.models.wavelet.family:Wavelet",
        "table-rules": "harness.models.table_rules:TableRules",
        "text": "harness.models.text:Text",
        "openai": "harness.models.served:Served",
        "pipeline": "harness.models.pipeline:Pipeline",
        "mplug": "harness.models.mplug.family:Mplug",
        "image-text-to-text": "harness.models.image_text:ImageText",
        "instructblip": "harness.models.instructblip:InstructBlip",
        "kosmos2": "harness.models.kosmos2:Kosmos2",
        "git": "harness.models.git:Git",
        "idefics": "harness.models.idefics:Idefics",
        "ocr": "harness.models.ocr:Ocr",
        "speech": "harness.models.speech:Speech",
        "blip-caption": "harness.models.blip:BlipCaption",
        "blip-vqa": "harness.models.blip:BlipVqa",
        "blip-itm": "harness.models.blip_itm:BlipItm",
        "clip": "harness.models.clip:Clip",
        "siglip": "harness.models.clip:Siglip",
        "image-classifier": "harness.models.image_classifier:ImageClassifier",
        "vilt": "harness.models.vilt:Vilt",
        "visualbert": "harness.models.regions:VisualBert",
        "lxmert": "harness.models.regions:Lxmert",
        "predictions": "harness.models.predictions:PredictionFile",
        "majority-answer": "harness.models.controls:MajorityAnswer",
        "fixed-answer": "harness.models.controls:FixedAnswer",
        "random-choice": "harness.models.controls:RandomChoice",
        "frequent-caption": "harness.models.controls:FrequentCaption",
        "nearest-neighbour": "harness.models.neighbours:NearestNeighbour",
        "blank-image": "harness.models.wrappers:BlankImage",
        "shuffled-image": "harness.models.wrappers:ShuffledImage",
    },
    "datasets": {
        "chartqa": "harness.datasets.chartqa:ChartQA",
        "coco": "harness.datasets.coco:CocoCaptions",
        "mmbench": "harness.datasets.mmbench:MMBench",
        "scienceqa": "harness.datasets.scienceqa:ScienceQA",
        "nlvr2": "harness.datasets.nlvr:NLVR",
        "latex": "harness.datasets.latex:Latex",
        "librispeech": "harness.datasets.librispeech:LibriSpeech",
        "lmms-eval": "harness.interop.lmms.tasks:LmmsEvalDataset",
    },
    "metrics": {
        "bleu-1": "harness.metrics.captions:bleu_1",
        "bleu-2": "harness.metrics.captions:bleu_2",
        "bleu-3": "harness.metrics.captions:bleu_3",
        "bleu-4": "harness.metrics.captions:bleu_4",
        "rouge-l": "harness.metrics.captions:rouge_l",
        "cider": "harness.metrics.captions:cider",
        "meteor": "harness.metrics.captions:meteor",
        "spice": "harness.metrics.captions:spice",
        "relaxed_accuracy": "harness.metrics.charts:relaxed_accuracy_metric",
        "rnss": "harness.metrics.tables:rnss_metric",
        "rms-f1": "harness.metrics.tables:rms_f1_metric",
        "multiple_choice": "harness.metrics.choice:multiple_choice_metric",
        "mmbench": "harness.metrics.choice:mmbench_metric",
        "scienceqa": "harness.metrics.choice:scienceqa_metric",
        "recall": "harness.metrics.ranks:recall_metric",
        "exact_match": "harness.metrics.exact:exact_match_metric",
        "accuracy": "harness.metrics.truth:accuracy_metric",
        "consistency": "harness.metrics.truth:consistency_metric",
        "latex_exact_match": "harness.metrics.latex:exact_match_metric",
        "latex_edit_similarity": "harness.metrics.latex:edit_similarity_metric",
        "latex_bleu-4": "harness.metrics.latex:bleu_4_metric",
        "latex_compile_rate": "harness.metrics.compile:compile_rate_metric",
        "answer_in_text": "harness.metrics.reading:answer_in_text_metric",
        "token_recall": "harness.metrics.reading:token_recall_metric",
        "lmms-eval": "harness.interop.lmms.tasks:lmms_eval_metric",
        "wer": "harness.metrics.speech:wer_metric",
        "cer": "harness.metrics.speech:cer_metric",
    },
    "executors": {
        "local": "harness.engine.worker:ModelWorker",
        "process": "harness.engine.isolated:IsolatedExecutor",
        "ray": "harness.engine.ray_executor:RayExecutor",
    },
}
GROUPS = {
    "models": "harness.models",
    "datasets": "harness.datasets",
    "metrics": "harness.metrics",
    "executors": "harness.executors",
    "model_cards": "harness.model_cards",
    "suites": "harness.suites",
}
"""Kind → entry point group. `model_cards` and `suites` name packages that hold YAML files."""

_SINGULAR = {
    "models": "model family",
    "datasets": "data set",
    "metrics": "metric",
    "executors": "executor",
    "model_cards": "package of cards",
    "suites": "package of suites",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name."""

    name: str
    target: str
    """`package.module:Object`, or a package for cards and suites."""
    owner: str
    """The distribution that registered it."""


@cache
def _table(kind: str) -> dict[str, list[Entry]]:
    if kind not in GROUPS:
        raise UnknownNameError.of("registry", kind, GROUPS)
    table: dict[str, list[Entry]] = {}
    for name, target in _BUILT_IN.get(kind, {}).items():
        table.setdefault(name, []).append(Entry(name, target, "harness"))
    for point in importlib.metadata.entry_points(group=GROUPS[kind]):
        owner = point.dist.name if point.dist else "unknown distribution"
        entry = Entry(point.name, point.value, owner)
        if entry not in table.setdefault(point.name, []):
            table[point.name].append(entry)
    return table


def forget() -> None:
    """Drop the tables, so that packages installed since are seen (for tests and notebooks)."""
    _table.cache_clear()


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted; broken and doubly claimed ones included."""
    return sorted(_table(kind))


def entry(kind: str, name: str) -> Entry:
    """Where a name leads, without importing it.

    Raises:
        UnknownNameError: with the nearest name.
        RegistryError: if two distributions claim the name.
    """
    found = _table(kind).get(name)
    if not found:
        listing = f"harness list {kind}" if kind in ("datasets", "metrics", "suites") else ""
        raise UnknownNameError.of(_SINGULAR[kind], name, _table(kind), listing)
    if len(found) > 1:
        owners = " and ".join(f"{e.owner} ({e.target})" for e in found)
        raise RegistryError(f'the {_SINGULAR[kind]} "{name}" is claimed by {owners}; uninstall one of them')
    return found[0]


def load(kind: str, name: str) -> Any:
    """The object behind a name, imported now.

    Raises:
        UnknownNameError, RegistryError: as `entry`; or the import failed (the cause is chained and named).
    """
    found = entry(kind, name)
    module_name, _, attribute = found.target.partition(":")
    try:
        value: Any = importlib.import_module(module_name)
        for part in filter(None, attribute.split(".")):
            value = getattr(value, part)
    except Exception as error:
        raise RegistryError(
            f'the {_SINGULAR[kind]} "{name}" of {found.owner} ({found.target}) cannot be imported: '
            f"{type(error).__name__}: {error}"
        ) from error
    return value


def problems(kind: str) -> dict[str, str]:
    """Name → error for every entry that cannot be used; imports all of them."""
    broken: dict[str, str] = {}
    for name in names(kind):
        try:
            load(kind, name)
        except RegistryError as error:
            broken[name] = str(error)
    return broken
