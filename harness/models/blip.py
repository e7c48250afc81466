"""BLIP captions and answers (`BlipForConditionalGeneration`, `BlipForQuestionAnswering`).

The library's `generate` takes no mask of the question when it answers, and it overwrites the first and cuts the last
column of a caption's prompt; with padding both change the answer without an error. So only prompts of equal token count
share a batch. The original answers put `[ENC]` in the place of `[CLS]`; the library does not, which `encoder_token`
switches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.errors import ModelError
from harness.models.base import ModelInput, Options
from harness.models.checkpoint import Checkpoint
from harness.models.clip import check_side
from harness.models.transformers_base import TransformersModel, TransformersOptions
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch


class BlipOptions(TransformersOptions):
    """Options of a BLIP checkpoint."""

    attention: Literal["eager"] = "eager"
    """The library has no other kernel for BLIP."""


class BlipVqaOptions(BlipOptions):
    """Options of a BLIP checkpoint that reads a question."""

    encoder_token: bool = False
    """Puts `[ENC]` (the highest id) in the place of `[CLS]`, as the original code; the library leaves `[CLS]`."""


class Blip(TransformersModel):
    """What BLIP checkpoints that write text share."""

    template = "{{ text }}"
    options_type: ClassVar[type[Options]] = BlipOptions
    model_type = "blip"
    processor_class = "BlipProcessor"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Exactly one image; prompts of equal token count share a batch."""
        return Capabilities(min_images=1, max_images=1, batching="bucketed")

    def check_processor(self) -> None:
        """Compare the picture size, and that the tokenizer's ids fit the model's table."""
        check_side(self.settings.name, self.processor.image_processor, self.model.config.vision_config.image_size)
        known, size = self.model.config.text_config.vocab_size, len(self.processor.tokenizer)
        if size > known:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has {size} tokens and the model {known}; "
                "fetch tokenizer and configuration of one revision"
            )

    def padding_side(self) -> str:
        """No batch is padded."""
        return "right"

    def bucket(self, item: ModelInput) -> int:
        """The number of prompt tokens."""
        with self._tokenizer_lock:
            return len(self.processor.tokenizer(item.request.prompt)["input_ids"])

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Pixels (rows, 3, side, side), and ids and mask (rows, tokens) of prompts that are equally long.

        Raises:
            ModelError: the prompts have different lengths; they need batches of their own.
        """
        pixels = self.processor.image_processor(
            [item.images[0] for item in items], return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"]
        encoded = self.processor.tokenizer([item.request.prompt for item in items])
        lengths = tuple(map(len, encoded["input_ids"]))
        if len(set(lengths)) > 1:
            raise ModelError(f"{self.family}: prompts of {sorted(set(lengths))} tokens cannot share a batch")
        tensors = encoded.convert_to_tensors("pt")
        return {
            "pixel_values": pixels,
            "input_ids": tensors["input_ids"],
            "attention_mask": tensors["attention_mask"],
        }, lengths


class BlipCaption(Blip):
    """Captions, free or continuing the prompt; the answer is what comes after it."""

    family = "blip-caption"
    model_class = "BlipForConditionalGeneration"

    def echo_length(self, tensors: Mapping[str, torch.Tensor]) -> int:
        """The prompt without its end token, which the library cuts."""
        return int(tensors["input_ids"].shape[1]) - 1

    @property
    def generator(self) -> torch.nn.Module:
        """The text decoder, which ends at the separator."""
        decoder: torch.nn.Module = self.model.text_decoder
        return decoder

    def end_ids(self) -> frozenset[int]:
        """The separator: what the library's `generate` is told to end at."""
        return frozenset([self.model.config.text_config.sep_token_id])


class BlipVqa(Blip):
    """Answers to questions."""

    family = "blip-vqa"
    options_type: ClassVar[type[Options]] = BlipVqaOptions
    options: BlipVqaOptions
    model_class = "BlipForQuestionAnswering"

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Which token stands first."""
        return {"encoder_token": options.encoder_token}, ()

    def problem_of(self, item: ModelInput) -> Problem | None:
        """The encoder needs a question."""
        if item.request.prompt.strip():
            return None
        return Problem("no_prompt", f"{self.settings.name} answers questions; the prompt is empty")

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """As `Blip.encode`, with `[ENC]` in front where the card says so."""
        tensors, lengths = super().encode(items)
        if self.options.encoder_token:
            tensors["input_ids"][:, 0] = self.model.config.text_config.vocab_size - 1
        return tensors, lengths

    def echo_length(self, tensors: Mapping[str, torch.Tensor]) -> int:
        """The decoder's start token."""
        return 1

    def end_ids(self) -> frozenset[int]:
        """The separator."""
        return frozenset([self.model.config.text_config.sep_token_id])
