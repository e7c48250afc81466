"""BLIP-2's stock classes at nano size: vision tower, Q-Former, small OPT.

Each query starts as the place of a block of patches, and the first cross-attention compares query and patch in one
space, so that training begins with queries that look at different parts of the image.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from pydantic import Field, model_validator
from torch import nn

from harness.training import vocabulary
from harness.training.trainees.stock import (
    ATTENTION,
    StockOptions,
    StockTrainee,
    text_tokens,
)


class Blip2Options(StockOptions):
    """The `network:` part of a recipe for BLIP-2."""

    queries: int = Field(16, ge=1)
    qformer_layers: int = Field(2, ge=1)
    local: float = Field(0.0, ge=0)
    """How sharply a query looks at its own place at first; 0 leaves queries and cross-attention random."""

    @model_validator(mode="after")
    def _square(self) -> Blip2Options:
        side = self.image_px // self.patch_px
        blocks = round(self.queries**0.5)
        if self.local and (blocks**2 != self.queries or side % blocks):
            raise ValueError(f"{self.queries} queries have no places on {side} x {side} patches; set local to 0")
        return self


class Blip2Trainee(StockTrainee):
    """`Blip2ForConditionalGeneration` over OPT; every Q-Former layer reads the image."""

    family = "blip2"
    options_type = Blip2Options
    options: Blip2Options
    template = "<s>{{ text }}"

    def built(self, tokenizer: Any, images: dict[str, Any]) -> tuple[Any, Any]:
        """Model and processor; words are read and written by one table."""
        library: Any = transformers
        options = self.options
        processor = library.Blip2Processor(
            image_processor=library.BlipImageProcessorPil(**images),
            tokenizer=tokenizer,
            num_query_tokens=options.queries,
        )
        sizes: dict[str, Any] = {"hidden_size": options.width, "num_attention_heads": options.heads}
        config = library.Blip2Config(
            vision_config=library.Blip2VisionConfig(
                **sizes,
                intermediate_size=4 * options.width,
                num_hidden_layers=options.vision_layers,
                image_size=options.image_px,
                patch_size=options.patch_px,
            ),
            qformer_config=library.Blip2QFormerConfig(
                **sizes,
                intermediate_size=4 * options.width,
                num_hidden_layers=options.qformer_layers,
                encoder_hidden_size=options.width,
                cross_attention_frequency=1,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                vocab_size=len(tokenizer),
            ),
            text_config=library.OPTConfig(
                **sizes,
                word_embed_proj_dim=options.width,
                ffn_dim=4 * options.width,
                num_hidden_layers=options.text_layers,
                max_position_embeddings=options.positions,
                dropout=0.0,
                tie_word_embeddings=True,
                **text_tokens(tokenizer),
            ),
            num_query_tokens=options.queries,
            image_token_index=vocabulary.IMAGE,
            tie_word_embeddings=True,
        )
        return library.Blip2ForConditionalGeneration._from_config(config, attn_implementation=ATTENTION), processor

    @property
    def vision(self) -> nn.Module:
        """The vision tower."""
        tower: nn.Module = self.network.vision_model
        return tower

    @property
    def patches(self) -> nn.Conv2d:
        """The convolution that makes tokens of patches."""
        return self.vision.get_submodule("embeddings.patch_embedding")  # type: ignore[return-value]

    @property
    def language(self) -> tuple[Any, Any]:
        """OPT and its head."""
        return self.network.language_model.model, self.network.language_model.lm_head

    def image_tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """Projected queries."""
        network = self.network
        states = network.vision_model(pixels).last_hidden_state
        queries = network.query_tokens.expand(len(pixels), -1, -1)
        read = network.qformer(query_embeds=queries, encoder_hidden_states=states).last_hidden_state
        projected: torch.Tensor = network.language_projection(read)
        return projected

    def depth(self, name: str) -> int:
        """Two sublayers in each layer of tower and OPT, three in the Q-Former."""
        options = self.options
        if "qformer" in name:
            return 3 * options.qformer_layers
        return 2 * (options.vision_layers if "vision" in name else options.text_layers)

    @torch.no_grad()
    def initialise(self) -> None:
        """Queries of unit variance, or places of blocks of patches."""
        super().initialise()
        network, options = self.network, self.options
        network.query_tokens.normal_(0.0, 1.0)
        network.language_model.model.decoder.embed_positions.weight.normal_(0.0, 0.06)
        if not options.local:
            return
        side, blocks = options.image_px // options.patch_px, round(options.queries**0.5)
        places = self.vision.get_parameter("embeddings.position_embedding")[0, 1:]
        part = side // blocks
        means = places.view(blocks, part, blocks, part, options.width).mean((1, 3)).flatten(0, 1)
        network.query_tokens.copy_(means / means.std())
        cross = network.qformer.encoder.layer[0].crossattention.attention
        cross.query.weight.copy_(cross.key.weight)
        cross.query.weight.mul_(options.local)
