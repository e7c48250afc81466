"""Weights in 8 or 4 bits by the bitsandbytes library, on GPUs and CPUs.

Sources: Dettmers et al. 2022 (LLM.int8(), arXiv 2208.07339) and 2023 (QLoRA with NF4, arXiv 2305.14314).
"""

from __future__ import annotations

import importlib.metadata
import logging
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import ModelError
from harness.records import ModelSettings

if TYPE_CHECKING:
    import torch

Quantization = Literal["int8", "nf4", "fp4"]


def quantization_identity(kind: Quantization | None) -> dict[str, str] | None:
    """What of it can change an answer: the kind and the library's version.

    Raises:
        ModelError: the library is not installed.
    """
    return None if kind is None else {"kind": kind, "bitsandbytes": _version()}


def quantized(settings: ModelSettings, kind: Quantization, dtype: Any) -> Any:
    """The library's settings; layers of 4 bits calculate in `dtype`, those of 8 bits in float16.

    Raises:
        ModelError: bitsandbytes is not installed.
    """
    import transformers

    _version()
    # One line for every product of float32 with 8-bit weights; the identity has the type and the quantization.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    library: Any = transformers
    if kind == "int8":
        return library.BitsAndBytesConfig(load_in_8bit=True)
    return library.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_compute_dtype=dtype)


def unpacked_where_it_must_be(model: torch.nn.Module) -> None:
    """Keep 4-bit layers whose shape the library's packing for CPUs with AVX-512 BF16 cannot take out of it.

    It packs 32 rows and blocks of 64 numbers and stops at any other shape; its general kernel takes all.
    """
    for module in model.modules():
        layer: Any = module
        if getattr(layer, "support_avx512bf16_for_cpu", False):
            layer.support_avx512bf16_for_cpu = layer.out_features % 32 == 0 and layer.in_features % 64 == 0


def _version() -> str:
    try:
        return importlib.metadata.version("bitsandbytes")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(
            'run.options.quantization needs bitsandbytes; pip install "vlm-harness[quantization]"'
        ) from error
