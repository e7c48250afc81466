"""CLIP and SigLIP (`AutoModel`): an image tower and a text tower without fusion.

CLIP is trained with a softmax over a batch, so an option's score is its log-probability among the options. SigLIP is
trained with a sigmoid for each pair: log σ(scale · cosine + bias), which does not depend on the other options. SigLIP
reads texts padded to its full length, as it was trained; its text vector stands at the last place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.models.dual_encoder import DualEncoder

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_LEGACY_END = 2
"""`eos_token_id` of CLIP configurations from before its correction: the library then pools at the highest id."""


class Clip(DualEncoder):
    """A CLIP checkpoint."""

    family = "clip"
    model_type = "clip"
    model_class = "AutoModel"
    processor_class = "CLIPProcessor"

    @classmethod
    def text_limit(cls, config: dict[str, Any]) -> int:
        """Places of the text tower: 77 in every released CLIP."""
        return int((config.get("text_config") or {}).get("max_position_embeddings", 77))

    def check_processor(self) -> None:
        """Compare the picture size, and the end token at which the text tower is read."""
        check_side(self.settings.name, self.processor.image_processor, self.model.config.vision_config.image_size)
        expected, found = self.model.config.text_config.eos_token_id, self.processor.tokenizer.eos_token_id
        highest = len(self.processor.tokenizer) - 1
        if found != (highest if expected == _LEGACY_END else expected):
            raise ModelError(
                f"{self.settings.name}: the tokenizer's end token is {found}; the model reads a text at token "
                f"{highest if expected == _LEGACY_END else expected}. Fetch tokenizer and configuration of one revision"
            )

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Projected vectors at the end token (texts, dimensions)."""
        vectors: torch.Tensor = self.model.get_text_features(**self.tokens(texts)).pooler_output
        return vectors

    def embed_images(self, images: Sequence[Image]) -> torch.Tensor:
        """Projected vectors of the class token (images, dimensions)."""
        vectors: torch.Tensor = self.model.get_image_features(pixel_values=self.pixels(images)).pooler_output
        return vectors

    def choice_scores(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-softmax over the options of scale · cosine."""
        logits = cosines * float(self.model.logit_scale.detach().exp())
        return np.asarray(logits - np.logaddexp.reduce(logits))


class Siglip(DualEncoder):
    """A SigLIP checkpoint with pictures of fixed size (also SigLIP 2 of that form)."""

    family = "siglip"
    model_type = "siglip"
    model_class = "AutoModel"
    processor_class = "SiglipProcessor"

    @classmethod
    def text_limit(cls, config: dict[str, Any]) -> int:
        """Places of the text tower: 64 in every released SigLIP."""
        return int((config.get("text_config") or {}).get("max_position_embeddings", 64))

    def check_processor(self) -> None:
        """Compare the picture size, and require a pad token."""
        check_side(self.settings.name, self.processor.image_processor, self.model.config.vision_config.image_size)
        if self.processor.tokenizer.pad_token_id is None:
            raise ModelError(f"{self.settings.name}: the tokenizer has no pad token; set it in its configuration")

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Vectors at the last place (texts, dimensions); no mask, as in training."""
        ids = self.tokens(texts, padding="max_length")["input_ids"]
        vectors: torch.Tensor = self.model.get_text_features(input_ids=ids).pooler_output
        return vectors

    def embed_images(self, images: Sequence[Image]) -> torch.Tensor:
        """Vectors of the pooling head (images, dimensions)."""
        vectors: torch.Tensor = self.model.get_image_features(pixel_values=self.pixels(images)).pooler_output
        return vectors

    def choice_scores(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """log σ(scale · cosine + bias) of each option on its own."""
        scale, bias = float(self.model.logit_scale.detach().exp()), float(self.model.logit_bias.detach())
        return np.asarray(-np.logaddexp(0.0, -(scale * cosines + bias)))


def check_side(name: str, images: Any, side: int) -> None:
    """Refuse an image processor that makes pictures of another size than the tower reads.

    Raises:
        ModelError: naming both sizes.
    """
    field = "crop_size" if getattr(images, "do_center_crop", False) else "size"
    made = getattr(images, field)
    if (made.height, made.width) != (side, side):
        raise ModelError(
            f"{name}: {field} of the image processor gives {made.height} x {made.width} pixels and the model reads "
            f"{side} x {side}; correct it in processor_config.json"
        )
