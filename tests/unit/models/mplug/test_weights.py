"""Which checkpoints are read, which are refused and what is said. Evidence: bad input and properties."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.errors import ModelError
from harness.models.mplug.family import Mplug
from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.sizes import Task, published, sizes_of
from harness.models.mplug.weights import LoadReport, build, canonical_key, is_training_only, read_state, shapes_of
from tests.model_inputs import GREEDY, items
from tests.tiny_mplug import SETTINGS, pieces
from tests.unit.models.mplug.conftest import settings
from tests.unit.models.mplug.layout import live, released

States = Callable[[str], dict[str, Tensor]]
WORDS = "text_decoder.bert.embeddings.word_embeddings.weight"
HEAD = "text_decoder.cls.predictions"


def answers(folder: Path, task: str = "vqa", **fields: Any) -> Any:
    model = Mplug.load(settings(folder, task, **fields))
    return model.generate(model.prepare(items("mplug_vqa")), GREEDY)


def built(state: dict[str, Tensor], task: Task) -> tuple[MplugNetwork, LoadReport]:
    """A tiny network, with the sizes that a configuration names and only one weight shows."""
    told = {"positions": 64, "vocabulary": len(pieces())}
    return build("tiny", state, sizes_of(shapes_of(state), task, SETTINGS, told))


def pickled(folder: Path, content: Any, name: str = "mplug.pth") -> Path:
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(content, folder / name)
    return folder


@pytest.mark.parametrize("task", ["caption", "vqa", "retrieval"])
def test_every_live_key_that_is_missing_is_named(states: States, task: Any) -> None:
    state = states(task)
    for key in state:
        with pytest.raises(ModelError, match=re.escape(key) + ".*found nothing|lacks " + re.escape(key)):
            built({k: v for k, v in state.items() if k != key}, task)


@pytest.mark.parametrize("task", ["caption", "vqa", "retrieval"])
def test_every_live_key_of_another_shape_is_named_with_both_shapes(states: States, task: Any) -> None:
    state = states(task)
    unlike = ("visual_encoder.visual.conv1.weight", "visual_encoder.visual.positional_embedding")
    for key, tensor in state.items():
        if key in unlike:
            continue
        expected, found = tuple(tensor.shape), (tensor.shape[0] + 1, *tensor.shape[1:])
        message = re.escape(f"{key}: expected {expected}, found {found}")
        with pytest.raises(ModelError, match=message):
            built({**state, key: torch.zeros(found)}, task)


def test_a_truncated_table_of_positions_is_refused(states: States) -> None:
    key = "visual_encoder.visual.positional_embedding"
    state = states("vqa")
    with pytest.raises(ModelError, match=r"positional_embedding: expected a square grid .* found 16 rows"):
        built({**state, key: state[key][:-1]}, "vqa")


def test_live_keys_of_released_sizes_are_the_only_ones_asked_for() -> None:
    sizes = published("large", "vqa")
    state = {key: torch.empty(shape, device="meta") for key, shape in live(sizes).items() if key != "visn_fc.bias"}
    message = r"1 of 878 weights do not fit: visn_fc\.bias: expected \(768,\), found nothing"
    with pytest.raises(ModelError, match=message):
        build("large", state, sizes)


def test_dead_weights_momentum_copies_and_queues_are_counted_by_group(states: States) -> None:
    state = states("retrieval")
    extra = {key: torch.zeros(1) for key in released(published("large", "retrieval"), 768) if key not in state}
    extra = {
        k: v for k, v in extra.items() if not re.search(r"(text_encoder|visual)\..*\.([2-9]|\d\d)\.|layer\.\d\d", k)
    }
    extra = {k: v for k, v in extra.items() if not re.match(r"fusion_encoder\.encoder\.layer\.[4-9]", k)}
    momentum = {k.replace("encoder.", "encoder_m.", 1): v for k, v in state.items() if "encoder." in k}
    momentum |= {"vision_proj_m.weight": torch.zeros(1), "visn_layer_norm_m.bias": torch.zeros(1)}
    network, report = built({**state, **extra, **momentum, "odd": torch.zeros(1)}, "retrieval")
    assert report.live == len(network.state_dict()) == len(state)
    counts = {group: len(keys) for group, keys in report.ignored.items()}
    assert counts["momentum copies"] == len(momentum)
    assert counts["queues and temperature"] == 5
    assert counts["position numbers"] == 2
    assert counts["embeddings of the fusion encoder"] == 5
    assert counts["fusion layers that do not run"] == 26
    assert counts["unknown"] == 1
    assert sum(counts.values()) == len(extra) + len(momentum) + 1
    assert any("momentum copies" in line for line in report.lines())


def test_a_caption_model_is_read_from_a_question_checkpoint_and_says_what_it_leaves(states: States) -> None:
    network, report = built(states("vqa"), "caption")
    assert not hasattr(network, "fusion_encoder")
    assert len(report.ignored["parts of another task"]) == 16 * 2 + 5


def test_tied_copies_are_accepted_where_equal_and_refused_where_not(states: States) -> None:
    state = states("vqa")
    tied = {f"{HEAD}.decoder.weight": state[WORDS], f"{HEAD}.decoder.bias": state[f"{HEAD}.bias"]}
    _, report = built({**state, **tied}, "vqa")
    assert len(report.ignored["tied copies of the decoder's head"]) == 2
    for key, tensor in tied.items():
        with pytest.raises(ModelError, match=re.escape(key) + " differs from .* one weight"):
            built({**state, **tied, key: tensor + 1}, "vqa")
        with pytest.raises(ModelError, match=re.escape(key) + r": expected .*, found \("):
            built({**state, **tied, key: tensor[1:]}, "vqa")


@pytest.mark.parametrize(
    ("stored", "canonical"),
    [
        ("module.model.visn_fc.bias", "visn_fc.bias"),
        ("text_encoder.bert.embeddings.LayerNorm.bias", "text_encoder.embeddings.LayerNorm.bias"),
        ("text_encoder_m.bert.encoder.layer.0.output.dense.bias", "text_encoder_m.encoder.layer.0.output.dense.bias"),
        ("fusion_encoder.fusion.encoder.layer.1.output.dense.bias", "fusion_encoder.encoder.layer.1.output.dense.bias"),
        ("text_decoder.bert.embeddings.LayerNorm.bias", "text_decoder.bert.embeddings.LayerNorm.bias"),
        ("text_encoder.encoder.layer.0.model.bias", "text_encoder.encoder.layer.0.model.bias"),
    ],
)
def test_prefixes_go_and_inner_names_stay(stored: str, canonical: str) -> None:
    assert canonical_key(stored) == canonical


def test_training_only_keys_are_no_live_ones() -> None:
    assert not any(map(is_training_only, live(published("large", "retrieval"))))
    for key in ("text_decoder_m.bert.x", "visn_fc_m.weight", "image_queue", "queue_ptr", "text_encoder.x.position_ids"):
        assert is_training_only(key)


@pytest.mark.parametrize("wrapped", ["", "model", "module"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_pickled_checkpoint_gives_the_same_answers_however_it_is_wrapped(
    copied: Callable[[str], Path], states: States, wrapped: str, prefix: str
) -> None:
    folder = copied("vqa")
    expected = answers(folder)
    state = {prefix + key: tensor for key, tensor in states("vqa").items()}
    beside = {
        "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-5}]},
        "epoch": 7,
        "config": {"a": [1]},
    }
    pickled(folder, {wrapped: state, **beside} if wrapped else state)
    assert answers(folder, allow_pickle=True) == expected


def test_names_of_pre_training_are_understood(copied: Callable[[str], Path], states: States) -> None:
    folder = copied("vqa")
    expected = answers(folder)
    renamed = {
        re.sub(r"^fusion_encoder\.", "fusion_encoder.fusion.", re.sub(r"^text_encoder\.", "text_encoder.bert.", key)): v
        for key, v in states("vqa").items()
    }
    assert answers(pickled(folder, {"model": renamed}), allow_pickle=True) == expected


def test_files_from_before_torch_1_6_are_read_under_the_same_rule(
    copied: Callable[[str], Path], states: States, tmp_path: Path
) -> None:
    folder = copied("vqa")
    expected = answers(folder)
    (folder / "model.safetensors").unlink()
    torch.save(states("vqa"), folder / "old.pth", _use_new_zipfile_serialization=False)
    assert answers(folder, allow_pickle=True) == expected
    torch.save({"model": Caller(tmp_path / "trace")}, folder / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"old\.pth is no file of torch\.save that holds tensors"):
        answers(folder, allow_pickle=True)
    assert not (tmp_path / "trace").exists()


class Caller:
    """Pickles into a call that leaves a folder behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_calls_something_is_named_and_never_run(
    copied: Callable[[str], Path], states: States, tmp_path: Path
) -> None:
    folder = pickled(copied("vqa"), {"model": states("vqa"), "config": Caller(tmp_path / "trace")})
    with pytest.raises(ModelError, match=r"mplug\.pth calls (posix|nt|os)\.mkdir when it is read"):
        answers(folder, allow_pickle=True)
    assert not (tmp_path / "trace").exists()


def test_pickled_weights_are_refused_unless_the_card_allows_them(copied: Callable[[str], Path], states: States) -> None:
    folder = pickled(copied("vqa"), states("vqa"))
    with pytest.raises(ModelError, match=r"mplug\.pth.*allow_pickle: true"):
        Mplug.identify(settings(folder, "vqa"))


@pytest.mark.parametrize("content", [{}, {"model": {"epoch": 3}}, [1, 2], {"a": torch.zeros(1), "b": "text"}])
def test_a_pickle_without_a_state_dict_is_refused(copied: Callable[[str], Path], content: Any) -> None:
    with pytest.raises(ModelError, match=r"mplug\.pth holds no state dict"):
        answers(pickled(copied("vqa"), content), allow_pickle=True)


def test_of_several_pickled_files_the_card_names_one(copied: Callable[[str], Path], states: States) -> None:
    folder = pickled(copied("vqa"), states("vqa"), "checkpoint_07.pth")
    pickled(folder, {"epoch": 1}, "checkpoint_06.pth")
    with pytest.raises(ModelError, match=r"checkpoint_06\.pth, checkpoint_07\.pth; name one as run\.options\.weights"):
        answers(folder, allow_pickle=True)
    assert answers(folder, allow_pickle=True, options={"weights": "checkpoint_07.pth"})
    with pytest.raises(ModelError, match=r"run\.options\.weights: other\.pth is none of"):
        answers(folder, allow_pickle=True, options={"weights": "other.pth"})


def test_a_damaged_safetensors_file_and_a_repeated_key_are_refused(
    copied: Callable[[str], Path], states: States
) -> None:
    folder = copied("vqa")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read.*fetch it again"):
        answers(folder)
    state = states("vqa")
    pickled(folder, {**state, f"module.{WORDS}": state[WORDS]})
    with pytest.raises(ModelError, match=f"holds {re.escape(WORDS)} twice"):
        answers(folder, allow_pickle=True)


def test_read_state_gives_canonical_keys(copied: Callable[[str], Path], states: States) -> None:
    from harness.models.checkpoint import locate

    folder = pickled(copied("vqa"), {"module": {f"module.{k}": v for k, v in states("vqa").items()}})
    read = read_state(locate(settings(folder, "vqa", allow_pickle=True), needs_config=False))
    assert read.keys() == states("vqa").keys()
