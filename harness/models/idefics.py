"""IDEFICS-1 (`IdeficsForVisionText2Text`), the open reproduction of Flamingo: images enter by cross-attention.

Images stand anywhere in the prompt, each at an `<image>`; the processor surrounds them with its own tokens and begins
with `<s>`. Each token attends to the last image before it, so no image tokens can be counted: the image mask is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError
from harness.models.base import ModelInput
from harness.models.likelihood import RankingModel
from harness.models.sight import check_sight
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch

PLACE = "<image>"


class Idefics(RankingModel):
    """An IDEFICS-1 checkpoint. Any number of images; texts are padded on the left.

    The template is that of the base model; instructed ones are asked in turns of a dialogue, which their card says.
    """

    family = "idefics"
    template = (
        "{% for _ in range(images) %}<image>{% endfor %}"
        "{% if text %}Question: {{ text }} Answer:{% else %}An image of{% endif %}"
    )
    model_type = "idefics"
    model_class = "IdeficsForVisionText2Text"
    processor_class = "IdeficsProcessor"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Any number of images, as the model was trained on pages; options can be ranked."""
        return Capabilities(min_images=0, max_images=None, batching="padded", can_choose=True)

    def check_processor(self) -> None:
        """Compare the picture's size and the image token with the model's."""
        images, side = self.processor.image_processor, self.model.config.vision_config.image_size
        if images.image_size != side:
            raise ModelError(
                f"{self.settings.name}: the image processor makes {images.image_size} pixels a side and the model "
                f"reads {side}; correct image_size in preprocessor_config.json"
            )
        tokenizer = self.processor.tokenizer
        rows = self.model.config.vocab_size + self.model.config.additional_vocab_size
        token = tokenizer.convert_tokens_to_ids(PLACE)
        if token in (None, tokenizer.unk_token_id) or len(tokenizer) > rows:
            raise ModelError(
                f"{self.settings.name}: {PLACE} is token {token}, of {len(tokenizer)} tokens where the model has "
                f"{rows}; fetch the tokenizer that belongs to the checkpoint"
            )
        if tokenizer.pad_token_id is None:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has no pad token; set pad_token in its configuration"
            )

    def check_loaded(self) -> None:
        """Refuse a model that does not see."""
        check_sight(self, f"{PLACE}An image of")

    def problem_of(self, item: ModelInput) -> Problem | None:
        """A prompt must have a place for each image, and no address that the processor would fetch."""
        places = item.request.prompt.count(PLACE)
        if places != len(item.images):
            return Problem(
                "prompt_image_mismatch",
                f"the prompt has {places} times {PLACE} for {len(item.images)} images; correct the template, or the "
                "question holds that text itself",
            )
        if any("://" in words and " " not in words.strip(" ") for words in item.request.prompt.split(PLACE)):
            return Problem("unsupported_input", "a part of the prompt is an address, which the processor would fetch")
        return None

    def encode_texts(
        self, items: Sequence[ModelInput], texts: list[str], padding_side: str
    ) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Ids and mask (rows, tokens), pixels (rows, images, 3, side, side), image mask (rows, tokens, images)."""
        prompts = [interleaved(text, item.images) for item, text in zip(items, texts, strict=True)]
        encoded = self.processor(
            text=prompts,
            padding="longest",
            padding_side=padding_side,
            return_tensors="pt",
            # The end of a turn is part of a dialogue's template.
            add_end_of_utterance_token=False,
            input_data_format="channels_last",
        )
        tensors = dict(encoded)
        seen = tensors["image_attention_mask"].any(dim=1).sum(dim=1).tolist()
        for item, count in zip(items, seen, strict=True):
            if count != len(item.images):
                raise ModelError(
                    f"{self.settings.name}: sample {item.request.sample_id}: {count} of {len(item.images)} images can "
                    "be attended to; fetch the tokenizer that belongs to the checkpoint"
                )
        return tensors, tuple(int(n) for n in tensors["attention_mask"].sum(dim=1))


def interleaved(text: str, images: Sequence[Any]) -> list[Any]:
    """The texts between the places of images, with the images between them; empty texts are left out."""
    parts: list[Any] = []
    rest = iter(images)
    for number, words in enumerate(text.split(PLACE)):
        if number:
            parts.append(next(rest))
        if words.strip(" "):
            parts.append(words)
    return parts
