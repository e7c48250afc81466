"""Stock vision-language classes of the transformers library at nano size: what LLaVA and BLIP-2 have in common.

A row is the image's tokens, then every turn about it: start token, prompt, answer, end token. A turn sees the image and
itself, and positions start again after the image, so that training on several turns is training on each alone.

The matrix of the patches is trained behind a fixed whitening of the pixels of a patch, and both are folded into the
one convolution that the classes know when a checkpoint is written. The first weights have deviation fan-in ** -0.5; the
library's 0.02 leaves attention flat at this width.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn.utils import parametrize

from harness.errors import TrainingError
from harness.mini.canvas import Pixels
from harness.models.wavelet.network import Rows, turn_mask
from harness.training import vocabulary
from harness.training.examples import Example
from harness.training.procedural import CHOICE_PROMPT
from harness.training.trainee import Trainee, TraineeOptions
from harness.training.turns import rows_of

_RESIDUAL = ("o_proj", "out_proj", "fc2", "down_proj", "projection", "output.dense", "output_query.dense")
"""Linear layers whose first weights are divided by the root of the depth: those whose output is added to the stream,
and BLIP-2's projection into the language model."""
WORDS_STD, PLACES_STD = 0.06, 0.3


class StockOptions(TraineeOptions):
    """Sizes that LLaVA and BLIP-2 have in common."""

    image_px: int = Field(64, ge=8)
    """Side of the square image."""
    patch_px: int = Field(8, ge=2)
    width: int = Field(128, ge=8)
    heads: int = Field(4, ge=1)
    vision_layers: int = Field(2, ge=1)
    text_layers: int = Field(4, ge=1)
    vocabulary: int = Field(640, ge=150)
    """Most entries of the vocabulary."""
    positions: int = Field(256, ge=160)
    """Most tokens of image, prompt and answer together."""
    whitening: float = Field(0.01, ge=0)
    """Variance added to each component of a patch before they are evened out, as a share of their mean: the smaller,
    the more even; 0 leaves pixels as they are."""

    @model_validator(mode="after")
    def _fits(self) -> StockOptions:
        if self.image_px % self.patch_px:
            raise ValueError(f"image_px {self.image_px} is no multiple of patch_px {self.patch_px}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self


class Whitened(nn.Module):
    """A convolution's weight as a trained matrix times a fixed one of the pixels of a patch."""

    basis: torch.Tensor

    def __init__(self, basis: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("basis", basis)  # (pixels, pixels)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight on plain pixels, (width, channels, side, side)."""
        return (weight.flatten(1) @ self.basis).view_as(weight)


class StockTrainee(Trainee):
    """A vision-language class of the transformers library whose image becomes a fixed number of tokens."""

    options: StockOptions
    processor: Any
    network: Any

    @classmethod
    def made(cls, options: Any, texts: Sequence[str], measured: Sequence[Example]) -> StockTrainee:
        """A fresh network with its processor; means and deviations per channel are those of the measured images."""
        made = cls()
        made.options = options
        tokenizer = vocabulary.learned(texts, options.vocabulary)
        pixels = np.stack([rgb(image) for example in measured for image in example.images]) / 255.0
        mean, std = pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))
        images = {
            "size": {"height": options.image_px, "width": options.image_px},
            "image_mean": [float(v) for v in mean],
            "image_std": [float(max(v, 1e-3)) for v in std],
        }
        made.network, made.processor = made.built(tokenizer, images)
        made.network.generation_config.update(
            bos_token_id=vocabulary.START, eos_token_id=vocabulary.END, pad_token_id=vocabulary.PAD
        )
        made.initialise()
        if options.whitening:
            patches = made.patches
            basis = whitening(made.pixels(measured), options.patch_px, options.whitening)
            parametrize.register_parametrization(patches, "weight", Whitened(basis))
        return made

    @abstractmethod
    def built(self, tokenizer: Any, images: dict[str, Any]) -> tuple[Any, Any]:
        """The library's model and processor; `images` are settings of the image processor."""

    @property
    @abstractmethod
    def patches(self) -> nn.Conv2d:
        """The convolution that makes tokens of patches."""

    @property
    @abstractmethod
    def vision(self) -> nn.Module:
        """The vision tower, with `embeddings`."""

    @abstractmethod
    def image_tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the language model reads of images: (rows, image tokens, width)."""

    @property
    @abstractmethod
    def language(self) -> tuple[Any, Any]:
        """The language model without its head, and the head."""

    @abstractmethod
    def depth(self, name: str) -> int:
        """How many sublayers add to the stream that a named weight belongs to."""

    def loss(self, batch: Sequence[Example]) -> torch.Tensor:
        """Mean cross-entropy over the answer tokens of all turns of the batch, with its graph."""
        rows = self.rows(batch).to(self.device)
        wanted = rows.targets >= 0
        return nn.functional.cross_entropy(self.logits(batch, rows)[wanted].float(), rows.targets[wanted])

    def logits(self, batch: Sequence[Example], rows: Rows) -> torch.Tensor:
        """Scores of the next token: (rows, tokens, vocabulary)."""
        model, head = self.language
        prefix = self.image_tokens(self.pixels(batch).to(self.device))
        words = model.get_input_embeddings()(rows.ids)
        seen = turn_mask(rows.turns, prefix.shape[1])
        mask = torch.zeros(seen.shape, dtype=words.dtype, device=words.device)
        mask.masked_fill_(~seen, torch.finfo(words.dtype).min)
        start = torch.arange(prefix.shape[1], device=words.device).expand(len(batch), -1)
        states = model(
            inputs_embeds=torch.cat([prefix, words], dim=1),
            attention_mask=mask,
            position_ids=torch.cat([start, rows.places + prefix.shape[1]], dim=1),
            use_cache=False,
        ).last_hidden_state
        found: torch.Tensor = head(states[:, prefix.shape[1] :])
        return found

    def rows(self, batch: Sequence[Example]) -> Rows:
        """The turns of each example one behind the other, without the image's tokens."""
        tokenizer = self.processor.tokenizer
        return rows_of(batch, lambda text: tokenizer.encode(text, add_special_tokens=False))

    def pixels(self, batch: Sequence[Example]) -> torch.Tensor:
        """The images as the processor gives them: (rows, 3, side, side).

        Raises:
            TrainingError: an example has no image or several.
        """
        if any(len(example.images) != 1 for example in batch):
            raise TrainingError(f"family {self.family} is trained on one image with each example")
        images, side = [rgb(example.images[0]) for example in batch], self.options.image_px
        settings = self.processor.image_processor
        if any(image.shape[:2] != (side, side) for image in images):
            found: torch.Tensor = settings(images, input_data_format="channels_last", return_tensors="pt")[
                "pixel_values"
            ]
            return found.to(self.network.dtype)
        mean, std = (np.asarray(v, np.float32) for v in (settings.image_mean, settings.image_std))
        values = (np.stack(images).astype(np.float32) / np.float32(255) - mean) / std
        return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous().to(self.network.dtype)

    def save(self, folder: Path) -> None:
        """Write model, generation settings, processor and tokenizer, in half precision."""
        kept = {name: weight for name, weight in self.network.state_dict().items() if ".parametrizations." not in name}
        (patches,) = (name for name, module in self.network.named_modules() if module is self.patches)
        kept[f"{patches}.weight"] = self.patches.weight
        with torch.random.fork_rng(devices=[]):
            plain = type(self.network)(copy.deepcopy(self.network.config))
        plain.load_state_dict(kept)
        plain.generation_config = self.network.generation_config
        plain.to(torch.float16).save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def run_part(self) -> dict[str, Any]:
        """The template that puts the start token before the text, and a prompt with options for questions."""
        return {"template": self.template, "prompts": PROMPTS}

    template: str
    """Jinja template around the text of a request."""

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw the first weights."""
        for name, module in self.network.named_modules():
            if name.endswith("lm_head"):
                continue
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                scale = math.sqrt(self.depth(name)) if name.endswith(_RESIDUAL) else 1.0
                module.weight.normal_(0.0, fan_in**-0.5 / scale)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, WORDS_STD)
        embeddings: Any = self.vision.get_submodule("embeddings")
        embeddings.class_embedding.normal_(0.0, PLACES_STD)
        places = getattr(embeddings.position_embedding, "weight", embeddings.position_embedding)
        side = self.options.image_px // self.options.patch_px
        places.copy_(torch.cat([torch.zeros(1, self.options.width), grid(side, self.options.width)]).view_as(places))


ATTENTION = "eager"
"""Kernel of the library in training; as fast as the fused one at this size on a CPU."""
PROMPTS = {
    "captioning": "",
    "multiple-choice": CHOICE_PROMPT,
}
"""Task kind → prompt as the generator of examples words it."""


def text_tokens(tokenizer: Any) -> dict[str, Any]:
    """Size of the vocabulary and special tokens, for the language model's configuration."""
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": vocabulary.START,
        "eos_token_id": vocabulary.END,
        "pad_token_id": vocabulary.PAD,
    }


def rgb(image: Pixels) -> Pixels:
    """The image with three channels."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def grid(side: int, width: int) -> torch.Tensor:
    """Random vectors of places, each a row's vector plus a column's: (side², width)."""
    rows, columns = torch.randn(2, side, width) * PLACES_STD
    made: torch.Tensor = (rows[:, None] + columns[None]).reshape(side * side, width)
    return made


def whitening(pixels: torch.Tensor, patch_px: int, floor: float) -> torch.Tensor:
    """The matrix whose rows turn a patch into components of about even variance, the strongest first.

    Args:
        pixels: (images, channels, side, side), standardised.
        floor: variance added to every component, as a share of their mean.
    """
    patches = nn.functional.unfold(pixels.float(), patch_px, stride=patch_px).transpose(1, 2).flatten(0, 1).double()
    patches = patches - patches.mean(0)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    scales = (variances.clamp_min(0) + floor * variances.mean()) ** -0.5
    basis: torch.Tensor = (directions * scales).flip(1).T.float().contiguous()
    return basis
