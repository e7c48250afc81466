"""The bundled mPLUG cards. Evidence: every count is what the network of the card's size has on the meta device."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.cards.loading import load_card
from harness.errors import ModelError
from harness.models.mplug.family import Mplug
from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.options import MplugOptions
from harness.models.mplug.sizes import published

CARDS = ("mplug-base-caption", "mplug-large-caption", "mplug-large-vqa", "mplug-large-retrieval")


def parameters(parts: Iterable[nn.Module | None]) -> int:
    return sum(weight.numel() for part in parts if part is not None for weight in part.parameters())


@pytest.mark.parametrize("name", CARDS)
def test_a_cards_counts_are_those_of_the_network_it_describes(name: str) -> None:
    card = load_card(name).card
    assert card.run is not None
    assert card.describe is not None
    options, told = MplugOptions.model_validate(card.run.options), card.describe.architecture
    assert told.vision_encoder is not None
    assert told.language_model is not None
    assert options.preset is not None
    with torch.device("meta"):
        network = MplugNetwork(published(options.preset, options.task, image_px=told.vision_encoder.input_px.value))
    sizes = network.sizes
    assert told.parameters.value == parameters([network])
    assert told.vision_encoder.parameters.value == parameters([network.visual_encoder])
    text = [getattr(network, part, None) for part in ("text_encoder", "fusion_encoder", "text_decoder")]
    assert told.language_model.parameters.value == parameters(text)
    assert told.vision_encoder.layers.value == sizes.vision_layers
    assert told.vision_encoder.patch_px.value == sizes.patch_px
    assert told.image_tokens.value == sizes.image_tokens
    assert (told.connector is None) == (not sizes.has_bridge)
    layers = sum(len(part.encoder.layer) for part in text[:2] if part is not None)
    layers += len(network.text_decoder.bert.encoder.layer) if options.task != "retrieval" else 0
    assert told.language_model.layers.value == layers


@pytest.mark.parametrize("name", CARDS)
def test_a_card_whose_weights_are_not_here_says_where_they_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = load_card(name).settings(device="cpu")
    with pytest.raises(ModelError, match=f"modelscope download --model {given.checkpoint}"):
        Mplug.identify(given)
