"""LLaVA-1.5 and its like (`LlavaForConditionalGeneration`): CLIP tower, projection, decoder-only language model.

The template is that of the converted checkpoints; the original evaluation puts Vicuna's system sentence in front, which
a card can do. Image tokens: (image side / patch side)² with CLIP and strategy `default`, one more with `full`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError
from harness.models.base import ModelInput
from harness.models.likelihood import RankingModel
from harness.models.shared_images import IMAGE_ROWS, common_prefix, distinct, read_once
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
        """Token ids and mask (rows, tokens); where there are images, pixels of the distinct ones and `image_rows`."""
        import torch

        token = self.processor.image_token
        images, rows = distinct([image for item in items for image in item.images])
        encoded = self.processor.tokenizer(
            [text.replace(token, token * self.tokens_per_image()) for text in texts],
            padding=True,
            padding_side=padding_side,
            return_tensors="pt",
        )
        tensors: dict[str, torch.Tensor] = {k: encoded[k] for k in ("input_ids", "attention_mask")}
        if images:
            pictures = self.processor.image_processor(images, return_tensors="pt", input_data_format="channels_last")
            tensors |= {"pixel_values": pictures["pixel_values"], IMAGE_ROWS: torch.tensor(rows)}
        return tensors, tuple(int(n) for n in tensors["attention_mask"].sum(dim=1))

    def written(self, tensors: dict[str, torch.Tensor], config: Any) -> torch.Tensor:
        """Ids of the answers; with a dynamic cache, what stands up to the image is read once for each distinct one."""
        prefix = None
        if config.num_beams in (None, 1) and self.options.cache == "dynamic":
            pad = self.processor.tokenizer.pad_token_id
            prefix = common_prefix(tensors, self.model.config.image_token_id, pad)
        if prefix is None:
            return super().written(tensors, config)
        cache = read_once(self.model, prefix.ids, tensors["pixel_values"], tensors[IMAGE_ROWS])
        output: torch.Tensor = self.model.generate(
            input_ids=prefix.input_ids,
            attention_mask=prefix.attention_mask,
            past_key_values=cache,
            generation_config=config,
        )
        return output[:, self.echo_length(tensors) :]

    def continuation_logits(self, tensors: Mapping[str, torch.Tensor], start: int) -> torch.Tensor:
        """The same; the common beginning is read once, with its image."""
        import torch

        if IMAGE_ROWS not in tensors:
            return super().continuation_logits(tensors, start)
        given = self.on_device(tensors)
        ids, rows = given["input_ids"], given[IMAGE_ROWS]
        with torch.inference_mode():
            cache = read_once(self.model, ids[0, : start - 1], given["pixel_values"], rows)
            logits: torch.Tensor = self.model(
                input_ids=ids[:, start - 1 :], attention_mask=given["attention_mask"], past_key_values=cache
            ).logits
        return logits
