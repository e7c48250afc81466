"""Pix2Struct and its fine-tunings: DePlot, MatCha, chart and document questions, captions.

A question checkpoint reads its prompt as a header drawn on the image, so the font is part of the model's input. The
library would fetch Arial from the hub; here the header is drawn with the card's font or the bundled DejaVu Sans, which
is recorded. A captioning checkpoint takes no text. DePlot separates rows with `<0x0A>`, kept in the raw answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import ModelError
from harness.fingerprint import file_sha256
from harness.mini.fonts import dejavu_sans
from harness.models.base import ModelInput, Options
from harness.models.checkpoint import Checkpoint, locate
from harness.models.transformers_base import TransformersModel, TransformersOptions, image_processor_settings
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 100_000_000
"""Of an image with its header: a narrow image is widened to the header, so 1 x 2000 pixels would become gigabytes."""
_HEADER_WIDTH_PX = 1700
"""An upper bound on a header's width: 80 characters at 36 pixels."""
_CAPTION_WARNING = "captioning checkpoint: it takes no text, so the prompt of a task has no effect"


class Pix2StructOptions(TransformersOptions):
    """Options of the Pix2Struct family."""

    font: str | None = None
    """TrueType file that headers are drawn with; the original is Arial."""
    max_patches: int | None = None
    """How many 16 x 16 patches the image is scaled to; the checkpoint's own number where `None`."""


class Pix2Struct(TransformersModel):
    """A Pix2Struct checkpoint. One image; patches are padded to one number, so batches are exact."""

    family = "pix2struct"
    template = "{{ text }}"
    options_type: ClassVar[type[Options]] = Pix2StructOptions
    static_cache: ClassVar[bool] = True
    options: Pix2StructOptions
    model_type = "pix2struct"
    model_class = "Pix2StructForConditionalGeneration"
    processor_class = "Pix2StructProcessor"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Exactly one image."""
        return Capabilities(min_images=1, max_images=1, batching="padded")

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The header's font by its bytes, with a warning for a font that is not the original's; the patches."""
        stored = {**image_processor_settings(checkpoint), **options.processor}
        patches = {"max_patches": options.max_patches or stored.get("max_patches")}
        if not stored.get("is_vqa"):
            return patches, (_CAPTION_WARNING,)
        font = _font(settings, options)
        warnings: tuple[str, ...] = ()
        if not font.name.lower().startswith("arial"):
            chosen = "as the card says" if options.font else "because run.options.font is not set"
            warnings = (f"headers are drawn in {font.name}, {chosen}; the model was trained with Arial",)
        return {**patches, "header_font": {"name": font.name, "sha256": file_sha256(font)}}, warnings

    @classmethod
    def default_template(cls, settings: ModelSettings) -> str:
        """The card's template; else nothing for a captioning checkpoint, and the bare question for the others."""
        if settings.template or image_processor_settings(locate(settings)).get("is_vqa"):
            return settings.template or cls.template
        return "{# a captioning checkpoint takes no text #}"

    @property
    def header(self) -> bool:
        """Whether the prompt is drawn on the image."""
        return bool(self.processor.image_processor.is_vqa)

    @property
    def max_patches(self) -> int:
        """How many patches an image is scaled to."""
        return int(self.options.max_patches or self.processor.image_processor.max_patches)

    def check_processor(self) -> None:
        """Rows and columns must have an embedding each: their numbers reach `max_patches`, and 0 is the padding's."""
        rows = self.model.config.vision_config.seq_len
        if not 1 <= self.max_patches < rows:
            raise ModelError(
                f"{self.settings.name}: max_patches is {self.max_patches}; the model has places for 1 to {rows - 1}. "
                "Set run.options.max_patches"
            )
        self._font_path = str(_font(self.settings, self.options)) if self.header else ""
        # Row and column numbers travel in the patches; in bfloat16 those above 256 would be rounded. So the patches
        # stay float32 and are cast behind the numbers.
        projection = self.model.encoder.embeddings.patch_projection
        projection.register_forward_pre_hook(lambda module, inputs: (inputs[0].to(module.weight.dtype),))

    def problem_of(self, item: ModelInput) -> Problem | None:
        """A header needs words, and an image that can be brought to the header's width."""
        if not self.header:
            return None
        if not item.request.prompt.strip():
            return Problem("no_prompt", f"{self.settings.name} reads its question from a header; the prompt is empty")
        width, height = item.images[0].size
        scaled = max(width, _HEADER_WIDTH_PX)
        if scaled * height * scaled // width > MAX_PIXELS:
            return Problem("image_too_narrow", f"{width} x {height} pixels cannot be widened to carry a header")
        return None

    def echo_length(self, tensors: Mapping[str, torch.Tensor]) -> int:
        """The decoder's start token."""
        return 1

    def position_limit(self) -> int | None:
        """Positions of the text are relative."""
        return None

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Flattened patches (rows, patches, 2 + 768) and their mask; a row's count is its patches, not its pads."""
        images = [self._with_header(item) if self.header else item.images[0] for item in items]
        encoded = self.processor.image_processor(
            images=images,
            is_vqa=False,
            max_patches=self.max_patches,
            return_tensors="pt",
            input_data_format="channels_last",
        )
        tensors = {k: encoded[k] for k in ("flattened_patches", "attention_mask")}
        return tensors, tuple(int(n) for n in tensors["attention_mask"].sum(dim=1))

    def _with_header(self, item: ModelInput) -> Any:
        """The image below its prompt, drawn by the library's own PIL routine with a font that is here."""
        import numpy as np
        from PIL import Image

        pixels = np.asarray(item.images[0].convert("RGB")).transpose(2, 0, 1)
        drawn = self.processor.image_processor.render_header(pixels, item.request.prompt, font_path=self._font_path)
        return Image.fromarray(drawn.transpose(1, 2, 0))

    def on_device(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors where the model is, in float32."""
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}


def _font(settings: ModelSettings, options: Pix2StructOptions) -> Path:
    if options.font is None:
        return dejavu_sans()
    path = Path(options.font).expanduser()
    if not path.is_file():
        raise ModelError(f"{settings.name}: run.options.font: there is no file {path}; give a .ttf file")
    return path
