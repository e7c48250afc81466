"""Where checkpoints are found, how they are identified and what is refused. Evidence: properties and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import fingerprint
from harness.errors import ModelError
from harness.models import checkpoint
from harness.models.blip2 import Blip2
from harness.models.checkpoint import locate
from harness.models.llava import Llava
from harness.records import ModelSettings
from tests.model_inputs import GREEDY, items, settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def llava_copy(tiny_checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoints["llava"], tmp_path / "llava"))


@pytest.fixture
def hub_cache(tiny_checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds org/tiny-llava at one commit, fetched as `main`."""
    import huggingface_hub.constants

    repository = tmp_path / "hub" / "models--org--tiny-llava"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(tiny_checkpoints["llava"], repository / "snapshots" / COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def of(folder: Path | str, **fields: Any) -> ModelSettings:
    return ModelSettings("tiny", "llava", checkpoint=str(folder), device="cpu", **fields)


def pickled(folder: Path, file_name: str = "pytorch_model.bin") -> Path:
    """The folder with its weights in a file of torch.save instead of safetensors."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / file_name)
    (folder / "model.safetensors").unlink()
    return folder


def test_a_local_folder_is_taken_before_a_hub_id_of_the_same_name(
    hub_cache: Path, llava_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(of("org/tiny-llava")).identity() == f"hub:org/tiny-llava@{COMMIT}"
    shutil.copytree(llava_copy, tmp_path / "org" / "tiny-llava")
    assert locate(of("org/tiny-llava")).identity().startswith("sha256:")


def test_a_cached_hub_id_is_pinned_to_its_commit_and_answers_offline(hub_cache: Path, llava_copy: Path) -> None:
    cached, local = Llava.load(of("org/tiny-llava")), Llava.load(of(llava_copy))
    assert Llava.identify(of("org/tiny-llava", revision=COMMIT)).weights == f"hub:org/tiny-llava@{COMMIT}"
    batch = items("llava")
    assert cached.generate(cached.prepare(batch), GREEDY) == local.generate(local.prepare(batch), GREEDY)


@pytest.mark.parametrize("given", ["org/absent", "org/tiny-llava"])
def test_a_hub_id_that_is_not_cached_says_how_to_fetch_it(hub_cache: Path, given: str) -> None:
    with pytest.raises(ModelError, match=f"hf download {given} --revision v2") as caught:
        locate(of(given, revision="v2"))
    assert str(Path(given).absolute()) in str(caught.value)


@pytest.mark.parametrize("given", ["/absent/folder", "./absent", "a/b/c"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(given: str) -> None:
    with pytest.raises(ModelError, match=f"there is no folder {given}"):
        locate(of(given))


def test_no_checkpoint_a_file_and_an_impossible_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("")
    with pytest.raises(ModelError, match=r"run\.checkpoint is missing"):
        locate(ModelSettings("tiny", "llava"))
    with pytest.raises(ModelError, match="is a file"):
        locate(of(tmp_path / "weights"))
    with pytest.raises(ModelError, match=r"neither a folder here .* nor a hub id"):
        locate(of("not an id!"))


def test_identity_follows_bytes_and_names_of_the_weights_but_not_their_folder(
    llava_copy: Path, tiny_checkpoints: dict[str, Path]
) -> None:
    first = locate(of(llava_copy)).identity()
    assert first == locate(of(tiny_checkpoints["llava"])).identity()
    weights = llava_copy / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    assert locate(of(llava_copy)).identity() != first


def test_weights_are_hashed_once_in_a_process(llava_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return fingerprint.file_sha256(path)

    monkeypatch.setattr(checkpoint, "file_sha256", counted)
    assert locate(of(llava_copy)).identity() == locate(of(llava_copy)).identity()
    assert read == [llava_copy / "model.safetensors"]


@pytest.mark.parametrize("file_name", ["config.json", "processor_config.json", "tokenizer.json"])
def test_a_changed_setting_changes_the_identity_but_not_the_weights(llava_copy: Path, file_name: str) -> None:
    before = Llava.identify(of(llava_copy))
    path = llava_copy / file_name
    path.write_text(path.read_text() + "\n")
    after = Llava.identify(of(llava_copy))
    assert after.weights == before.weights
    assert after.processing["files"][file_name] != before.processing["files"][file_name]


def test_identify_loads_no_tensor_library(llava_copy: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; from harness.models.llava import Llava; from harness.records import ModelSettings\n"
        f"Llava.identify(ModelSettings('t', 'llava', checkpoint={str(llava_copy)!r}, device='cpu'))\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pickled_weights_are_refused_unless_the_card_allows_them(llava_copy: Path) -> None:
    pickled(llava_copy)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin.*allow_pickle: true"):
        Llava.identify(of(llava_copy))


@pytest.mark.parametrize("file_name", ["pytorch_model.bin", "weights.pth"])
def test_allowed_pickled_weights_give_the_same_answers(
    llava_copy: Path, tiny_checkpoints: dict[str, Path], file_name: str
) -> None:
    pickled(llava_copy, file_name)
    safe = Llava.load(settings("llava", tiny_checkpoints))
    other = Llava.load(of(llava_copy, allow_pickle=True))
    batch = items("llava")
    assert other.generate(other.prepare(batch), GREEDY) == safe.generate(safe.prepare(batch), GREEDY)


class Caller:
    """Pickles into a call that leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_calls_something_is_named_and_never_run(llava_copy: Path, tmp_path: Path) -> None:
    import torch

    (llava_copy / "model.safetensors").unlink()
    torch.save({"weight": Caller(tmp_path / "trace")}, llava_copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin calls (posix|nt|os)\.mkdir"):
        Llava.load(of(llava_copy, allow_pickle=True))
    assert not (tmp_path / "trace").exists()


def test_a_file_that_torch_did_not_write_is_refused(llava_copy: Path) -> None:
    (llava_copy / "model.safetensors").unlink()
    (llava_copy / "pytorch_model.bin").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"no file of torch\.save"):
        Llava.load(of(llava_copy, allow_pickle=True))


def test_a_missing_shard_is_named(llava_copy: Path) -> None:
    (llava_copy / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (llava_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks model-00001-of-00002\.safetensors"):
        locate(of(llava_copy))


def test_an_index_cannot_name_a_file_elsewhere(llava_copy: Path) -> None:
    (llava_copy / "model.safetensors").unlink()
    (llava_copy / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    with pytest.raises(ModelError, match="outside its folder"):
        locate(of(llava_copy))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_configuration_or_weights_is_refused(llava_copy: Path, missing: str) -> None:
    (llava_copy / missing).unlink()
    with pytest.raises(ModelError, match=missing.replace(".", r"\.")):
        locate(of(llava_copy))


def test_a_truncated_file_of_weights_is_an_error(llava_copy: Path) -> None:
    weights = llava_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded as LlavaForConditionalGeneration"):
        Llava.load(of(llava_copy))


def test_weights_that_are_not_all_there_are_refused(llava_copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(llava_copy / "model.safetensors")
    gone = next(name for name in weights if "multi_modal_projector" in name)
    save_file({k: v for k, v in weights.items() if k != gone}, llava_copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights .*answers would be random"):
        Llava.load(of(llava_copy))


def test_a_checkpoint_of_another_family_is_refused(tiny_checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="'llava'; family blip2 reads 'blip-2'"):
        Blip2.identify(settings("llava", tiny_checkpoints))


def test_weights_under_a_name_of_their_own_are_refused(llava_copy: Path) -> None:
    config = json.loads((llava_copy / "config.json").read_text())
    (llava_copy / "config.json").write_text(json.dumps({**config, "transformers_weights": "other.safetensors"}))
    with pytest.raises(ModelError, match="transformers_weights"):
        Llava.identify(of(llava_copy))


def test_remote_code_runs_only_for_a_commit_of_the_command_line() -> None:
    assert checkpoint.remote_code(of("x")) == {"trust_remote_code": False}
    allowed = checkpoint.remote_code(of("x", remote_code_commit=COMMIT))
    assert allowed == {"trust_remote_code": True, "code_revision": COMMIT}


def test_a_card_cannot_turn_remote_code_on_through_processor_options(llava_copy: Path) -> None:
    with pytest.raises(ModelError, match="trust_remote_code"):
        Llava.load(of(llava_copy, options={"processor": {"trust_remote_code": True}}))


def test_the_stored_type_is_read_from_the_header_where_the_configuration_is_silent(llava_copy: Path) -> None:
    config = json.loads((llava_copy / "config.json").read_text())
    config.pop("dtype", None)
    (llava_copy / "config.json").write_text(json.dumps(config))
    assert locate(of(llava_copy)).stored_type() == "float32"
    (llava_copy / "config.json").write_text(json.dumps({**config, "torch_dtype": "float16"}))
    assert locate(of(llava_copy)).stored_type() == "float16"
