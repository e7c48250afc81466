"""GIT (`GitForCausalLM`): captions from an image alone, answers from an image and a question.

The text starts with `[CLS]` and has no `[SEP]` behind a question, as in the released examples: `[SEP]` ends an answer.
A caption is the answer to an empty prompt. The processor's segment ids are left out, because the model has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.errors import ModelError
from harness.models.base import ModelInput, Options
from harness.models.sight import check_sight
from harness.models.transformers_base import TransformersModel, TransformersOptions
from harness.records import Capabilities, ModelSettings

if TYPE_CHECKING:
    import torch


class GitOptions(TransformersOptions):
    """Options of the GIT family."""

    attention: Literal["eager"] = "eager"
    """The library has no other kernel for this model."""


class Git(TransformersModel):
    """A GIT checkpoint. One image; texts are padded on the left."""

    family = "git"
    options_type: ClassVar[type[Options]] = GitOptions
    template = "{{ text }}"
    model_type = "git"
    model_class = "GitForCausalLM"
    processor_class = "GitProcessor"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Exactly one image."""
        return Capabilities(min_images=1, max_images=1, batching="padded")

    def check_processor(self) -> None:
        """Compare the picture's size and the vocabulary with the model's."""
        images, side = self.processor.image_processor, self.model.config.vision_config.image_size
        field = "crop_size" if getattr(images, "do_center_crop", False) else "size"
        made = getattr(images, field)
        if (made.height, made.width) != (side, side):
            raise ModelError(
                f"{self.settings.name}: {field} of the image processor gives {made.height} x {made.width} pixels and "
                f"the model reads {side} x {side}; correct it in preprocessor_config.json"
            )
        tokenizer, rows = self.processor.tokenizer, self.model.config.vocab_size
        if len(tokenizer) > rows or tokenizer.cls_token_id is None:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has {len(tokenizer)} tokens and the model {rows}; fetch the "
                "tokenizer that belongs to the checkpoint"
            )

    def check_loaded(self) -> None:
        """Refuse a model that does not see."""
        check_sight(self, "")

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Token ids and mask (rows, tokens), and pixels (rows, 3, side, side)."""
        tokenizer = self.processor.tokenizer
        start = [tokenizer.cls_token_id]
        words = [tokenizer(i.request.prompt, add_special_tokens=False)["input_ids"] for i in items]
        padded = tokenizer.pad({"input_ids": [start + ids for ids in words]}, padding_side="left", return_tensors="pt")
        pixels = self.processor.image_processor(
            images=[i.images[0] for i in items], return_tensors="pt", input_data_format="channels_last"
        )
        tensors = {
            "input_ids": padded["input_ids"],
            "attention_mask": padded["attention_mask"],
            "pixel_values": pixels["pixel_values"],
        }
        return tensors, tuple(len(ids) + 1 for ids in words)
