"""Claims against networks: worked examples on tiny configurations, and the sizes that the library itself publishes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cards.configurations import configuration
from harness.cards.loading import bundled_cards
from harness.engine.card_check import CardCheck, check_cards
from harness.errors import CardError, ModelError

pytest.importorskip("transformers", reason="the models extra is not installed")

from harness.engine.architecture import build, measure

VIT = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
    "num_labels": 5,
}
PER_LAYER = 4 * (8 * 8 + 8) + (8 * 16 + 16) + (16 * 8 + 8) + 2 * 2 * 8
"""Attention, two linear maps, two layer norms."""
EMBEDDINGS = (3 * 4 * 4 * 8 + 8) + 8 + (4 + 1) * 8
"""Patch projection, class token, positions."""
TOWER = EMBEDDINGS + 3 * PER_LAYER + 2 * 8
TOTAL = TOWER + (8 * 5 + 5)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a card on a folder with the tiny configuration; keywords replace claims."""

    def card(config: dict[str, object] | None = None, **claims: int) -> Path:
        folder = tmp_path / "tiny"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(VIT if config is None else config))
        claimed = {"parameters": TOTAL, "tower": TOWER, "layers": 3, "input_px": 8, "patch_px": 4} | claims
        fact = {name: {"value": value, "source": "a test"} for name, value in claimed.items()}
        vision = {"name": "ViT", "parameters": fact["tower"]}
        vision |= {name: fact[name] for name in ("input_px", "patch_px", "layers")}
        describe = {
            "title": "Tiny",
            "year": {"value": 2020, "source": "a test"},
            "organisation": "nobody",
            "licence": {"value": None, "why": "a test"},
            "architecture": {
                "vision_encoder": vision,
                "connector": None,
                "language_model": None,
                "fusion": "none",
                "image_tokens": {"value": None, "why": "no language model"},
                "parameters": fact["parameters"],
                "stages": [],
            },
            "training_data": [],
            "tasks": ["classification"],
            "domain": "general",
            "limits": [],
            "published": [],
        }
        path = tmp_path / "tiny-vit.yaml"
        run = {"family": "pix2struct", "checkpoint": "./tiny"}
        path.write_text(json.dumps({"name": "tiny-vit", "describe": describe, "run": run}))
        return path

    return card


def only(path: Path) -> CardCheck:
    (report,) = check_cards([path])
    return report


def test_a_network_is_counted_as_by_hand() -> None:
    found = measure(build(VIT))
    assert (found.parameters, found.language, found.image_tokens) == (TOTAL, None, None)
    assert found.vision is not None
    assert (found.vision.parameters, found.vision.layers) == (TOWER, 3)
    assert (found.vision.input_px, found.vision.patch_px) == (8, 4)


def test_a_true_card_has_no_fault_and_says_what_was_compared(write: Write) -> None:
    report = only(write())
    assert report.faults == ()
    assert set(report.checked) == {
        "parameters", "vision_encoder.parameters", "vision_encoder.layers",
        "vision_encoder.input_px", "vision_encoder.patch_px",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "value", "message"),
    [
        (
            "layers",
            4,
            r"architecture\.vision_encoder\.layers: the card claims 4 \(\+33\.3 %\), its configuration builds 3",
        ),
        ("input_px", 16, r"vision_encoder\.input_px: the card claims 16 .* builds 8"),
        ("patch_px", 2, r"vision_encoder\.patch_px: the card claims 2 .* builds 4"),
        ("parameters", 2 * TOTAL, r"architecture\.parameters: the card claims .* \(\+100\.0 %\)"),
    ],
)
def test_a_wrong_claim_is_a_fault_that_names_field_claimed_and_found(
    write: Write, claim: str, value: int, message: str
) -> None:
    (fault,) = only(write(**{claim: value})).faults
    assert fault.startswith(str(write(**{claim: value})))
    import re

    assert re.search(message, fault), fault


def test_parameters_may_differ_by_half_a_percent_and_no_more(write: Write) -> None:
    assert only(write(parameters=TOTAL + int(0.005 * TOTAL))).faults == ()
    assert len(only(write(parameters=TOTAL + int(0.005 * TOTAL) + 1)).faults) == 1


def test_without_the_library_the_check_says_so_and_finds_nothing(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(layers=99)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a))
    report = only(path)
    assert (report.faults, report.not_done) == ((), "needs extra models")


def test_a_configuration_that_the_library_does_not_know_is_a_fault(write: Write) -> None:
    (fault,) = only(write({"model_type": "no-such-model", "architectures": ["X"]})).faults
    assert "no-such-model" in fault
    with pytest.raises(ModelError, match="cannot build NoSuchClass of model_type 'vit'"):
        build({**VIT, "architectures": ["NoSuchClass"]})


def test_a_damaged_configuration_is_a_fault(write: Write, tmp_path: Path) -> None:
    path = write()
    (tmp_path / "tiny" / "config.json").write_text("{")
    (fault,) = only(path).faults
    assert "cannot be read as JSON" in fault
    (tmp_path / "tiny" / "config.json").write_text("[]")
    with pytest.raises(CardError, match="has no model_type"):
        configuration(str(tmp_path / "tiny"))


def test_a_hub_id_without_a_bundled_configuration_is_not_checked(tmp_path: Path) -> None:
    text = (bundled_cards() / "deplot.yaml").read_text().replace("google/deplot", "some/model")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("name: deplot\n", "name: mine\n"))
    assert only(path).not_done == "no configuration of some/model is here"


def test_a_wrong_size_in_a_published_card_is_found(tmp_path: Path) -> None:
    text = (bundled_cards() / "blip2-opt-2.7b.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(
        text.replace("name: blip2-opt-2.7b\n", "name: mine\n").replace("value: 3744761856", "value: 2700000000")
    )
    (fault,) = only(path).faults
    assert "the card claims 2,700,000,000 (-27.9 %), its configuration builds 3,744,761,856" in fault


@pytest.mark.parametrize(
    ("checkpoint", "parameters", "tokens"),
    [
        ("google/deplot", 282_285_696, None),
        ("openai/clip-vit-base-patch32", 151_277_313, None),
        ("google/vit-base-patch16-224", 86_567_656, None),
        ("llava-hf/llava-1.5-7b-hf", 7_063_427_072, 576),
        ("Salesforce/blip2-opt-2.7b", 3_744_761_856, 32),
        ("google/paligemma-3b-mix-224", 2_923_466_480, 256),
        ("openai/whisper-tiny", 37_760_640, None),
    ],
)
def test_bundled_configurations_build_networks_of_the_published_size(
    checkpoint: str, parameters: int, tokens: int | None
) -> None:
    """Sizes that the hub shows for these checkpoints."""
    config = configuration(checkpoint)
    assert config is not None
    found = measure(build(config))
    assert (found.parameters, found.image_tokens) == (parameters, tokens)


def test_encoder_and_decoder_layers_add_up_and_convolutions_do_not_count() -> None:
    config = configuration("Salesforce/blip2-flan-t5-xl")
    assert config is not None
    language = measure(build(config)).language
    assert language is not None
    assert language.layers == 48
    config = configuration("facebook/wav2vec2-base-960h")
    assert config is not None
    audio = measure(build(config)).audio
    assert audio is not None
    assert audio.layers == 12


def test_a_family_with_a_network_of_its_own_is_checked_too(tmp_path: Path) -> None:
    """565.3 million is the size of mPLUG-large for questions, dead weights left out."""
    text = (bundled_cards() / "blip-vqa-base.yaml").read_text().replace("name: blip-vqa-base\n", "name: mine\n")
    text = text[: text.index("run:\n")] + "run:\n  family: mplug\n  checkpoint: a/b\n"
    text += "  options: {task: vqa, preset: large}\n"
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    faults = only(path).faults
    assert any("architecture.parameters: the card claims 361,230,140" in f and "builds 565," in f for f in faults)
    assert any("vision_encoder.layers: the card claims 12" in f and "builds 24" in f for f in faults)
