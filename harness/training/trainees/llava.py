"""LLaVA's stock classes at nano size: CLIP tower, two-layer projection, small Llama; and what BLIP-2 shares with it.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from pydantic import Field, model_validator
from torch import nn
from torch.nn.utils import parametrize

from harness.errors import TrainingError
from harness.mini.canvas import Pixels
from harness.training import vocabulary
from harness.training.examples import Example
from harness.training.trainee import Trainee, TraineeOptions

_RESIDUAL = ("o_proj", "out_proj", "fc2", "down_proj", "projection", "output.dense", "output_query.dense")
"""Linear layers whose first weights are divided by the root of the depth: those whose output is added to the stream, and
BLIP-2's projection into the language model."""
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


class LlavaOptions(StockOptions):
    """The `network:` part of a recipe for LLaVA."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The text side of a batch; all (rows, tokens), without the image's tokens."""

    ids: torch.Tensor
    targets: torch.Tensor
    """The next token where it belongs to an answer; -100 elsewhere."""
    turns: torch.Tensor
    """Number of the turn; -1 is padding."""
    places: torch.Tensor
    """Place within the turn."""


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
        rows = self.rows(batch)
        wanted = rows.targets >= 0
        return nn.functional.cross_entropy(self.logits(batch, rows)[wanted].float(), rows.targets[wanted])

    def logits(self, batch: Sequence[Example], rows: Rows) -> torch.Tensor:
        """Scores of the next token: (rows, tokens, vocabulary)."""
        model, head = self.language
        prefix = self.image_tokens(self.pixels(batch))
        words = model.get_input_embeddings()(rows.ids)
        seen = visible(rows.turns, prefix.shape[1])
        mask = torch.zeros(seen.shape, dtype=words.dtype).masked_fill_(~seen, torch.finfo(words.dtype).min)
        start = torch.arange(prefix.shape[1]).expand(len(batch), -1)
        states = model(
            inputs_embeds=torch.cat([prefix, words], dim=1),
            attention_mask=mask[:, None],
            position_ids=torch.cat([start, rows.places + prefix.shape[1]], dim=1),
            use_cache=False,
        ).last_hidden_state
        found: torch.Tensor = head(states[:, prefix.shape[1] :])
        return found

    def rows(self, batch: Sequence[Example]) -> Rows:
        """The turns of each example one behind the other."""
        tokenizer = self.processor.tokenizer
        rows: list[list[tuple[int, int, int, int]]] = []
        for example in batch:
            row: list[tuple[int, int, int, int]] = []
            for turn, asked in enumerate(example.turns):
                prompt = [vocabulary.START, *tokenizer.encode(asked.prompt, add_special_tokens=False)]
                answer = [*tokenizer.encode(f" {asked.answer}", add_special_tokens=False), vocabulary.END]
                ids = [*prompt, *answer[:-1]]
                targets = [-100] * (len(prompt) - 1) + answer
                row += zip(ids, targets, [turn] * len(ids), range(len(ids)), strict=True)
            rows.append(row)
        longest = max(map(len, rows))
        padded = [row + [(vocabulary.PAD, -100, -1, 0)] * (longest - len(row)) for row in rows]
        return Rows(*torch.tensor(padded).unbind(2))

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


class LlavaTrainee(StockTrainee):
    """`LlavaForConditionalGeneration`: the tower's last layer, class token dropped, one token for each patch."""

    family = "llava"
    options_type = LlavaOptions
    template = "{% for _ in range(images) %}<image>{% endfor %}<s>{{ text }}"

    def built(self, tokenizer: Any, images: dict[str, Any]) -> tuple[Any, Any]:
        """Model and processor; words are read and written by one table."""
        library: Any = transformers
        options = self.options
        processor = library.LlavaProcessor(
            image_processor=library.CLIPImageProcessorPil(**images, do_center_crop=False, do_convert_rgb=True),
            tokenizer=tokenizer,
            patch_size=options.patch_px,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )
        config = library.LlavaConfig(
            vision_config=library.CLIPVisionConfig(
                hidden_size=options.width,
                intermediate_size=4 * options.width,
                num_hidden_layers=options.vision_layers,
                num_attention_heads=options.heads,
                image_size=options.image_px,
                patch_size=options.patch_px,
                projection_dim=options.width,
            ),
            text_config=library.LlamaConfig(
                hidden_size=options.width,
                intermediate_size=8 * round(options.width / 3),
                num_hidden_layers=options.text_layers,
                num_attention_heads=options.heads,
                num_key_value_heads=options.heads,
                max_position_embeddings=options.positions,
                tie_word_embeddings=True,
                **text_tokens(tokenizer),
            ),
            image_token_index=vocabulary.IMAGE,
            image_seq_length=(options.image_px // options.patch_px) ** 2,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            tie_word_embeddings=True,
        )
        return library.LlavaForConditionalGeneration._from_config(config, attn_implementation=ATTENTION), processor

    @property
    def vision(self) -> nn.Module:
        """The CLIP tower."""
        tower: Any = self.network.model.vision_tower
        return getattr(tower, "vision_model", tower)  # type: ignore[no-any-return]

    @property
    def patches(self) -> nn.Conv2d:
        """The convolution that makes tokens of patches."""
        return self.vision.get_submodule("embeddings.patch_embedding")  # type: ignore[return-value]

    @property
    def language(self) -> tuple[Any, Any]:
        """Llama and its head."""
        return self.network.model.language_model, self.network.lm_head

    def image_tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """Projected tokens of the patches."""
        states = self.network.model.vision_tower(pixels).last_hidden_state
        projected: torch.Tensor = self.network.model.multi_modal_projector(states[:, 1:])
        return projected

    def depth(self, name: str) -> int:
        """Two sublayers in each layer of tower or Llama."""
        return 2 * (self.options.vision_layers if "vision" in name else self.options.text_layers)


ATTENTION = "harness-training"
"""Name under which the library finds `attention`; it is not written into checkpoints."""


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Plain attention, (rows, heads, tokens, size) to (rows, tokens, heads, size), without dropout.

    The queries are scaled instead of the scores and the mask is added in place, which saves three passes over the
    largest tensor of a step.
    """
    scores = torch.matmul(query * scaling, key.transpose(2, 3))
    if attention_mask is not None:
        scores += attention_mask
    return torch.matmul(scores.softmax(-1), value).transpose(1, 2).contiguous(), None


transformers.AttentionInterface.register(ATTENTION, attention)
PROMPTS = {
    "captioning": "",
    "multiple-choice": "{{ question }}{% for letter, choice in choices %} {{ letter }}. {{ choice }}{% endfor %}",
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


def visible(turns: torch.Tensor, prefix: int) -> torch.Tensor:
    """Whether a token sees another: (rows, prefix + tokens, prefix + tokens), True where it does.

    The image's tokens see what is before them; a turn's tokens see the image and what is before them in their turn.
    """
    rows, tokens = turns.shape
    numbers = torch.cat([torch.full((rows, prefix), -2), turns], dim=1)
    same = (numbers[:, :, None] == numbers[:, None]) | (numbers[:, None] == -2)
    return same & torch.ones(prefix + tokens, prefix + tokens, dtype=torch.bool).tril()


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
