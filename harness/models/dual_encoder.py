"""What image–text encoders with two towers share: zero-shot choice, vectors, and retrieval over a gallery.

Every text and every image of a question is embedded on its own, and candidates in parts that depend on the gallery
alone, so that no answer depends on which requests stand in one batch. A text longer than the model reads is cut, its
end token kept, as in the original evaluations; how long that is stands in the identity (`text_limit`).
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from harness.errors import ModelError, ModelOutOfMemory
from harness.models.base import Example, Generation, ModelInput, Options
from harness.models.checkpoint import Checkpoint
from harness.models.choosing import chosen, nothing_to_choose
from harness.models.decoding import library_errors
from harness.models.gallery import Gallery, Vectors, pixel_key, read_gallery
from harness.models.transformers_base import TransformersModel, TransformersOptions
from harness.records import Capabilities, GenerationSettings, ModelSettings, Problem

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

logger = logging.getLogger(__name__)
_KEPT_TEXTS = 50_000


class DualEncoderOptions(TransformersOptions):
    """Options of a family with two towers."""

    choice_template: str = "a photo of a {}."
    """What the text tower reads for an option, `{}` being the option; `{}` alone for options that are sentences."""
    chunk: int = Field(default=32, ge=1)
    """How many candidates of a gallery are embedded together; halved when memory runs out."""

    @field_validator("choice_template")
    @classmethod
    def _one_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("give a text with one {} for the option")
        return value


class DualEncoder(TransformersModel):
    """A model that embeds one image or one text into the same space. The prompt of a choice plays no part."""

    options_type: ClassVar[type[Options]] = DualEncoderOptions
    options: DualEncoderOptions

    def __init__(self, settings: ModelSettings, options: Any, model: Any, processor: Any, device: str) -> None:
        super().__init__(settings, options, model, processor, device)
        self._examples: list[Example] | None = None
        self._gallery: Gallery | None = None
        self._texts: dict[str, Vectors] = {}

    # What a family says about itself

    @classmethod
    @abstractmethod
    def text_limit(cls, config: dict[str, Any]) -> int:
        """How many tokens the text tower reads, by config.json."""

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Text vectors (texts, dimensions) of any length."""

    @abstractmethod
    def embed_images(self, images: Sequence[Image]) -> torch.Tensor:
        """Image vectors (images, dimensions) of any length."""

    @abstractmethod
    def choice_scores(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-probabilities of options from their cosines with the image (options,)."""

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """One image for a choice; retrieval in both directions."""
        return Capabilities(min_images=1, max_images=1, can_choose=True, can_embed=True, can_retrieve=True)

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The template of options, and where texts are cut."""
        limit = cls.text_limit(checkpoint.read_json("config.json"))
        return {"choice_template": options.choice_template, "text_limit": limit}, ()

    def padding_side(self) -> str:
        """Texts are padded on the right, as in training."""
        return "right"

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Not used: images and texts are embedded apart."""
        raise ModelError(f"{self.family}: images and texts are embedded apart; use embed")

    # Vectors

    def tokens(self, texts: Sequence[str], padding: bool | str = True) -> dict[str, torch.Tensor]:
        """Token ids and mask (texts, tokens), cut to the model's length with the end token kept."""
        with self._tokenizer_lock:
            encoded = self.processor.tokenizer(
                list(texts),
                padding=padding,
                truncation=True,
                max_length=self.text_limit(self.model.config.to_dict()),
                return_tensors="pt",
            )
        return self.on_device({k: encoded[k] for k in ("input_ids", "attention_mask") if k in encoded})

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """Pixels (images, 3, side, side) on the model's device."""
        encoded = self.processor.image_processor(list(images), return_tensors="pt", input_data_format="channels_last")
        return self.on_device({"pixel_values": encoded["pixel_values"]})["pixel_values"]

    def text_vectors(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1 (texts, dimensions)."""
        return self._unit(self.embed_texts, texts)

    def image_vectors(self, images: Sequence[Image]) -> Vectors:
        """Vectors of length 1 (images, dimensions)."""
        return self._unit(self.embed_images, images)

    def _unit(self, embed: Any, contents: Any) -> Vectors:
        import torch

        with library_errors(self.family, [f"{len(contents)} texts or images"]), torch.inference_mode():
            vectors = embed(contents).float()
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)

    def one_text(self, text: str) -> Vectors:
        """The vector of a text embedded on its own, kept for the next request with the same text."""
        if text not in self._texts:
            if len(self._texts) >= _KEPT_TEXTS:
                self._texts.clear()
            self._texts[text] = self.text_vectors([text])[0]
        return self._texts[text]

    def embed(self, batch: Sequence[ModelInput]) -> Vectors:
        """One vector of length 1 for each input (inputs, dimensions): of its image, or of its prompt without one."""
        rows = [self.image_vectors(i.images)[0] if i.images else self.one_text(i.request.prompt) for i in batch]
        return np.stack(rows)

    # Choice

    def prepare(self, batch: Sequence[ModelInput]) -> Any:
        """The batch as it is."""
        return list(batch)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        """The likeliest of each request's options: the family writes no text of its own."""
        return self.choose(prepared)

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The likeliest option for each image, each option put into `choice_template`."""
        return [self._basic_problem(i) or nothing_to_choose(i.request.choices) or self._chosen(i) for i in batch]

    def _chosen(self, item: ModelInput) -> Generation | Problem:
        choices = item.request.choices
        texts = [self.options.choice_template.replace("{}", choice) for choice in choices]
        options = np.stack([self.one_text(text) for text in texts]).astype(np.float64)
        cosines = options @ self.image_vectors(item.images)[0].astype(np.float64)
        return chosen(choices, [float(v) for v in self.choice_scores(cosines)])

    # Retrieval

    def fit(self, examples: Iterable[Example]) -> None:
        """Keep the candidates; they are read with the first query, so that tasks without queries cost nothing."""
        self._examples, self._gallery = list(examples), None

    def retrieve(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The candidates with the highest cosine; see `Model.retrieve`."""
        gallery = self.gallery()
        return [gallery.problem_of(item) or self.best_candidates(item, gallery) for item in batch]

    def best_candidates(self, item: ModelInput, gallery: Gallery) -> Generation:
        """The answer to one query."""
        other = gallery.texts if item.images else gallery.images
        return other.best_of(other.similarities(self.query_vector(item, gallery)))

    def query_vector(self, item: ModelInput, gallery: Gallery) -> Vectors:
        """The vector (dimensions,) of a query, from the gallery where it is a candidate itself."""
        if item.images:
            found = gallery.images.vector(pixel_key(item.images[0]))
            return self.image_vectors(item.images)[0] if found is None else found
        found = gallery.texts.vector(item.request.prompt)
        return self.one_text(item.request.prompt) if found is None else found

    def gallery(self) -> Gallery:
        """The candidates of the last `fit` as vectors, in parts that are halved as long as memory runs out.

        Raises:
            ModelError: no candidates were given.
        """
        if self._examples is None:
            raise ModelError(f"{self.family}: call fit with the task's examples first")
        chunk = self.options.chunk
        while self._gallery is None:
            try:
                self._gallery = self.read_gallery(self._examples, chunk)
            except ModelOutOfMemory:
                if chunk == 1:
                    raise
                chunk //= 2
                logger.warning("%s: candidates do not fit memory; going on with %d", self.settings.name, chunk)
        return self._gallery

    def read_gallery(self, examples: Sequence[Example], chunk: int) -> Gallery:
        """The candidates as vectors, `chunk` of them embedded together."""
        return read_gallery(examples, self.text_vectors, self.image_vectors, chunk)
