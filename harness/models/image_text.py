"""Any checkpoint that transformers opens as `AutoModelForImageTextToText` and that has a chat template.

The prompt of a request becomes the text of a user's message beside its images, and the checkpoint's own template makes
the model's format of it. A card's `run.template` takes the chat template's place: then the prompt is read as it stands,
with the processor's image token once for each image. Loading refuses a model that does not see (module `sight`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from jinja2 import TemplateError
from pydantic import Field

from harness.errors import ModelError
from harness.models.base import Generation, ModelInput, Options, checked_options
from harness.models.checkpoint import Checkpoint, locate
from harness.models.likelihood import RankingModel, RankingOptions
from harness.models.loading import load_image_processor
from harness.models.sight import check_sight
from harness.models.transformers_base import TransformersOptions
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch

OWN_FAMILIES = {
    "blip": "family blip-caption or blip-vqa",
    "blip-2": "family blip2",
    "git": "family git",
    "idefics": "family idefics",
    "instructblip": "family instructblip",
    "kosmos-2": "family kosmos2",
    "pix2struct": "family pix2struct",
}
"""`model_type` → what reads it: models without a chat that need more than images beside text."""
NOT_CAUSAL = frozenset({"paligemma"})
"""Model types whose prompt tokens look ahead, so that an option would be read before it is scored."""


class ImageTextOptions(RankingOptions):
    """Options of the general family."""

    chat_template: str | None = None
    """Jinja text, or the name of one of the checkpoint's templates, in place of its default."""
    system: str | None = None
    """Text of a system message before the user's."""
    images_first: bool = True
    """Whether the images stand before the text of the message, or behind it."""
    max_images: int | None = Field(default=None, ge=1)
    """How many images one prompt may have; no limit where `None`."""
    padding_side: Literal["left", "right"] = "left"
    """Left for models that continue their prompt; encoder-decoders with relative positions need right."""


class ImageText(RankingModel):
    """A chat model over images and text."""

    family = "image-text-to-text"
    template = "{{ text }}"
    options_type: ClassVar[type[Options]] = ImageTextOptions
    options: ImageTextOptions

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Any number of images unless the card limits it; options can be ranked where the prompt is read causally."""
        options = checked_options(settings, ImageTextOptions)
        config = locate(settings).read_json("config.json")
        causal = config.get("model_type") not in NOT_CAUSAL and not config.get("is_encoder_decoder")
        return Capabilities(min_images=0, max_images=options.max_images, batching="padded", can_choose=causal)

    @classmethod
    def check_type(cls, settings: ModelSettings, checkpoint: Checkpoint, model_type: str | None) -> None:
        """Refuse what another family reads; whether the library knows the type is asked when it is loaded."""
        if model_type is None or model_type in OWN_FAMILIES:
            reader = OWN_FAMILIES.get(str(model_type), "no family")
            raise ModelError(
                f"{settings.name}: {checkpoint.folder / 'config.json'} is of model_type {model_type!r}, which {reader} "
                f"reads; family {cls.family} reads the chat models of AutoModelForImageTextToText. Correct run.family"
            )

    @classmethod
    def class_name(cls, settings: ModelSettings, checkpoint: Checkpoint) -> str:
        """The library's class for the checkpoint's model type."""
        if settings.remote_code_commit is not None:
            return "AutoModelForImageTextToText"
        import transformers
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

        model_type = str(checkpoint.read_json("config.json").get("model_type"))
        if model_type not in KNOWN:
            raise ModelError(
                f"{settings.name}: {checkpoint.folder / 'config.json'} is of model_type {model_type!r}; family "
                f"{cls.family} reads the {len(KNOWN)} types of AutoModelForImageTextToText in transformers "
                f"{transformers.__version__}. Correct run.family, or install a version that knows it"
            )
        return str(KNOWN[model_type])

    @classmethod
    def load_processor(cls, settings: ModelSettings, options: TransformersOptions, checkpoint: Checkpoint) -> Any:
        """The processor of the class that the checkpoint names, without its part for videos."""
        return load_image_processor(settings, checkpoint, options.processor)

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Which template makes the prompt."""
        return {"prompt_by": "run.template" if settings.template else "chat template"}, ()

    @property
    def chats(self) -> bool:
        """Whether a chat template makes the prompt."""
        return not self.settings.template

    def padding_side(self) -> str:
        """As the card says."""
        return self.options.padding_side

    def check_processor(self) -> None:
        """Refuse a processor without template, pad token or the model's image token."""
        name, processor, config = self.settings.name, self.processor, self.model.config
        if self.chats and not (self.options.chat_template or getattr(processor, "chat_template", None)):
            raise ModelError(
                f"{name}: the checkpoint has no chat template; give run.template with an image token for each image, "
                f'such as "{{% for _ in range(images) %}}{getattr(processor, "image_token", "<image>")}{{% endfor %}}'
                '{{ text }}", or run.options.chat_template'
            )
        if not self.chats and (self.options.chat_template or self.options.system):
            raise ModelError(
                f"{name}: run.template takes the chat template's place, so run.options.chat_template and system have "
                "no effect; remove them, or run.template"
            )
        expected = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
        if expected is None:
            raise ModelError(f"{name}: config.json names no image_token_id; {self.family} counts the image tokens")
        token = str(getattr(processor, "image_token", None))
        found = processor.tokenizer.convert_tokens_to_ids(token)
        if found != expected:
            raise ModelError(
                f"{name}: the processor's image token {token} is token {found} and the model expects {expected}; "
                "fetch the tokenizer and the processor's files that belong to the checkpoint"
            )
        if processor.tokenizer.pad_token_id is None:
            raise ModelError(f"{name}: the tokenizer has no pad token; set pad_token in its configuration")
        self.image_token_id = int(expected)

    def check_loaded(self) -> None:
        """Refuse a model that does not see."""
        check_sight(self, "What is this?" if self.chats else f"{self.place}What is this?")

    @property
    def place(self) -> str:
        """What a prompt without chat template holds for each image."""
        return str(getattr(self.processor, "boi_token", None) or self.processor.image_token)

    def problem_of(self, item: ModelInput) -> Problem | None:
        """The place of an image must not be in the question, or be there once for each image without chat."""
        marks = {self.place, str(self.processor.image_token)}
        wanted = 0 if self.chats else len(item.images)
        found = sum(item.request.prompt.count(mark) for mark in marks)
        if found == wanted:
            return None
        return Problem(
            "prompt_image_mismatch",
            f"the prompt has {found} times {self.place} where {wanted} belong; correct run.template, "
            "or the question holds that text itself",
        )

    def prompt_text(self, item: ModelInput) -> str:
        """The chat template's text of one message of a user, up to where the assistant begins."""
        prompt = item.request.prompt
        if not self.chats:
            return prompt
        images = [{"type": "image"} for _ in item.images]
        words = [{"type": "text", "text": prompt}] if prompt else []
        user = {"role": "user", "content": images + words if self.options.images_first else words + images}
        system = self.options.system
        first = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
        try:
            return str(
                self.processor.apply_chat_template(
                    [*first, user], chat_template=self.options.chat_template, add_generation_prompt=True
                )
            )
        except (TemplateError, TypeError) as error:
            raise ModelError(f"{self.settings.name}: the chat template cannot write this prompt: {error}") from error

    def encode_texts(
        self, items: Sequence[ModelInput], texts: list[str], padding_side: str
    ) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Everything that the processor makes of texts and images, with the image tokens of each row counted."""
        import torch

        images = [list(item.images) for item in items]
        start = self.processor.tokenizer.bos_token
        # A template that writes the start token itself must not get a second one from the tokenizer.
        started = bool(start) and all(text.startswith(start) for text in texts)
        with warnings.catch_warnings():
            # PaliGemma's processor makes an array of a tensor in a way that numpy 2 deprecates.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            encoded = self.processor(
                images=images if any(images) else None,
                text=texts,
                padding=True,
                padding_side=padding_side,
                return_tensors="pt",
                **({"add_special_tokens": False} if started else {}),
                **({"input_data_format": "channels_last"} if any(images) else {}),
            )
        # Labels, which PaliGemma's processor makes of every prompt, are for training.
        tensors = {n: v for n, v in encoded.items() if isinstance(v, torch.Tensor) and n != "labels"}
        found = tensors["input_ids"].eq(self.image_token_id).sum(dim=1).tolist()
        for item, count in zip(items, found, strict=True):
            # That the count is the model's own is checked by the library's model, which puts the features there.
            if count < len(item.images) or (count and not item.images):
                raise ModelError(
                    f"{self.settings.name}: sample {item.request.sample_id}: {count} image tokens for "
                    f"{len(item.images)} images; the template or the processor does not belong to the model"
                )
        return tensors, tuple(int(n) for n in tensors["attention_mask"].sum(dim=1))

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The likeliest option of each request, where the model reads its prompt causally."""
        if not self.can.can_choose:
            raise ModelError(
                f"{self.settings.name}: the model looks ahead in its prompt, so options cannot be ranked by "
                "likelihood; set answer_by: generate"
            )
        return super().choose(batch)
