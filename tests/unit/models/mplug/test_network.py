"""Parts of the network against the specification. Evidence: worked examples, torch's own layers, and properties."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.errors import ModelError
from harness.models.mplug.beams import beam_search
from harness.models.mplug.bert import additive
from harness.models.mplug.decoder import Past
from harness.models.mplug.family import Mplug
from harness.models.mplug.inputs import pixels
from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.sizes import POSITION_TABLE
from harness.models.mplug.vision import VisionTower, resized_positions
from harness.models.mplug.weights import build
from tests.model_inputs import picture
from tests.tiny_mplug import SETTINGS, sizes

Models = Callable[[str], Mplug]
ATOL = 5e-5  # float32 sums in another order; states are of the size of 1


def question(rows: int = 3) -> tuple[Tensor, Tensor]:
    """Padded questions of 6, 4 and 3 tokens."""
    ids = torch.tensor([[101, 110, 115, 120, 121, 130], [101, 111, 112, 113, 0, 0], [101, 140, 141, 0, 0, 0]])[:rows]
    return ids, (ids != 0).long()


def images(rows: int = 3) -> Tensor:
    return pixels([picture(n) for n in range(rows)], SETTINGS.image_px)


def test_positions_are_resized_bilinearly_and_the_class_row_is_kept() -> None:
    # One channel. A 2 x 2 grid made 4 x 4 without aligned corners samples at -0.25, 0.25, 0.75, 1.25 (clamped).
    table = torch.tensor([[9.0], [0.0], [4.0], [8.0], [12.0]])
    rows = resized_positions(table, 4)[:, 0]
    assert rows[0] == 9.0
    across = [0.0, 1.0, 3.0, 4.0]
    down = [0.0, 2.0, 6.0, 8.0]
    assert rows[1:].tolist() == pytest.approx([a + b for b in down for a in across])


def test_positions_of_the_same_grid_are_left_as_they_are_and_half_precision_is_kept() -> None:
    table = torch.randn(10, 4)
    assert resized_positions(table, 3) is table
    half = resized_positions(table.half(), 5)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), resized_positions(table.half().float(), 5), atol=2e-3, rtol=0)
    with pytest.raises(ModelError, match="square grid"):
        resized_positions(torch.zeros(9, 4), 3)


def test_another_image_side_resizes_the_stored_table_once_and_says_so(states: Any) -> None:
    state = states("vqa")
    wider = dataclasses.replace(sizes("vqa"), settings=dataclasses.replace(SETTINGS, image_px=48))
    network, report = build("tiny", state, wider)
    table = network.state_dict()[POSITION_TABLE]
    assert torch.equal(table, resized_positions(state[POSITION_TABLE], 6))
    assert report.notes == ("positions resized from 32 to 48 pixels",)
    assert network.image_states(torch.zeros(1, 3, 48, 48)).shape == (1, 37, 32)


@torch.inference_mode()
def test_the_tower_is_clips_pre_norm_transformer(models: Models) -> None:
    tower = models("vqa").network.visual_encoder
    assert isinstance(tower, VisionTower)
    parts = tower.visual
    patches = parts.conv1(images()).flatten(2).transpose(1, 2)
    states = torch.cat([parts.class_embedding.expand(3, 1, -1), patches], dim=1) + parts.positional_embedding
    states = parts.ln_pre(states)
    for block in parts.transformer.resblocks:
        attention = nn.MultiheadAttention(64, 1, batch_first=True)
        attention.load_state_dict(block.attn.state_dict())
        normal = block.ln_1(states)
        states = states + attention(normal, normal, normal, need_weights=False)[0]
        wide = block.mlp.c_fc(block.ln_2(states))
        states = states + block.mlp.c_proj(wide * torch.sigmoid(1.702 * wide))
    torch.testing.assert_close(tower(images()), parts.ln_post(states), atol=ATOL, rtol=1e-4)


@torch.inference_mode()
def test_the_text_encoder_is_the_librarys_bert_without_a_pooler(models: Models) -> None:
    from transformers import BertConfig, BertModel

    ours = models("vqa").network.text_encoder
    config = BertConfig(
        vocab_size=models("vqa").network.sizes.vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    library = BertModel(config, add_pooling_layer=False).eval()
    library.load_state_dict(ours.state_dict(), strict=True)
    ids, mask = question()
    theirs = library(ids, attention_mask=mask).last_hidden_state
    # What stands at a pad is no one's business: no one attends to it.
    torch.testing.assert_close(ours(ids, mask)[mask.bool()], theirs[mask.bool()], atol=ATOL, rtol=1e-4)


def test_masks_are_finite_in_every_number_type() -> None:
    mask = torch.tensor([[1, 0]])
    assert additive(mask, -10000.0, torch.float32).tolist() == [[0.0, -10000.0]]
    assert additive(mask, -1e9, torch.float16).tolist() == [[0.0, -65504.0]]


@torch.inference_mode()
def test_the_image_stream_changes_only_in_a_connected_layer_and_skips_around_it(models: Models) -> None:
    network = models("vqa").network
    image = network.image_states(images())
    ids, mask = question()
    text = network.text_encoder(ids, mask)
    connected, _ = network.fusion_encoder(image, text, mask)
    assert not torch.allclose(connected, image)
    plain = MplugNetwork(dataclasses.replace(sizes("vqa"), settings=dataclasses.replace(SETTINGS, stride_layer=3)))
    plain.load_state_dict(network.state_dict())
    same, other = plain.eval().fusion_encoder(image, text, mask)
    assert torch.equal(same, image)
    assert other.shape == text.shape
    # Three layers of stride 2: the last one, 3, joins; what it adds is its image part.
    first, second, joining = network.fusion_encoder.encoder.layers()
    stream, added = text, additive(mask, -10000.0, torch.float32)[:, None, None, :]
    for layer in (first, second):
        stream = layer.attend_self(stream, added)
        stream = layer.crossattention(stream, layer.crossattention.keys_values(image), None)
        stream = layer.feed_forward(stream)
    both = torch.cat([torch.zeros(3, 1, 1, image.shape[1]), added], dim=-1)
    joined = joining.feed_forward(joining.attend_self(torch.cat([image, stream], dim=1), both))
    torch.testing.assert_close(connected, image + joined[:, : image.shape[1]], atol=ATOL, rtol=1e-4)


@torch.inference_mode()
def test_weights_of_the_unused_cross_attention_of_a_connected_layer_do_not_matter(models: Models) -> None:
    network = MplugNetwork(sizes("vqa")).eval()
    network.load_state_dict(models("vqa").network.state_dict())
    ids, mask = question()
    image = network.image_states(images())
    before = network.text_decoder(ids, network.decoder_context(image, ids, mask))
    for weight in network.fusion_encoder.encoder.layers()[-1].crossattention.parameters():
        weight.zero_()
    assert torch.equal(network.text_decoder(ids, network.decoder_context(image, ids, mask)), before)


@pytest.mark.parametrize("task", ["caption", "vqa"])
@torch.inference_mode()
def test_three_images_give_three_different_logits(models: Models, task: str) -> None:
    network = models(task).network
    ids, mask = (t[:1].expand(3, -1) for t in question())
    asked = (ids, mask) if task == "vqa" else ()
    logits = network.text_decoder(ids, network.decoder_context(network.image_states(images()), *asked))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert float((logits[one] - logits[other]).abs().max()) > 0.1


@torch.inference_mode()
def test_three_questions_give_three_different_logits(models: Models) -> None:
    network = models("vqa").network
    ids, mask = question()
    image = network.image_states(images(1)).expand(3, -1, -1)
    logits = network.text_decoder(torch.full((3, 1), 101), network.decoder_context(image, ids, mask))
    assert float((logits[0] - logits[1]).abs().max()) > 0.1
    assert float((logits[1] - logits[2]).abs().max()) > 0.1


@torch.inference_mode()
def test_padding_and_neighbours_do_not_change_a_questions_logits(models: Models) -> None:
    network = models("vqa").network
    ids, mask = question()
    start = torch.full((3, 1), 101)
    together = network.text_decoder(start, network.decoder_context(network.image_states(images()), ids, mask))
    for row in range(3):
        length = int(mask[row].sum())
        image = network.image_states(images()[row : row + 1])
        context = network.decoder_context(image, ids[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(network.text_decoder(start[:1], context)[0], together[row], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_token_sees_only_what_is_before_it_with_and_without_a_past(models: Models) -> None:
    network = models("vqa").network
    ids, mask = question(1)
    context = network.decoder_context(network.image_states(images(1)), ids, mask)
    whole = network.text_decoder(ids, context)
    changed = network.text_decoder(torch.cat([ids[:, :-1], torch.tensor([[7]])], dim=1), context)
    assert torch.equal(whole[:, :-1], changed[:, :-1])
    past = Past()
    steps = [network.text_decoder(ids[:, n : n + 1], context, past=past) for n in range(ids.shape[1])]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-4, rtol=1e-4)
    past = Past()
    halves = [network.text_decoder(part, context, past=past) for part in (ids[:, :2], ids[:, 2:])]
    torch.testing.assert_close(torch.cat(halves, dim=1), whole, atol=1e-4, rtol=1e-4)


def test_the_head_is_tied_to_the_words(models: Models) -> None:
    decoder = models("caption").network.text_decoder
    assert decoder.word_weights is decoder.bert.embeddings.word_embeddings.weight
    assert not any("cls.predictions.decoder" in key for key in decoder.state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_half_precision_gives_finite_logits_near_those_of_single(
    states: Any, models: Models, dtype: torch.dtype
) -> None:
    network, _ = build("tiny", states("vqa"), sizes("vqa"), dtype)
    ids, mask = question()
    context = network.decoder_context(network.image_states(images().to(dtype)), ids, mask)
    logits = network.text_decoder(ids, context)
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())
    exact = models("vqa").network
    single = exact.text_decoder(ids, exact.decoder_context(exact.image_states(images()), ids, mask))
    cosine = nn.functional.cosine_similarity(logits.flatten(), single.flatten(), dim=0)
    assert float(cosine) > 0.95


@torch.inference_mode()
def test_features_have_length_one_and_matching_has_two_logits(models: Models) -> None:
    network = models("retrieval").network
    ids, mask = question()
    image, text = network.image_states(images()), network.text_encoder(ids, mask)
    for vectors in (network.image_features(image), network.text_features(text)):
        assert vectors.shape == (3, 16)
        assert vectors.norm(dim=1).tolist() == pytest.approx([1.0] * 3)
    assert network.match_logits(image, text, mask).shape == (3, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@torch.inference_mode()
def test_a_cuda_device_gives_the_tokens_of_the_cpu(models: Models) -> None:
    here = models("vqa").network
    there = MplugNetwork(sizes("vqa")).eval()
    there.load_state_dict(here.state_dict())
    there = there.to("cuda")
    ids, mask = question()
    found = []
    for network in (here, there):
        image = network.image_states(images().to(network.device))
        context = network.decoder_context(image, ids.to(network.device), mask.to(network.device))
        beams = beam_search(network.text_decoder, context, beams=3, min_length=1, max_length=8)
        found.append([[h.ids for h in hypotheses] for hypotheses in beams])
        assert math.isfinite(beams[0][0].score)
    assert found[0] == found[1]
