"""Every card that comes with the package: sound, sourced, true to its network; and no system is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from harness.cards.configurations import bundled_configurations
from harness.cards.loading import LoadedCard, bundled_cards, load_card
from harness.cards.schema import Fact
from harness.engine import catalogue

NAMES = sorted(path.stem for path in bundled_cards().glob("*.yaml"))

SYSTEMS = {
    "LLaVA": "llava-v1-13b",
    "LLaVA-1.5 7B": "llava-1.5-7b",
    "LLaVA-1.5 13B": "llava-1.5-13b",
    "InstructBLIP": "instructblip-vicuna-7b",
    "BLIP-2 OPT-2.7B": "blip2-opt-2.7b",
    "BLIP-2 OPT-6.7B": "blip2-opt-6.7b",
    "BLIP-2 Flan-T5-XL": "blip2-flan-t5-xl",
    "BLIP-2 Flan-T5-XXL": "blip2-flan-t5-xxl",
    "DePlot": "deplot",
    "MatCha": "matcha-chartqa",
    "Pix2Struct": "pix2struct-chartqa-base",
    "CLIP": "clip-vit-large-patch14-336",
    "ViT": "vit-base-patch16-224",
    "BLIP": "blip-vqa-base",
    "OFA": "ofa-large",
    "ViLBERT": "vilbert",
    "LXMERT": "lxmert-vqa",
    "VisualBERT": "visualbert-vqa",
    "VL-BERT": "vl-bert-large",
    "UNITER": "uniter-large",
    "VinVL": "vinvl-large",
    "SimVLM": "simvlm-huge",
    "CoCa": "coca",
    "Flamingo": "flamingo-80b",
    "OpenFlamingo": "openflamingo-9b",
    "IDEFICS": "idefics-9b-instruct",
    "BEiT-3": "beit-3-large",
    "PaLI": "pali-17b",
    "PaliGemma": "paligemma-3b-mix-224",
    "Kosmos-1": "kosmos-1",
    "Kosmos-2": "kosmos-2",
    "Qwen-VL": "qwen-vl",
    "Qwen2.5-VL": "qwen2.5-vl-3b",
    "ImageBind": "imagebind-huge",
    "OmniMAE": "omnimae",
    "wav2vec 2.0": "wav2vec2-base-960h",
    "HuBERT": "hubert-large-ls960",
    "Whisper": "whisper-large-v3",
    "FROMAGe": "fromage",
    "SpeechGPT": "speechgpt-7b",
    "NExT-GPT": "next-gpt",
    "DALL-E": "dall-e",
    "GLIDE": "glide",
    "OmniFusion": "omnifusion",
    "WaveLLaVA v0": "wavellava-v0",
    "WaveLLaVA v1": "wavellava-v1",
    "WaveLLaVA v1.2": "wavellava-v1.2",
    "WaveLLaVA v2": "wavellava-v2",
    "WaveLLaVA v3": "wavellava-v3",
    "SigLIP": "siglip-base-patch16-224",
    "GIT": "git-base-coco",
    "ViLT": "vilt-b32-vqa",
}
"""System that a comparison may name → its card."""


@pytest.fixture(params=NAMES)
def loaded(request: pytest.FixtureRequest) -> LoadedCard:
    return load_card(bundled_cards() / f"{request.param}.yaml")


def facts(value: object, where: str = "") -> Iterator[tuple[str, Fact[object]]]:
    """Every fact of a card with its place."""
    if isinstance(value, Fact):
        yield where, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from facts(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from facts(item, f"{where}[{position}]")


def test_every_system_has_its_card() -> None:
    assert {system for system, name in SYSTEMS.items() if name not in NAMES} == set()


def test_mplug_has_cards() -> None:
    assert [name for name in NAMES if name.startswith("mplug-")]


def test_every_number_has_its_source_or_its_reason(loaded: LoadedCard) -> None:
    describe = loaded.card.describe
    found = list(facts(describe)) if describe else []
    assert [where for where, fact in found if not (fact.source if fact.value is not None else fact.why)] == []
    for score in describe.published if describe else []:
        assert score.source
        assert (score.value is None) == bool(score.why)


def test_a_card_that_describes_says_what_it_was_trained_on_and_its_limits(loaded: LoadedCard) -> None:
    describe = loaded.card.describe
    if describe is None:
        assert loaded.card.run is not None
        return
    assert describe.training_data or loaded.name not in SYSTEMS.values()
    assert describe.tasks
    assert describe.limits
    assert describe.year.value is None or 2015 <= describe.year.value <= 2027


def test_a_card_that_cannot_run_says_how_it_takes_part(loaded: LoadedCard) -> None:
    if loaded.card.run is None:
        assert loaded.card.takes_part is not None
        assert len(str(loaded.card.why_no_run)) > 20


def test_no_card_names_a_place_on_this_machine(loaded: LoadedCard) -> None:
    assert not re.search(r"""["' ]/[a-z]+/""", loaded.path.read_text(encoding="utf-8"))


def test_the_list_of_models_says_how_each_takes_part() -> None:
    bundled = {str(bundled_cards() / f"{name}.yaml") for name in NAMES}
    rows = {row["name"]: row for row in catalogue.models() if row["owner"] in bundled}
    states = {row["state"] for row in rows.values()}
    allowed = {"runs here", "weights not here", "needs --data", "prediction files only", "description only"}
    assert {state for state in states if state not in allowed and not state.startswith("needs extra")} == set()
    assert rows["majority-answer"]["state"] == "runs here"
    assert rows["ofa-large"]["state"] == "prediction files only"
    assert rows["pali-17b"]["state"] == "description only"
    assert all(row["why"] for row in rows.values() if row["state"] != "runs here")


def test_no_card_claims_what_its_configuration_does_not_build() -> None:
    pytest.importorskip("transformers", reason="the models extra is not installed")
    from harness.engine.card_check import check_cards

    reports = {Path(report.card).stem: report for report in check_cards([])}
    assert {name: report.faults for name, report in reports.items() if report.faults} == {}
    with_configuration = {n for n in NAMES if _checkpoint(n) in bundled_configurations()}
    assert len(with_configuration) >= 30
    for name in with_configuration:
        assert reports[name].not_done == "", name
        assert "parameters" in reports[name].checked, name


def _checkpoint(name: str) -> str | None:
    run = load_card(bundled_cards() / f"{name}.yaml").card.run
    return run.checkpoint if run else None


def test_every_bundled_configuration_belongs_to_a_card() -> None:
    used = {_checkpoint(name) for name in NAMES}
    assert set(bundled_configurations()) - used == set()
