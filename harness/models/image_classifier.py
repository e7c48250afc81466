"""Image classifiers (`AutoModelForImageClassification`): ViT, BEiT and their like. The prompt plays no part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.errors import ModelError
from harness.models.base import ModelInput
from harness.models.checkpoint import Checkpoint
from harness.models.labels import LabelModel
from harness.records import Capabilities, ModelSettings

if TYPE_CHECKING:
    import torch

_HEAD = "ForImageClassification"


class ImageClassifier(LabelModel):
    """A checkpoint with a classification head over one image."""

    family = "image-classifier"
    model_type = "any with a head for image classification"
    model_class = "AutoModelForImageClassification"
    processor_class = "AutoImageProcessor"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Exactly one image; options that are labels can be compared."""
        return Capabilities(min_images=1, max_images=1, batching="padded", can_choose=True)

    @classmethod
    def check_type(cls, settings: ModelSettings, checkpoint: Checkpoint, model_type: str | None) -> None:
        """Require the head by the class named in the configuration: without it the head would be random."""
        architectures = checkpoint.read_json("config.json").get("architectures") or []
        if not any(str(name).endswith(_HEAD) for name in architectures):
            named = ", ".join(map(str, architectures)) or "no class"
            raise ModelError(
                f"{settings.name}: {checkpoint.folder / 'config.json'} names {named}; "
                f"family {cls.family} reads …{_HEAD}. Correct run.family or run.checkpoint"
            )

    def check_processor(self) -> None:
        """Compare the picture size where the model has a fixed one."""
        side = getattr(self.model.config, "image_size", None)
        field = "crop_size" if getattr(self.processor, "do_center_crop", False) else "size"
        made = getattr(self.processor, field, None)
        height, width = getattr(made, "height", None), getattr(made, "width", None)
        if isinstance(side, int) and height and width and (height, width) != (side, side):
            raise ModelError(
                f"{self.settings.name}: {field} of the image processor gives {height} x {width} pixels and the model "
                f"reads {side} x {side}; correct preprocessor_config.json"
            )

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Pixels (rows, 3, side, side); no tokens."""
        images = [item.images[0] for item in items]
        encoded = self.processor(images, return_tensors="pt", input_data_format="channels_last")
        return {"pixel_values": encoded["pixel_values"]}, (0,) * len(items)

    def logits(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The head's outputs (rows, labels)."""
        found: torch.Tensor = self.model(**tensors).logits
        return found
