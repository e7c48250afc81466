"""Our mPLUG gives what the released model code gives. Evidence: agreement with the official implementation.

Each folder of MPLUG_PARITY_DIR (by default ../shared/data/mplug_parity) holds a small model's configuration, weights in
the released layout, inputs and the released code's outputs. States and logits agree within 2e-4 + 1e-4 of the value
(float32 against float64 differs by up to 5e-5), scores within 1e-4, tokens and orders exactly.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.models.checkpoint import Checkpoint
from harness.models.mplug.beams import beam_search
from harness.models.mplug.decoder import Context
from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.options import MplugOptions, resolved_sizes, stated
from harness.models.mplug.ranking import rank_answers
from harness.models.mplug.weights import build, read_state, shapes_of
from tests.conftest import SHARED_DATA

FOLDER = Path(os.environ.get("MPLUG_PARITY_DIR", SHARED_DATA / "mplug_parity"))
CASES = {path.parent.name: load_file(path) for path in sorted(FOLDER.glob("*/io.safetensors"))}
ABSOLUTE, RELATIVE, SCORE = 2e-4, 1e-4, 1e-4
TOP_K = 4


@dataclass(frozen=True)
class Case:
    config: dict[str, Any]
    io: dict[str, Tensor]
    network: MplugNetwork
    decodes_from: Context | None

    def agrees(self, name: str, found: Tensor) -> None:
        torch.testing.assert_close(found, self.io[name], atol=ABSOLUTE, rtol=RELATIVE)


def over(*tensors: str) -> pytest.MarkDecorator:
    """Runs a test over every case whose reference has these tensors."""
    names = [name for name, io in CASES.items() if all(tensor in io for tensor in tensors)]
    absent = [pytest.param("", marks=pytest.mark.skip(f"no cases in {FOLDER}"))]
    return pytest.mark.parametrize("case", names or absent, indirect=True)


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    folder = FOLDER / request.param
    config = json.loads((folder / "config.json").read_text())
    checkpoint = Checkpoint(request.param, folder, (folder / "model.safetensors",), None, pickled=False)
    state, io = read_state(checkpoint), CASES[request.param]
    # A captioning checkpoint holds the text and fusion encoders too, and their outputs are among the reference's.
    task = "retrieval" if config["task"] == "retrieval" else "vqa"
    found = stated(MplugOptions(task=task), checkpoint)
    network, _ = build(request.param, state, resolved_sizes(found, shapes_of(state), checkpoint, task))
    context = None
    if task == "vqa":
        with torch.inference_mode():
            image = network.image_states(io["in.pixel_values"])
            question = (io["in.question_ids"], io["in.question_mask"]) if config["task"] == "vqa" else ()
            context = network.decoder_context(image, *question)
    return Case(config, io, network, context)


@pytest.fixture
def context(case: Case) -> Context:
    assert case.decodes_from is not None
    return case.decodes_from


@over("out.vision_states")
@torch.inference_mode()
def test_states_of_every_part_are_the_released_ones(case: Case) -> None:
    io, network = case.io, case.network
    vision = network.visual_encoder(io["in.pixel_values"])
    case.agrees("out.vision_states", vision)
    image = network.bridged(vision)
    case.agrees("out.image_embeds", image)
    mask = io["in.question_mask"]
    text = network.text_encoder(io["in.question_ids"], mask)
    case.agrees("out.text_states", text)
    fused_image, fused_text = network.fusion_encoder(image, text, mask)
    case.agrees("out.fusion_image_states", fused_image)
    case.agrees("out.fusion_text_states", fused_text)
    assert bool((fused_image != image).any()) == bool(io["check.image_stream_changed"])


@over("out.decoder_logits")
@torch.inference_mode()
def test_logits_of_given_answers_are_the_released_ones(case: Case, context: Context) -> None:
    logits = case.network.text_decoder(case.io["in.answer_ids"], context, mask=case.io["in.answer_mask"])
    case.agrees("out.decoder_logits", logits)


@over("out.beam_ids")
@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("search", ["greedy", "beam"])
@torch.inference_mode()
def test_tokens_lengths_order_and_scores_are_the_released_ones(
    case: Case, context: Context, search: str, use_cache: bool
) -> None:
    config, io = case.config, case.io
    found = beam_search(
        case.network.text_decoder,
        context,
        beams=1 if search == "greedy" else config["beam_size"],
        min_length=config["min_length"],
        max_length=config["max_length"],
        use_cache=use_cache,
    )
    ids, lengths, scores = (io[f"out.{search}_{name}"] for name in ("ids", "lengths", "scores"))
    for example, hypotheses in enumerate(found):
        count = ids.shape[1]
        expected = [tuple(row[:n].tolist()) for row, n in zip(ids[example], lengths[example], strict=True)]
        assert [h.ids for h in hypotheses[:count]] == expected
        assert [h.score for h in hypotheses[:count]] == pytest.approx(scores[example].tolist(), abs=SCORE)


@over("out.beam_ids")
@torch.inference_mode()
def test_each_example_alone_gives_what_the_batch_gives(case: Case, context: Context) -> None:
    config = case.config
    for example in range(len(context)):
        (alone,) = beam_search(
            case.network.text_decoder,
            context.rows(torch.tensor([example])),
            beams=config["beam_size"],
            min_length=config["min_length"],
            max_length=config["max_length"],
        )
        length = case.io["out.beam_lengths"][example, 0]
        assert alone[0].ids == tuple(case.io["out.beam_ids"][example, 0, :length].tolist())


@over("in.rank_candidate_ids")
@torch.inference_mode()
def test_answers_are_ranked_in_the_released_order(case: Case, context: Context) -> None:
    io = case.io
    ids, mask = io["in.rank_candidate_ids"], io["in.rank_candidate_mask"]
    ranking = rank_answers(case.network.text_decoder, context, ids, mask, TOP_K)
    assert ranking.index.tolist() == io["out.rank_topk_index"].tolist()
    case.agrees("out.rank_topk_prob", ranking.probability)


@over("out.itm_logits")
@torch.inference_mode()
def test_similarities_and_matching_logits_are_the_released_ones(case: Case) -> None:
    io, network = case.io, case.network
    image = network.image_states(io["in.pixel_values"])
    text = network.text_encoder(io["in.question_ids"], io["in.question_mask"])
    image_vectors, text_vectors = network.image_features(image), network.text_features(text)
    case.agrees("out.image_feat", image_vectors)
    case.agrees("out.text_feat", text_vectors)
    case.agrees("out.itc_similarity", image_vectors @ text_vectors.T)
    logits = [network.match_logits(one.expand(len(text), -1, -1), text, io["in.question_mask"]) for one in image]
    case.agrees("out.itm_logits", torch.stack(logits))


@pytest.mark.skipif(not CASES, reason=f"no cases in {FOLDER}")
def test_every_case_is_compared_in_what_its_task_puts_out() -> None:
    for name, io in CASES.items():
        written = {"out.decoder_logits", "out.greedy_ids", "out.beam_ids"} <= set(io)
        assert written != ({"out.itm_logits", "out.itc_similarity"} <= set(io)), name
