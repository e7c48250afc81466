"""LLaVA's stock classes at nano size: CLIP tower, two-layer projection, small Llama."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from harness.training import vocabulary
from harness.training.trainees.stock import ATTENTION, StockOptions, StockTrainee, text_tokens


class LlavaOptions(StockOptions):
    """The `network:` part of a recipe for LLaVA."""


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
