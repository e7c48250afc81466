"""Text-only causal language models (Qwen, Llama, GPT-2, …): reasoners on tables, and blind controls.

A checkpoint with a chat template gets the prompt as a user's message; others read it as it stands. A card's
`run.template` takes the chat template's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from jinja2 import TemplateError
from pydantic import Field

from harness.errors import ModelError
from harness.models.base import Generation, ModelInput, Options, checked_options
from harness.models.checkpoint import Checkpoint, remote_code
from harness.models.likelihood import RankingModel, RankingOptions
from harness.models.transformers_base import Prepared, TransformersOptions
from harness.records import Capabilities, GenerationSettings, ModelSettings, Problem

if TYPE_CHECKING:
    import torch


class TextOptions(RankingOptions):
    """Options of the text family; `processor` holds settings of the tokenizer."""

    chat: Literal["auto", "never"] = "auto"
    """`auto` uses the checkpoint's chat template where it has one and the card has no template."""
    system: str | None = None
    """System message of the chat."""
    chat_options: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template, such as `{"enable_thinking": false}`."""
    ignore_images: bool = False
    """Answer questions about images without looking: the blind baseline. Without it such a question is refused."""


@dataclass(slots=True)
class _TokenizerAlone:
    """What the shared code calls a processor, for checkpoints that have a tokenizer and nothing else."""

    tokenizer: Any


class Text(RankingModel):
    """A causal language model without eyes; texts are padded on the left."""

    family = "text"
    template = "{{ text }}"
    options_type: ClassVar[type[Options]] = TextOptions
    options: TextOptions

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """No image, or any number that is not looked at; options can be ranked."""
        blind = checked_options(settings, TextOptions).ignore_images
        return Capabilities(min_images=0, max_images=None if blind else 0, batching="padded", can_choose=True)

    @classmethod
    def check_type(cls, settings: ModelSettings, checkpoint: Checkpoint, model_type: str | None) -> None:
        """Refuse what is no causal language model by its architecture; the library is asked when it is loaded."""
        named = checkpoint.read_json("config.json").get("architectures")
        names = [str(name) for name in named] if isinstance(named, list) else []
        if not any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
            raise ModelError(
                f"{settings.name}: {checkpoint.folder / 'config.json'} is of architecture "
                f"{', '.join(names) or 'nothing named'}; family {cls.family} reads causal language models "
                "(…ForCausalLM, …LMHeadModel). Correct run.family"
            )

    @classmethod
    def class_name(cls, settings: ModelSettings, checkpoint: Checkpoint) -> str:
        """The library's class for the checkpoint's model type."""
        if settings.remote_code_commit is not None:
            return "AutoModelForCausalLM"
        import transformers
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

        model_type = checkpoint.read_json("config.json").get("model_type")
        if model_type not in KNOWN:
            raise ModelError(
                f"{settings.name}: {checkpoint.folder / 'config.json'} is of model_type {model_type!r}, which is no "
                f"causal language model of transformers {transformers.__version__}; correct run.family"
            )
        return str(KNOWN[str(model_type)])

    @classmethod
    def load_processor(cls, settings: ModelSettings, options: TransformersOptions, checkpoint: Checkpoint) -> Any:
        """The tokenizer; without a pad token of its own it pads with its end token, which the mask hides."""
        import transformers

        library: Any = transformers
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(
                checkpoint.folder, local_files_only=True, **remote_code(settings), **options.processor
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
            raise ModelError(
                f"{settings.name}: the tokenizer in {checkpoint.folder} cannot be loaded: {error}; fetch them again"
            ) from error
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return _TokenizerAlone(tokenizer)

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """How the prompt is made, and the warning of a blind baseline."""
        warnings = ("blind: images are not looked at (run.options.ignore_images)",) if options.ignore_images else ()
        made = {"chat": options.chat, "system": options.system, "chat_options": options.chat_options}
        return {"prompt_by": "run.template" if settings.template else made}, warnings

    @property
    def chats(self) -> bool:
        """Whether a chat template makes the prompt."""
        if self.settings.template or self.options.chat == "never":
            return False
        return bool(self.processor.tokenizer.chat_template)

    def check_processor(self) -> None:
        """Refuse a tokenizer that cannot pad, or chat options that would have no effect."""
        name, tokenizer = self.settings.name, self.processor.tokenizer
        if tokenizer.pad_token_id is None:
            raise ModelError(f"{name}: the tokenizer has neither pad nor end token; set pad_token in its configuration")
        if not self.chats and (self.options.system or self.options.chat_options):
            raise ModelError(
                f"{name}: run.options.system and chat_options belong to a chat template, and none is used here; "
                "remove them, or run.template and chat: never"
            )

    def prompt_text(self, item: ModelInput) -> str:
        """The request's prompt, in the chat template where there is one."""
        if not self.chats:
            return item.request.prompt
        system = [{"role": "system", "content": self.options.system}] if self.options.system else []
        messages = [*system, {"role": "user", "content": item.request.prompt}]
        try:
            text: str = self.processor.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **self.options.chat_options
            )
        except (TemplateError, TypeError) as error:
            raise ModelError(
                f"{self.settings.name}: the checkpoint's chat template fails: {error}; correct run.options, give "
                "run.template, or set run.options.chat: never"
            ) from error
        return text

    def generate(self, prepared: Prepared, settings: GenerationSettings) -> list[Generation | Problem]:
        """Answers in order, without outer white space: after `A:` a base model begins with a blank."""
        answers = super().generate(prepared, settings)
        return [a if isinstance(a, Problem) else replace(a, text=a.text.strip()) for a in answers]

    def encode_texts(
        self, items: Sequence[ModelInput], texts: list[str], padding_side: str
    ) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Token ids and mask (rows, tokens); a chat template brings its own start token."""
        encoded = self.processor.tokenizer(
            texts, padding=True, padding_side=padding_side, return_tensors="pt", add_special_tokens=not self.chats
        )
        tensors: dict[str, torch.Tensor] = {k: encoded[k] for k in ("input_ids", "attention_mask")}
        return tensors, tuple(int(n) for n in tensors["attention_mask"].sum(dim=1))
