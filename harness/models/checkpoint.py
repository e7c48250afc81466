"""Where a checkpoint lies, what its weights are, and how they may be read: nothing is downloaded, no code is run.

A local folder is tried before the hub's cache. Weights are safetensors; `.bin`, `.pth` and `.pt` files are read only on
the card's word, with `weights_only=True`, and never by unpickling in full. A file may be a link: in a local folder the
bytes behind it are hashed, in the hub's cache it must stay within its repository, whose commit is the identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.fingerprint import file_sha256
from harness.records import ModelSettings

_PICKLE_SUFFIXES = (".bin", ".pth", ".pt")
_NOT_WEIGHTS = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")
_HEADER_LENGTH_BYTES = 8
_STORED_TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this disk."""

    name: str
    """The card's name, for messages."""
    folder: Path
    weights: tuple[Path, ...]
    """The files of weights, sorted by name."""
    hub_commit: str | None
    """`id@commit` where the folder is a snapshot of the hub's cache."""
    pickled: bool
    warnings: tuple[str, ...] = ()
    """What the reader of a result must know, such as a hub id without revision."""

    def identity(self) -> str:
        """`hub:<id>@<commit>`, or `sha256:<hash>` over the names and bytes of the files of weights."""
        if self.hub_commit:
            return f"hub:{self.hub_commit}"
        digest = hashlib.sha256()
        for file in self.weights:
            status = file.stat()
            digest.update(f"{file.name} {_file_hash(file, status.st_size, status.st_mtime_ns)}\n".encode())
        return f"sha256:{digest.hexdigest()}"

    def read_json(self, name: str) -> dict[str, Any]:
        """The contents of a JSON file of the folder; empty where the folder has no such file.

        Raises:
            ModelError: if the file is no JSON object.
        """
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.name}: {path} cannot be read: {error}; fetch the checkpoint again") from error
        if not isinstance(value, dict):
            raise ModelError(f"{self.name}: {path} holds no JSON object; fetch the checkpoint again")
        return value

    def settings_files(self) -> dict[str, str]:
        """Name → SHA-256 of every small file that shapes the input or the decoding: configuration, vocabulary."""
        small = (".json", ".model", ".txt", ".jinja")
        parts = [self.folder, *self.folder.glob("*tokenizer"), *self.folder.glob("*chat_templates")]
        files = sorted(f for part in parts if part.is_dir() for f in part.iterdir() if f.suffix in small)
        return {
            f.relative_to(self.folder).as_posix(): file_sha256(f)
            for f in files
            if f.is_file() and not f.name.endswith(".index.json")
        }

    def stored_type(self) -> str:
        """The type the weights are stored in, from the configuration or the first safetensors header."""
        config = self.read_json("config.json")
        named = config.get("dtype") or config.get("torch_dtype")
        if isinstance(named, str):
            return named.removeprefix("torch.")
        return _header_type(self.weights[0]) if not self.pickled else "float32"


@cache
def _file_hash(path: Path, _size: int, _mtime_ns: int) -> str:
    """SHA-256 of a file; size and time are there so that a changed file is read again within one process."""
    return file_sha256(path)


def _header_type(path: Path) -> str:
    """The first floating type in a safetensors header: 8 bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
    except ValueError as error:
        raise ModelError(f"{path}: no safetensors header ({error}); fetch the file again") from error
    types = (_STORED_TYPES.get(v.get("dtype", "")) for k, v in header.items() if k != "__metadata__")
    return next((t for t in types if t), "float32")


def locate(settings: ModelSettings, *, needs_config: bool = True) -> Checkpoint:
    """The checkpoint that a card names: a folder, else a snapshot in the hub's local cache.

    Args:
        needs_config: whether a folder without config.json is refused.

    Raises:
        ModelError: nothing is there, with the folder or id that was tried and the command that fetches it; or the
            weights are of a kind that the card does not allow.
    """
    given = settings.checkpoint
    if not given:
        raise ModelError(f"{settings.name}: run.checkpoint is missing; give a folder or a hub id")
    folder = Path(given).expanduser()
    if folder.is_dir():
        return _expected(settings, _opened(settings, folder, None, needs_config))
    if folder.exists():
        raise ModelError(f"{settings.name}: checkpoint {given} is a file; give the folder with config.json in it")
    if folder.is_absolute() or given.startswith((".", "~")) or given.count("/") > 1:
        raise ModelError(f"{settings.name}: there is no folder {given}; correct run.checkpoint")
    snapshot = _cached_snapshot(settings, given)
    found = _opened(settings, snapshot, f"{given}@{snapshot.name}")
    _check_links(settings, snapshot)
    return found if settings.revision == snapshot.name else replace(found, warnings=(_unpinned(settings, snapshot),))


def _expected(settings: ModelSettings, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, if its weights are those that the card names.

    Raises:
        ModelError: another file, damaged or of another training.
    """
    if settings.sha256 is None:
        return checkpoint
    file = checkpoint.weights[0]
    status = file.stat()
    found = _file_hash(file, status.st_size, status.st_mtime_ns)
    if len(checkpoint.weights) > 1 or found != settings.sha256:
        raise ModelError(
            f"{settings.name}: {file} has SHA-256 {found[:12]}…, the card says {settings.sha256[:12]}…: the file is "
            "damaged or of another training; install or train it again, or correct run.sha256"
        )
    return checkpoint


def _unpinned(settings: ModelSettings, snapshot: Path) -> str:
    """The warning of a hub id that names no commit: what it stands for can change."""
    named = f"run.revision is {settings.revision}" if settings.revision else "run.revision is not set"
    return (
        f"{settings.name}: {named}, so {settings.checkpoint} was taken at {snapshot.name}, the newest in the local "
        f"cache; pin it with revision: {snapshot.name}"
    )


def _check_links(settings: ModelSettings, snapshot: Path) -> None:
    """Refuse a snapshot with a link to outside its repository's folder in the cache.

    Raises:
        ModelError: naming the file and where it leads; its commit would not say what is read.
    """
    repository = snapshot.parent.parent.resolve()
    for file in sorted(snapshot.rglob("*")):
        if not file.resolve().is_relative_to(repository):
            raise ModelError(
                f"{settings.name}: {file} leads out of its repository's cache, to {file.resolve()}; fetch "
                f"{settings.checkpoint} again, or give the folder itself as run.checkpoint"
            )


def _cached_snapshot(settings: ModelSettings, repository: str) -> Path:
    """The folder of a hub repository's commit in the local cache; a branch or tag is resolved as last fetched."""
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError as error:
        raise ModelError(
            f'{settings.name}: huggingface_hub is not installed; pip install "vlm-harness[models]"'
        ) from error
    try:
        found = try_to_load_from_cache(repository, "config.json", revision=settings.revision)
    except HFValidationError as error:
        raise ModelError(
            f"{settings.name}: checkpoint {repository!r} is neither a folder here ({Path(repository).absolute()}) "
            "nor a hub id such as llava-hf/llava-1.5-7b-hf"
        ) from error
    if not isinstance(found, str):
        revision = f" --revision {settings.revision}" if settings.revision else ""
        raise ModelError(
            f"{settings.name}: checkpoint {repository!r}: there is no folder {Path(repository).absolute()}, and the "
            f"hub's local cache has no config.json of {repository} at {settings.revision or 'main'}; fetch it with "
            f"`hf download {repository}{revision}` (`huggingface-cli download` in older versions)"
        )
    return Path(found).parent


def _opened(settings: ModelSettings, folder: Path, hub_commit: str | None, needs_config: bool = True) -> Checkpoint:
    where = f"`hf download {hub_commit.partition('@')[0]}`" if hub_commit else "the folder that save_pretrained wrote"
    if needs_config and not (folder / "config.json").is_file():
        raise ModelError(f"{settings.name}: {folder} has no config.json; give {where}")
    safe = _safe_files(settings, folder)
    if safe:
        return Checkpoint(settings.name, folder, safe, hub_commit, pickled=False)
    pickled = _pickled_files(settings, folder)
    if not pickled:
        raise ModelError(f"{settings.name}: {folder} has no model.safetensors; fetch the weights with {where}")
    if not settings.allow_pickle:
        names = ", ".join(f.name for f in pickled)
        raise ModelError(
            f"{settings.name}: {folder} has only pickled weights ({names}), which can run code when read; convert "
            "them to safetensors (`harness convert` does it for mPLUG), or set run.allow_pickle: true to read their "
            "tensors and nothing else"
        )
    return Checkpoint(settings.name, folder, pickled, hub_commit, pickled=True)


def _safe_files(settings: ModelSettings, folder: Path) -> tuple[Path, ...]:
    single = folder / "model.safetensors"
    if single.is_file():
        return (single,)
    index = folder / "model.safetensors.index.json"
    return _indexed(settings, index) if index.is_file() else ()


def _pickled_files(settings: ModelSettings, folder: Path) -> tuple[Path, ...]:
    index = folder / "pytorch_model.bin.index.json"
    if index.is_file():
        return _indexed(settings, index)
    return tuple(
        sorted(f for f in folder.iterdir() if f.suffix in _PICKLE_SUFFIXES and not f.stem.startswith(_NOT_WEIGHTS))
    )


def _indexed(settings: ModelSettings, index: Path) -> tuple[Path, ...]:
    """The files an index names.

    Raises:
        ModelError: if one of them is missing or lies elsewhere, naming it.
    """
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(places.values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{settings.name}: {index} is no index of weights; fetch the checkpoint again") from error
    for name in names:
        if Path(name).name != name:
            raise ModelError(f"{settings.name}: {index} names a file outside its folder: {name}")
        if not (index.parent / name).is_file():
            raise ModelError(f"{settings.name}: {index.parent} lacks {name} of {len(names)} files; fetch it again")
    return tuple(index.parent / name for name in names)


def check_pickles(checkpoint: Checkpoint) -> None:
    """Refuse pickled weights that would call anything, without reading their tensors.

    Raises:
        ModelError: with the file and every name it would call.
    """
    import torch

    for file in checkpoint.weights:
        try:
            unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(str(file))
        except Exception as error:
            raise ModelError(f"{checkpoint.name}: {file} is no file of torch.save: {error}") from error
        if unsafe:
            raise ModelError(
                f"{checkpoint.name}: {file} calls {', '.join(sorted(unsafe))} when it is read; it is not loaded. "
                "Save its state_dict again as safetensors on a machine you can lose"
            )


def read_pickles(checkpoint: Checkpoint) -> dict[str, Any]:
    """All tensors of checked pickle files, by name.

    Raises:
        ModelError: a file holds something other than a flat mapping of names to tensors.
    """
    import torch

    check_pickles(checkpoint)
    state: dict[str, Any] = {}
    for file in checkpoint.weights:
        part = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(part, Mapping) or not all(isinstance(v, torch.Tensor) for v in part.values()):
            raise ModelError(f"{checkpoint.name}: {file} is no state_dict (names to tensors); save model.state_dict()")
        twice = sorted(state.keys() & part.keys())
        if twice:
            raise ModelError(f"{checkpoint.name}: {file} holds {twice[0]}, as another file of the folder does")
        state.update(part)
    return state


def remote_code(settings: ModelSettings) -> dict[str, Any]:
    """Arguments of from_pretrained that allow a repository's code: only for a commit given on the command line."""
    if settings.remote_code_commit is None:
        return {"trust_remote_code": False}
    return {"trust_remote_code": True, "code_revision": settings.remote_code_commit}
