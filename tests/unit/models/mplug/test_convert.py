"""From a pickled file to safetensors. Evidence: the converted folder gives the answers of the pickled one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from harness.errors import ModelError
from harness.fingerprint import file_sha256
from harness.models.mplug.convert import convert_checkpoint
from harness.models.mplug.family import Mplug
from tests.model_inputs import GREEDY, items
from tests.unit.models.mplug.conftest import settings

States = Callable[[str], dict[str, Tensor]]
WORDS = "text_decoder.bert.embeddings.word_embeddings.weight"


@pytest.fixture
def source(copied: Callable[[str], Path], states: States) -> Path:
    """A training checkpoint with momentum copies, tied weights that share memory, and an optimizer."""
    folder = copied("vqa")
    (folder / "model.safetensors").unlink()
    state = states("vqa")
    everything = {f"module.{key}": tensor for key, tensor in state.items()}
    everything["module.text_decoder.cls.predictions.decoder.weight"] = state[WORDS]
    everything["module.text_encoder_m.embeddings.LayerNorm.bias"] = torch.zeros(32)
    everything["module.text_encoder.embeddings.position_ids"] = torch.arange(64)[None]
    everything["module.visual_encoder.visual.proj"] = torch.zeros(64, 8).T
    torch.save({"model": everything, "optimizer": {"lr": 1.0}, "epoch": 3}, folder / "mplug.pth")
    return folder / "mplug.pth"


def answers(folder: Path, **fields: Any) -> Any:
    model = Mplug.load(settings(folder, "vqa", **fields))
    return model.generate(model.prepare(items("mplug_vqa")), GREEDY)


def test_the_converted_folder_answers_as_the_pickled_file_and_needs_no_permission(source: Path, tmp_path: Path) -> None:
    done = convert_checkpoint(source, tmp_path / "safe")
    assert answers(tmp_path / "safe") == answers(source.parent, allow_pickle=True)
    assert done.folder == tmp_path / "safe"
    assert done.dropped == ("text_encoder.embeddings.position_ids", "text_encoder_m.embeddings.LayerNorm.bias")
    assert set(done.copied) == {"vocab.txt", "config_bert.json"}
    assert done.lacks == ()
    with safe_open(tmp_path / "safe" / "model.safetensors", "pt") as file:
        keys = set(file.keys())
        assert file.metadata()["source_sha256"] == file_sha256(source)
    assert done.kept == len(keys)
    assert {"visual_encoder.visual.proj", WORDS} <= keys
    assert not any(key.startswith(("module.", "text_encoder_m.")) for key in keys)


def test_what_a_run_needs_and_is_not_there_is_told(source: Path, tmp_path: Path) -> None:
    (source.parent / "vocab.txt").unlink()
    assert convert_checkpoint(source, tmp_path / "safe").lacks == ("vocab.txt",)


def test_a_folder_with_files_is_not_written_into(source: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("")
    with pytest.raises(ModelError, match="not an empty folder"):
        convert_checkpoint(source, tmp_path / "full")
    assert [f.name for f in (tmp_path / "full").iterdir()] == ["notes"]


class Caller:
    """Pickles into a call that leaves a folder behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("call", r"calls (posix|nt|os)\.mkdir"),
        ({"bert.x": torch.zeros(1)}, "no weights of mPLUG"),
        (b"x", "no file of"),
    ],
)
def test_a_file_that_is_no_safe_checkpoint_leaves_nothing_behind(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(Caller(tmp_path / "trace") if content == "call" else content, path)
    with pytest.raises(ModelError, match=message):
        convert_checkpoint(path, tmp_path / "safe")
    assert [f.name for f in tmp_path.iterdir()] == ["weights.pth"]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no file .*absent\.pth"):
        convert_checkpoint(tmp_path / "absent.pth", tmp_path / "safe")
