"""BLIP-2 (`Blip2ForConditionalGeneration`) over OPT and Flan-T5.

A processor without `num_query_tokens` makes prompts without image tokens, and the library then answers blindly and
without an error; it is refused here, and the tokens of every row are counted. OPT is padded on the left, between image
and text, and its output repeats the prompt; T5 is padded on the right, because left pads move its relative positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError
from harness.models.base import ModelInput
from harness.models.likelihood import RankingModel, token_scores
from harness.models.shared_images import IMAGE_ROWS, distinct, encoded_once
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch


class Blip2(RankingModel):
    """A BLIP-2 checkpoint. One image; the prompt may be empty, as for captions."""

    family = "blip2"
    template = "{{ text }}"
    model_type = "blip-2"
    model_class = "Blip2ForConditionalGeneration"
    processor_class = "Blip2Processor"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Exactly one image; options can be ranked."""
        return Capabilities(min_images=1, max_images=1, batching="padded", can_choose=True)

    @property
    def generator(self) -> Any:
        """The language model, which has generation settings of its own."""
        return self.model.language_model

    @property
    def encoder_decoder(self) -> bool:
        """Whether the language model is T5."""
        return bool(self.model.config.text_config.is_encoder_decoder)

    def padding_side(self) -> str:
        """Right for T5, left for OPT."""
        return "right" if self.encoder_decoder else "left"

    def echo_length(self, tensors: Mapping[str, torch.Tensor]) -> int:
        """T5 starts with one start token; OPT repeats image tokens and prompt."""
        return 1 if self.encoder_decoder else super().echo_length(tensors)

    def position_limit(self) -> int | None:
        """OPT's table of positions; T5 has none."""
        return None if self.encoder_decoder else int(self.model.config.text_config.max_position_embeddings)

    def check_processor(self) -> None:
        """Refuse a processor whose image tokens are not those of the model."""
        config, processor = self.model.config, self.processor
        expected = config.num_query_tokens
        if processor.num_query_tokens != expected:
            raise ModelError(
                f"{self.settings.name}: num_query_tokens of the processor is {processor.num_query_tokens!r}, must be "
                f"{expected}: without it the model answers without seeing the image. Set num_query_tokens in "
                f"processor_config.json, or run.options.processor: {{num_query_tokens: {expected}}} in the card"
            )
        token = str(processor.image_token)
        found = processor.tokenizer.convert_tokens_to_ids(token)
        if found != config.image_token_id:
            raise ModelError(
                f"{self.settings.name}: {token} is token {found} and the model expects {config.image_token_id} "
                "(image_token_index in config.json); fetch configuration and tokenizer of one revision"
            )
        if processor.tokenizer.pad_token_id is None:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has no pad token; set pad_token in its configuration"
            )

    def problem_of(self, item: ModelInput) -> Problem | None:
        """The processor itself places the image, so the text must not."""
        token = str(self.processor.image_token)
        if token not in item.request.prompt:
            return None
        return Problem(
            "prompt_image_mismatch", f"the prompt holds {token}, which BLIP-2 puts in front by itself; take it out"
        )

    def encode_texts(
        self, items: Sequence[ModelInput], texts: list[str], padding_side: str
    ) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Token ids and mask (rows, image tokens + text tokens), pixels of the distinct images, and `image_rows`."""
        encoded = self.processor(
            images=[item.images[0] for item in items],
            text=texts,
            padding=True,
            padding_side=padding_side,
            return_tensors="pt",
            input_data_format="channels_last",
        )
        import torch

        tensors = {k: encoded[k] for k in ("input_ids", "attention_mask", "pixel_values")}
        _, rows = distinct([item.images[0] for item in items])
        tensors["pixel_values"] = tensors["pixel_values"][[rows.index(row) for row in range(max(rows) + 1)]]
        tensors[IMAGE_ROWS] = torch.tensor(rows)
        expected = self.model.config.num_query_tokens
        found = (tensors["input_ids"] == self.model.config.image_token_id).sum(dim=1).tolist()
        for item, count in zip(items, found, strict=True):
            if count != expected:
                raise ModelError(
                    f"{self.settings.name}: sample {item.request.sample_id}: {count} image tokens where the model "
                    f"makes {expected}; set num_query_tokens of the processor (run.options.processor)"
                )
        return tensors, tuple(int(n) for n in tensors["attention_mask"].sum(dim=1))

    def written(self, tensors: dict[str, torch.Tensor], config: Any) -> torch.Tensor:
        """Ids of the answers; each distinct image is encoded once."""
        with encoded_once(self.model.vision_model, tensors):
            return super().written(tensors, config)

    def forward(self, tensors: Mapping[str, torch.Tensor]) -> Any:
        """The library's output; each distinct image is encoded once."""
        given = self.on_device(tensors)
        with encoded_once(self.model.vision_model, given):
            return super().forward(given)

    def option_scores(self, item: ModelInput) -> tuple[int, list[list[float]]] | Problem:
        """For T5 the options are the decoder's text after its start token; for OPT they continue the prompt."""
        if not self.encoder_decoder:
            return super().option_scores(item)
        import torch

        tokenizer = self.processor.tokenizer
        config = self.model.config.text_config
        with self._tokenizer_lock:
            options = [tokenizer(c, add_special_tokens=False)["input_ids"] for c in item.request.choices]
            count = len(options)
            tensors, (prompt_tokens, *_) = self.encode_texts([item] * count, [item.request.prompt] * count, "right")
        longest = max(map(len, options))
        decoder = torch.full((count, longest), config.pad_token_id)
        decoder[:, 0] = config.decoder_start_token_id
        for row, ids in enumerate(options):
            decoder[row, 1 : len(ids)] = torch.tensor(ids[:-1], dtype=decoder.dtype)
        logits = self.forward({**tensors, "decoder_input_ids": decoder}).logits
        return prompt_tokens, [token_scores(logits[r, : len(ids)], torch.tensor(ids)) for r, ids in enumerate(options)]
