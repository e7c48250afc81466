"""Kosmos-2 (`Kosmos2ForConditionalGeneration`): captions, questions and phrases grounded in boxes.

The image stands first and the processor places it. A padded batch that keeps keys and values gives other answers than
single requests, even in its longest row, so each request is generated alone. With `grounding` the raw answer keeps the
tags `<phrase>…</phrase><object><patch_index_0044><patch_index_0863></object>`, which `parse_boxes` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import ModelError
from harness.models.base import Generation, ModelInput, Options, checked_options
from harness.models.likelihood import RankingModel, RankingOptions
from harness.models.sight import check_sight
from harness.models.transformers_base import Prepared
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch

TEMPLATE = "{% if text %}Question: {{ text }} Answer:{% else %}An image of{% endif %}"


@dataclass(frozen=True, slots=True)
class Grounded:
    """A phrase of an answer and where the model sees it."""

    phrase: str
    start: int
    """Of the phrase in the text without tags."""
    end: int
    boxes: tuple[tuple[float, float, float, float], ...]
    """Left, top, right and bottom as fractions of the image's width and height."""


def parse_boxes(text: str) -> tuple[str, tuple[Grounded, ...]]:
    """The answer without tags, and its grounded phrases in order.

    Source: the library's own `clean_text_and_extract_entities_with_bboxes`, on the released 32 x 32 grid of patches.
    """
    from transformers.models.kosmos2 import processing_kosmos2

    library: Any = processing_kosmos2
    plain, entities = library.clean_text_and_extract_entities_with_bboxes(text)
    return plain, tuple(
        Grounded(phrase, start, end, tuple(tuple(box) for box in boxes)) for phrase, (start, end), boxes in entities
    )


class Kosmos2Options(RankingOptions):
    """Options of the Kosmos-2 family."""

    grounding: bool = False
    """Whether prompts begin with `<grounding>`, so that phrases are followed by their boxes."""


class Kosmos2(RankingModel):
    """A Kosmos-2 checkpoint. One image; an empty prompt asks for a caption."""

    family = "kosmos2"
    template = TEMPLATE
    options_type: ClassVar[type[Options]] = Kosmos2Options
    static_cache: ClassVar[bool] = False  # its attention masks are of the length written so far
    options: Kosmos2Options
    model_type = "kosmos-2"
    model_class = "Kosmos2ForConditionalGeneration"
    processor_class = "Kosmos2Processor"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Exactly one image, one request at a time; options can be ranked."""
        return Capabilities(min_images=1, max_images=1, batching="single", can_choose=True)

    @classmethod
    def default_template(cls, settings: ModelSettings) -> str:
        """The card's template; else the released prompts, grounded where the card asks for it."""
        grounding = checked_options(settings, Kosmos2Options).grounding
        return settings.template or ("<grounding> " if grounding else "") + cls.template

    @property
    def image_slots(self) -> int:
        """How many places of the text one image takes."""
        return int(self.model.config.latent_query_num)

    def check_processor(self) -> None:
        """Refuse a tokenizer without unknown token or with another vocabulary than the model's."""
        tokenizer, rows = self.processor.tokenizer, self.model.get_input_embeddings().num_embeddings
        if len(tokenizer) > rows or tokenizer.unk_token_id is None:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has {len(tokenizer)} tokens and the model {rows}; fetch the "
                "tokenizer that belongs to the checkpoint"
            )

    def check_loaded(self) -> None:
        """Refuse a model that does not see."""
        check_sight(self, "An image of")

    def problem_of(self, item: ModelInput) -> Problem | None:
        """The processor itself places the image, so the text must not."""
        if "<image>" not in item.request.prompt and "</image>" not in item.request.prompt:
            return None
        return Problem("prompt_image_mismatch", "the prompt holds <image>, which Kosmos-2 puts in front by itself")

    def encode_texts(
        self, items: Sequence[ModelInput], texts: list[str], padding_side: str
    ) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Token ids, mask, places of the image (rows, tokens), and pixels (rows, 3, side, side)."""
        # The processor takes the side from its tokenizer and from nowhere else.
        self.processor.tokenizer.padding_side = padding_side
        encoded = self.processor(
            images=[item.images[0] for item in items],
            text=texts,
            padding=True,
            return_tensors="pt",
            num_image_tokens=self.image_slots,
            # In the released vocabulary the slots are the ids behind the unknown token.
            first_image_token_id=self.processor.tokenizer.unk_token_id + 1,
            input_data_format="channels_last",
        )
        names = ("input_ids", "attention_mask", "image_embeds_position_mask", "pixel_values")
        tensors = {name: encoded[name] for name in names}
        found = tensors["image_embeds_position_mask"].sum(dim=1).tolist()
        if set(found) != {self.image_slots}:
            raise ModelError(f"{self.settings.name}: {found} places for an image of {self.image_slots}")
        return tensors, tuple(int(n) for n in tensors["attention_mask"].sum(dim=1))

    def _answers(self, prepared: Prepared, config: Any, stop: Sequence[str]) -> list[Generation]:
        """Answers to each request alone."""
        if len(prepared.items) <= 1:
            return super()._answers(prepared, config, stop)
        answers: list[Generation] = []
        for item in prepared.items:
            answers += super()._answers(self.prepare([item]), config, stop)
        return answers
