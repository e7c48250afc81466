"""LLaVA-1.5 and its like (`LlavaForConditionalGeneration`): CLIP tower, projection, decoder-only language model.

The template is that of the converted checkpoints; the original evaluation puts Vicuna's system sentence in front, which
a card can do. Image tokens: (image side / patch side)² with CLIP and strategy `default`, one more with `full`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import ModelError
from harness.models.base import ModelInput
from harness.models.likelihood import RankingModel
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch


class Llava(RankingModel):
    """A LLaVA checkpoint. One image or none in a prompt; texts are padded on the left."""

    family = "llava"
    template = "USER: {% for _ in range(images) %}<image>\n{% endfor %}{{ text }} ASSISTANT:"
    model_type = "llava"
    model_class = "LlavaForConditionalGeneration"
    processor_class = "LlavaProcessor"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """At most one image, as LLaVA-1.5 was trained; options can be ranked."""
        return Capabilities(min_images=0, max_images=1, batching="padded", can_choose=True)

    @property
    def class_tokens(self) -> int:
        """Tokens of the tower beside its patches: one in CLIP, none in SigLIP."""
        return 0 if "siglip" in self.model.config.vision_config.model_type else 1

    def tokens_per_image(self) -> int:
        """How many image tokens the model's own configuration makes of one image."""
        config = self.model.config
        side = config.vision_config.image_size // config.vision_config.patch_size
        dropped = 1 if config.vision_feature_select_strategy == "default" else 0
        return int(side**2) + self.class_tokens - dropped

    def check_processor(self) -> None:
        """Compare the processor's three settings and its picture size with the model's configuration."""
        config, processor = self.model.config, self.processor
        wanted = {
            "patch_size": config.vision_config.patch_size,
            "vision_feature_select_strategy": config.vision_feature_select_strategy,
            "num_additional_image_tokens": self.class_tokens,
        }
        wrong = {name: value for name, value in wanted.items() if getattr(processor, name) != value}
        if wrong:
            here = ", ".join(f"{name} is {getattr(processor, name)!r}, must be {wrong[name]!r}" for name in wrong)
            raise ModelError(
                f"{self.settings.name}: the processor does not belong to the model: {here}; correct "
                "processor_config.json, or set run.options.processor in the card"
            )
        images, side = processor.image_processor, config.vision_config.image_size
        field = "crop_size" if getattr(images, "do_center_crop", False) else "size"
        made = getattr(images, field)
        if (made.height, made.width) != (side, side):
            raise ModelError(
                f"{self.settings.name}: {field} of the image processor gives {made.height} x {made.width} pixels and "
                f"the model reads {side} x {side}; correct it in processor_config.json"
            )
        if processor.image_token_id != config.image_token_id:
            raise ModelError(
                f"{self.settings.name}: {processor.image_token!r} is token {processor.image_token_id} and the model "
                f"expects {config.image_token_id}; fetch the tokenizer that belongs to the checkpoint"
            )
        if processor.tokenizer.pad_token_id is None:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has no pad token; set pad_token in its configuration"
            )

    def problem_of(self, item: ModelInput) -> Problem | None:
        """A prompt must have a place for each image and no other."""
        places = item.request.prompt.count(self.processor.image_token)
        if places == len(item.images):
            return None
        return Problem(
            "prompt_image_mismatch",
            f"the prompt has {places} times {self.processor.image_token} for {len(item.images)} images; "
            "correct the template, or the question holds that text itself",
        )

    def encode_texts(
        self, items: Sequence[ModelInput], texts: list[str], padding_side: str
    ) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Token ids and mask (rows, tokens), and pixels (images, 3, side, side) where there are images."""
        images = [image for item in items for image in item.images]
        encoded = self.processor(
            images=images or None,
            text=texts,
            padding=True,
            padding_side=padding_side,
            return_tensors="pt",
            **({"input_data_format": "channels_last"} if images else {}),
        )
        tensors: dict[str, torch.Tensor] = {k: encoded[k] for k in ("input_ids", "attention_mask")}
        if images:
            tensors["pixel_values"] = encoded["pixel_values"]
        found = (tensors["input_ids"] == self.model.config.image_token_id).sum(dim=1).tolist()
        for item, count in zip(items, found, strict=True):
            expected = len(item.images) * self.tokens_per_image()
            if count != expected:
                raise ModelError(
                    f"{self.settings.name}: sample {item.request.sample_id}: {count} image tokens where the model "
                    f"makes {expected}; set patch_size, vision_feature_select_strategy and "
                    "num_additional_image_tokens of the processor (run.options.processor)"
                )
        return tensors, tuple(int(n) for n in tensors["attention_mask"].sum(dim=1))
