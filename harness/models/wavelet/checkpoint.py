"""The folder of a wavelet checkpoint: config.json, model.safetensors, tokenizer.json; and who belongs to whom.

`decoder.fingerprint` in config.json is the hash of the language model's weights that the eye was trained with. A
checkpoint is loaded with that language model or not at all, except on the card's word (`published_inference`), which
repeats v3's mistake of running a trained mapping into the untrained language model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import ModelError
from harness.models.wavelet.design import Design

if TYPE_CHECKING:
    import torch

    from harness.models.wavelet.network import Captioner

MODEL_TYPE = "harness-wavelet"


class DecoderConfig(BaseModel):
    """The language model of a checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["own", "transformers"] = "own"
    layers: int = Field(4, ge=1)
    vocabulary: int = Field(ge=1)
    positions: int = Field(96, ge=8)
    fingerprint: str = ""
    """SHA-256 over the decoder's weights; empty until it is saved."""
    language_model: str = ""
    """For `transformers`: hub id or folder of the language model as it was before the training."""
    tuning: Literal["frozen", "lora", "full"] = "full"
    """For `transformers`: what of it was trained, and so is in this checkpoint: nothing, adapters, or all of it."""
    rank: int = Field(16, ge=1)
    """Rank of the adapters of `lora`."""
    system: str = "This is a dialog with AI assistant.\n"
    """For `transformers`: the sentence before the image."""
    end: str = ""
    """For `transformers`: the text that ends an answer; empty is the tokenizer's own end token."""
    match_words: bool = False
    """For `transformers`: image vectors are brought to the size of the language model's word vectors by a trained
    gain; without it they go in as the eye gives them."""


class WaveletConfig(BaseModel):
    """config.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_type: Literal["harness-wavelet"] = "harness-wavelet"
    design: Design | None
    """`null` is a language model without eyes."""
    height: int = 64
    """Pixels."""
    width_px: int = 64
    fit: Literal["squash", "place"] = "squash"
    """`squash` resizes to the size whatever the aspect; `place` keeps an image that fits, shrinks a larger one, and
    puts it at the left, centred vertically, on white."""
    max_images: int = Field(1, ge=1)
    width: int = 128
    heads: int = 4
    decoder: DecoderConfig
    dtype: str = "float16"


def read_config(path: Path) -> WaveletConfig:
    """The configuration in a file.

    Raises:
        ModelError: naming the file and every wrong field.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return WaveletConfig.model_validate(data)
    except (OSError, ValueError) as error:
        faults = str(error)
        if isinstance(error, ValidationError):
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ModelError(f"{path}: is no configuration of the wavelet family: {faults}") from error


def fingerprint(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes and float16 values of weights, in order of name."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        half = weight.detach().to("cpu", torch.float16).contiguous()
        digest.update(f"{name} {tuple(half.shape)}\n".encode())
        digest.update(half.numpy().tobytes())
    return digest.hexdigest()


def decoder_weights(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those of the decoder."""
    return {name: weight for name, weight in weights.items() if name.startswith("decoder.")}


def write(folder: Path, network: torch.nn.Module, config: WaveletConfig, tokenizer: Any) -> None:
    """Write a checkpoint in float16; a language model that was not trained as a whole keeps the fingerprint it has."""
    import torch
    from safetensors.torch import save_file

    state = {name: w.detach().to("cpu", torch.float16).contiguous() for name, w in network.state_dict().items()}
    found = config.decoder.fingerprint
    if config.decoder.kind == "own" or config.decoder.tuning == "full":
        found = fingerprint(decoder_weights(state))
    decoder = config.decoder.model_copy(update={"fingerprint": found})
    stored = config.model_copy(update={"decoder": decoder})
    text = json.dumps(stored.model_dump(mode="json"), indent=1, sort_keys=True)
    (folder / "config.json").write_text(f"{text}\n", encoding="utf-8")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


def read(folder: Path, config: WaveletConfig) -> Captioner:
    """The network of the family's own decoder with every weight of the file, in float32.

    Raises:
        ModelError: as `load_checked`.
    """
    from harness.models.wavelet.network import Captioner

    network = Captioner.of(config)
    load_checked(folder, network, config)
    return network.float().eval()


def load_checked(folder: Path, network: torch.nn.Module, config: WaveletConfig) -> None:
    """Put every weight of model.safetensors into the network.

    Raises:
        ModelError: the file is damaged, a weight is missing, spare, of another shape or not finite, or the decoder is
            not the one that the eye was trained with.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: is damaged or no safetensors file ({error}); fetch or train it again") from error
    wanted = network.state_dict()
    wrong = sorted(
        [f"lacks {n}" for n in wanted.keys() - state.keys()]
        + [f"has {n}, which the design has not" for n in state.keys() - wanted.keys()]
        + [
            f"{n} is {tuple(state[n].shape)}, the design says {tuple(wanted[n].shape)}"
            for n in wanted.keys() & state.keys()
            if wanted[n].shape != state[n].shape
        ]
    )
    if wrong:
        raise ModelError(
            f"{path}: does not belong to {folder / 'config.json'}: {wrong[0]} (of {len(wrong)} differences)"
        )
    broken = next((n for n, w in sorted(state.items()) if not bool(torch.isfinite(w).all())), None)
    if broken is not None:
        raise ModelError(f"{path}: {broken} has values that are no numbers; train it again")
    found = fingerprint(decoder_weights(state))
    whole = config.decoder.kind == "own" or config.decoder.tuning == "full"
    if whole and found != config.decoder.fingerprint:
        raise ModelError(
            f"{path}: its decoder ({found[:12]}) is not the one this checkpoint was trained with "
            f"({config.decoder.fingerprint[:12] or 'none named'}); give model.safetensors and config.json of one "
            "training"
        )
    network.load_state_dict(state)
