"""ViLT: answers to questions (`ViltForQuestionAnswering`), and judgements of two images
(`ViltForImagesAndTextClassification`, NLVR2). The configuration's `architectures` says which.

Texts are cut to the model's 40 places with the separator kept, as in the original code. The library draws the order of
the patches and the pads at random; neither reaches the answer beyond rounding, and each pass starts from one seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from harness.models.base import ModelInput, Options
from harness.models.checkpoint import Checkpoint, locate
from harness.models.labels import LabelModel, LabelOptions
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch

_PAIRS = "ViltForImagesAndTextClassification"
_PLACES = 40


class ViltOptions(LabelOptions):
    """Options of a ViLT checkpoint."""

    attention: Literal["eager"] = "eager"
    """The library has no other kernel for ViLT."""


class Vilt(LabelModel):
    """A ViLT checkpoint with a head for answers; `load` gives a `ViltPairs` where the head judges two images."""

    family = "vilt"
    options_type: ClassVar[type[Options]] = ViltOptions
    model_type = "vilt"
    model_class = "ViltForQuestionAnswering"
    processor_class = "ViltProcessor"

    @classmethod
    def judges_pairs(cls, settings: ModelSettings) -> bool:
        """Whether the checkpoint reads two images."""
        return _PAIRS in (locate(settings).read_json("config.json").get("architectures") or [])

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """One image, or exactly two for a checkpoint of NLVR2; options that are labels can be compared."""
        images = 2 if cls.judges_pairs(settings) else 1
        return Capabilities(min_images=images, max_images=images, batching="padded", can_choose=True)

    @classmethod
    def load(cls, settings: ModelSettings) -> Vilt:
        """The model of the head that the checkpoint has."""
        target = ViltPairs if cls.judges_pairs(settings) else cls
        return cast(Vilt, super(Vilt, target).load(settings))

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The labels, and where texts are cut."""
        shared, warnings = super().input_settings(settings, options, checkpoint)
        limit = checkpoint.read_json("config.json").get("max_position_embeddings", _PLACES)
        return {**shared, "text_limit": limit}, warnings

    def check_processor(self) -> None:
        """Nothing beyond the processor's own files: pictures may have any size."""

    def problem_of(self, item: ModelInput) -> Problem | None:
        """The model needs words."""
        if item.request.prompt.strip():
            return None
        return Problem("no_prompt", f"{self.settings.name} answers questions; the prompt is empty")

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Ids, types and mask (rows, tokens), pixels and their mask (rows [, 2], …, height, width)."""
        text = self.processor.tokenizer(
            [item.request.prompt for item in items],
            padding=True,
            truncation=True,
            max_length=self.model.config.max_position_embeddings,
            return_tensors="pt",
        )
        images = [image for item in items for image in item.images]
        seen = self.processor.image_processor(images, return_tensors="pt", input_data_format="channels_last")
        tensors = {k: text[k] for k in ("input_ids", "token_type_ids", "attention_mask")}
        for name in ("pixel_values", "pixel_mask"):
            tensors[name] = self.by_request(seen[name], len(items))
        return tensors, tuple(int(n) for n in text["attention_mask"].sum(dim=1))

    def by_request(self, tensor: torch.Tensor, rows: int) -> torch.Tensor:
        """Images (rows, …) as the model reads them."""
        return tensor

    def logits(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The head's outputs (rows, labels)."""
        import torch

        with torch.random.fork_rng(devices=self.devices):
            torch.manual_seed(0)
            found: torch.Tensor = self.model(**tensors).logits
        return found


class ViltPairs(Vilt):
    """ViLT for NLVR2: a statement about two images is True or False, as the labels of config.json say."""

    model_class = _PAIRS

    def by_request(self, tensor: torch.Tensor, rows: int) -> torch.Tensor:
        """Images (rows, 2, …)."""
        return tensor.view(rows, -1, *tensor.shape[1:])
