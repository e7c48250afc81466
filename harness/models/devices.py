"""Device and number type of a model, decided without loading a tensor library where that is possible."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Sequence

from harness.errors import ModelError
from harness.models.checkpoint import Checkpoint
from harness.records import ModelSettings

NUMBER_TYPES = ("float32", "bfloat16", "float16")
_LIBRARIES = ("torch", "transformers", "tokenizers", "pillow")


def library_versions() -> dict[str, str]:
    """Library → version, for those whose version can change an answer.

    Raises:
        ModelError: one of them is not installed, with the command that installs it.
    """
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise ModelError(f'{name} is not installed; pip install "vlm-harness[models]"') from error
    return versions


def _has_cuda(torch_version: str) -> bool:
    """Whether torch sees a CUDA device; builds for the CPU alone are known by their version and not imported."""
    if torch_version.endswith("+cpu") or sys.platform == "darwin":
        return False
    import torch

    return bool(torch.cuda.is_available())


def resolved_device(settings: ModelSettings) -> str:
    """`cpu`, `cuda`, `cuda:1`, `mps`: what `device` means here; `auto` is a CUDA device where there is one.

    Raises:
        ModelError: an unknown name, or CUDA where there is none.
    """
    wanted = settings.device
    if wanted != "auto" and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", wanted):
        raise ModelError(f"{settings.name}: run.device is {wanted!r}; give auto, cpu, cuda, cuda:N or mps")
    if wanted != "auto" and not wanted.startswith("cuda"):
        return wanted
    if _has_cuda(library_versions()["torch"]):
        return "cuda" if wanted == "auto" else wanted
    if wanted == "auto":
        return "cpu"
    raise ModelError(f"{settings.name}: run.device is {wanted!r} and torch sees no CUDA device; give cpu or auto")


def resolved_dtype(settings: ModelSettings, checkpoint: Checkpoint, device: str) -> str:
    """The number type: as given; `auto` is float32 on a CPU and the stored type elsewhere.

    Raises:
        ModelError: a type that the harness does not run.
    """
    if settings.dtype != "auto":
        if settings.dtype not in NUMBER_TYPES:
            raise ModelError(f"{settings.name}: run.dtype is {settings.dtype!r}; give auto, {', '.join(NUMBER_TYPES)}")
        return settings.dtype
    if device == "cpu":
        return "float32"
    stored = checkpoint.stored_type()
    if stored not in NUMBER_TYPES:
        raise ModelError(f"{settings.name}: the weights are stored as {stored}; set run.dtype to one of {NUMBER_TYPES}")
    return stored


def reset_peak_memory(devices: Sequence[str]) -> None:
    """Start measuring the memory of CUDA devices anew."""
    if devices:
        import torch

        for device in devices:
            torch.cuda.reset_peak_memory_stats(device)


def peak_memory(devices: Sequence[str]) -> int | None:
    """Highest bytes that torch held since the reset, summed over CUDA devices; `None` where there are none."""
    if not devices:
        return None
    import torch

    return sum(int(torch.cuda.max_memory_allocated(device)) for device in devices)
