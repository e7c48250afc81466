"""BLIP matching (`BlipForImageTextRetrieval`): cosines find the first candidates, the matching head ranks them again.

As in the original evaluation, the `rerank` candidates with the highest cosine are scored by the head's logit for
"matches" plus the cosine (Li et al. 2022, retrieval code; 256 candidates for COCO, 128 for Flickr30k). The states of
the gallery's images are kept in a temporary file, 1.7 MB each at 384 px in float32, and read where they are needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import ModelError
from harness.models.base import BEST, Generation, ModelInput, Options
from harness.models.blip import BlipOptions
from harness.models.checkpoint import Checkpoint
from harness.models.choosing import chosen
from harness.models.clip import check_side
from harness.models.decoding import library_errors
from harness.models.dual_encoder import DualEncoder, DualEncoderOptions
from harness.models.gallery import Gallery, ranked, read_gallery
from harness.records import ModelSettings

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from harness.models.base import Example

TEXT_TOKENS = 35
"""Where the original evaluation cuts a text."""


class BlipItmOptions(BlipOptions, DualEncoderOptions):
    """Options of a BLIP matching checkpoint."""

    rerank: int = Field(default=256, ge=BEST)
    """How many candidates the matching head scores."""
    encoder_token: bool = False
    """Puts `[ENC]` (the highest id) in the place of `[CLS]` for the matching head, as the original code."""


class _States:
    """Image states in a temporary file: (images, places, width) in float32."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the gallery; `close` deletes it
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def add(self, states: NDArray[np.float32]) -> None:
        """Append (images, places, width)."""
        self._shape = states.shape[1:]
        self._count += len(states)
        self._file.write(np.ascontiguousarray(states, dtype=np.float32).tobytes())

    def rows(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """The states of some images, in the order asked."""
        self._file.flush()
        stored = np.memmap(self._file, dtype=np.float32, mode="r", shape=(self._count, *self._shape))
        return np.array(stored[list(rows)])

    def close(self) -> None:
        """Delete the file."""
        self._file.close()


class BlipItm(DualEncoder):
    """A BLIP matching checkpoint."""

    family = "blip-itm"
    options_type: ClassVar[type[Options]] = BlipItmOptions
    options: BlipItmOptions
    model_type = "blip"
    model_class = "BlipForImageTextRetrieval"
    processor_class = "BlipProcessor"

    def __init__(self, settings: ModelSettings, options: Any, model: Any, processor: Any, device: str) -> None:
        super().__init__(settings, options, model, processor, device)
        self._states: _States | None = None

    @classmethod
    def text_limit(cls, config: dict[str, Any]) -> int:
        """35 tokens, as in the original evaluation."""
        return TEXT_TOKENS

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """As in every dual encoder, with what the matching head is given."""
        shared, warnings = super().input_settings(settings, options, checkpoint)
        return {**shared, "rerank": options.rerank, "encoder_token": options.encoder_token}, warnings

    def check_processor(self) -> None:
        """Compare the picture size, and that the tokenizer's ids fit the model's table."""
        check_side(self.settings.name, self.processor.image_processor, self.model.config.vision_config.image_size)
        if len(self.processor.tokenizer) > self.model.config.text_config.vocab_size:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has more tokens than the model; fetch both of one revision"
            )

    # Vectors

    def image_states(self, images: Sequence[Image]) -> torch.Tensor:
        """The vision tower's states (images, places, width)."""
        states: torch.Tensor = self.model.vision_model(pixel_values=self.pixels(images)).last_hidden_state
        return states

    def embed_images(self, images: Sequence[Image]) -> torch.Tensor:
        """Projected class states (images, dimensions)."""
        return self._projected(self.image_states(images))

    def _projected(self, states: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.model.vision_proj(states[:, 0, :])
        return vectors

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Projected class states (texts, dimensions), without the image."""
        states = self.model.text_encoder(**self.tokens(texts)).last_hidden_state
        vectors: torch.Tensor = self.model.text_proj(states[:, 0, :])
        return vectors

    # The matching head

    def match_logits(self, texts: Sequence[str], states: torch.Tensor) -> torch.Tensor:
        """Logits (pairs, 2) of "does not match", "matches", for texts beside image states (pairs, places, width)."""
        import torch

        tokens = self.tokens(texts)
        if self.options.encoder_token:
            tokens["input_ids"][:, 0] = self.model.config.text_config.vocab_size - 1
        mask = torch.ones(states.shape[:-1], dtype=torch.long, device=states.device)
        output = self.model.text_encoder(**tokens, encoder_hidden_states=states, encoder_attention_mask=mask)
        logits: torch.Tensor = self.model.itm_head(output.last_hidden_state[:, 0, :])
        return logits.float()

    def choice_scores(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """Not used: options are scored by the matching head."""
        raise ModelError(f"{self.family}: options are scored by the matching head")

    def _chosen(self, item: ModelInput) -> Generation:
        """log p("matches") of each option, put into the template; one option at a time."""
        import torch

        choices = item.request.choices
        with library_errors(self.family, [item.request.sample_id]), torch.inference_mode():
            states = self.image_states(item.images)
            texts = [self.options.choice_template.replace("{}", choice) for choice in choices]
            logits = torch.cat([self.match_logits([text], states) for text in texts])
            scores = logits.log_softmax(dim=-1)[:, 1].tolist()
        return chosen(choices, scores)

    def best_candidates(self, item: ModelInput, gallery: Gallery) -> Generation:
        """The first candidates by cosine, ranked by the matching head's logit plus the cosine."""
        import torch

        other = gallery.texts if item.images else gallery.images
        cosines = other.similarities(self.query_vector(item, gallery))
        first = np.argsort(-cosines, kind="stable")[: self.options.rerank]
        scores = np.full(len(cosines), -np.inf)
        with library_errors(self.family, [item.request.sample_id]), torch.inference_mode():
            own = self.image_states(item.images) if item.images else None
            for start in range(0, len(first), self.options.chunk):
                rows = first[start : start + self.options.chunk]
                logits = self._pair_logits(item, other.contents, own, [int(row) for row in rows])
                scores[rows] = logits[:, 1].double().cpu().numpy() + cosines[rows]
        kept = [place for place, row in enumerate(other.places) if np.isfinite(scores[row])]
        return ranked([other.ids[p] for p in kept], scores[[other.places[p] for p in kept]])

    def _pair_logits(
        self, item: ModelInput, texts: Sequence[str], own: torch.Tensor | None, rows: Sequence[int]
    ) -> torch.Tensor:
        """Logits (candidates, 2) of a query with some contents of the other side."""
        import torch

        if own is not None:
            return self.match_logits([texts[row] for row in rows], own.expand(len(rows), -1, -1))
        if self._states is None:
            raise ModelError(f"{self.family}: the gallery has not been read")
        states = torch.from_numpy(self._states.rows(rows)).to(self.model.device, self.model.dtype)
        return self.match_logits([item.request.prompt] * len(rows), states)

    def read_gallery(self, examples: Sequence[Example], chunk: int) -> Gallery:
        """The candidates as vectors, and the states of the images in the temporary file."""
        import torch

        self._forget_states()
        kept = self._states = _States()

        def image_vectors(images: Sequence[Image]) -> NDArray[np.float32]:
            with library_errors(self.family, [f"{len(images)} images"]), torch.inference_mode():
                states = self.image_states(images)
                kept.add(states.float().cpu().numpy())
            return self._unit(self._projected, states)

        return read_gallery(examples, self.text_vectors, image_vectors, chunk)

    def _forget_states(self) -> None:
        if self._states is not None:
            self._states.close()
            self._states = None

    def close(self) -> None:
        """Drop the weights, and delete the file of image states."""
        self._forget_states()
        super().close()
