"""The checkpoint of an mPLUG card: which files, whether the options fit them, and where the weights are to be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.errors import ModelError
from harness.models.base import checked_options
from harness.models.checkpoint import Checkpoint, locate
from harness.models.devices import library_versions
from harness.models.mplug.options import MplugOptions
from harness.records import ModelSettings


def opened(settings: ModelSettings) -> tuple[MplugOptions, Checkpoint]:
    """The options of a card and the files of weights that they name; no weights are read.

    Raises:
        ModelError: options that make no sense together, or no checkpoint where the card says.
    """
    options = checked_options(settings, MplugOptions)
    if options.answers is not None and options.task != "vqa":
        raise ModelError(f"{settings.name}: run.options.answers is for task vqa; remove it")
    if options.task == "retrieval" and options.text_tokens == 0:
        raise ModelError(f"{settings.name}: run.options.pad_to is 0; retrieval needs texts of one length, such as 30")
    if 0 < options.text_tokens < 2 + options.text_end:
        raise ModelError(f"{settings.name}: run.options.pad_to is {options.pad_to}; no word fits, give 3 or more")
    library_versions()
    checkpoint = _located(settings)
    if options.weights is not None:
        file = checkpoint.folder / options.weights
        if file not in checkpoint.weights:
            names = ", ".join(f.name for f in checkpoint.weights)
            raise ModelError(f"{settings.name}: run.options.weights: {options.weights} is none of {names}")
        checkpoint = replace(checkpoint, weights=(file,))
    if checkpoint.pickled and len(checkpoint.weights) > 1 and not _is_sharded(checkpoint):
        names = ", ".join(f.name for f in checkpoint.weights)
        raise ModelError(f"{settings.name}: {checkpoint.folder} has {names}; name one as run.options.weights")
    return options, checkpoint


def _located(settings: ModelSettings) -> Checkpoint:
    folder = Path(settings.checkpoint or "").expanduser()
    if not settings.checkpoint or folder.exists():
        return locate(settings, needs_config=False)
    try:
        return locate(settings)
    except ModelError as error:
        raise ModelError(
            f"{error}. The released weights of mPLUG are on ModelScope: `modelscope download --model "
            f"{settings.checkpoint} --local_dir {folder}`, or give the folder where they are as run.checkpoint"
        ) from error


def _is_sharded(checkpoint: Checkpoint) -> bool:
    return (checkpoint.folder / "pytorch_model.bin.index.json").is_file()


def file_of(checkpoint: Checkpoint, option: str, name: str) -> Path:
    """A file named by an option: in the checkpoint's folder, or anywhere by an absolute path."""
    path = checkpoint.folder / Path(name).expanduser()
    if not path.is_file():
        raise ModelError(f"{checkpoint.name}: run.options.{option}: there is no file {path}")
    return path


def read_answers(path: Path) -> tuple[str, ...]:
    """The distinct lines of a closed list of answers.

    Raises:
        ModelError: there are none.
    """
    answers = tuple(dict.fromkeys(filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines()))))
    if not answers:
        raise ModelError(f"{path} has no answers; write one a line")
    return answers
