"""InstructBLIP (`InstructBlipForConditionalGeneration`), Vicuna and Flan-T5: BLIP-2 whose Q-Former reads the prompt.

The Q-Former has a tokenizer of its own and is padded on the right with a mask; the language model is padded as in
BLIP-2. Where options are ranked, the Q-Former reads the prompt alone, as it does before an answer is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.models.base import ModelInput
from harness.models.blip2 import Blip2
from harness.models.sight import check_sight
from harness.records import Problem

if TYPE_CHECKING:
    import torch


class InstructBlip(Blip2):
    """An InstructBLIP checkpoint. One image; the prompt is an instruction or a bare question."""

    family = "instructblip"
    model_type = "instructblip"
    model_class = "InstructBlipForConditionalGeneration"
    processor_class = "InstructBlipProcessor"

    def check_loaded(self) -> None:
        """Refuse a model that does not see."""
        check_sight(self, "What is in the picture?")

    def problem_of(self, item: ModelInput) -> Problem | None:
        """A prompt must fit the Q-Former's positions, beside its query tokens."""
        limit = self.model.config.qformer_config.max_position_embeddings
        with self._tokenizer_lock:
            length = len(self.processor.qformer_tokenizer(item.request.prompt)["input_ids"])
        if length > limit:
            return Problem("prompt_too_long", f"{length} tokens for the Q-Former, which has {limit} positions")
        return super().problem_of(item)

    def encode_texts(
        self, items: Sequence[ModelInput], texts: list[str], padding_side: str
    ) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """BLIP-2's tensors, with ids and mask of the prompts for the Q-Former."""
        tensors, lengths = super().encode_texts(items, texts, padding_side)
        instruction = self.processor.qformer_tokenizer(
            [item.request.prompt for item in items], padding=True, padding_side="right", return_tensors="pt"
        )
        read = {f"qformer_{name}": instruction[name] for name in ("input_ids", "attention_mask")}
        return {**tensors, **read}, lengths
