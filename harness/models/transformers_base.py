"""What the families of the transformers library share: identity, loading, devices, batches, decoding.

A family says which classes it loads, what is wrong with a processor, and how a batch becomes tensors. Images go through
the processors' PIL backend, which gives the same pixels on every machine.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from harness.errors import ModelError
from harness.models.base import Generation, Model, ModelInput, Options, PreparedBatch, checked_options
from harness.models.checkpoint import Checkpoint, locate
from harness.models.decoding import (
    cut_at,
    finite_scores,
    generation_config,
    keep_token_ids_only,
    library_errors,
    output_length,
    sampling_seed,
    write_statically,
)
from harness.models.devices import (
    library_versions,
    peak_memory,
    reset_peak_memory,
    resolved_device,
    resolved_dtype,
)
from harness.models.loading import IMAGE_BACKEND, load_processor, load_weights
from harness.models.quantization import Quantization, quantization_identity
from harness.models.shared_images import repeated
from harness.records import GenerationSettings, ModelIdentity, ModelSettings, Problem

if TYPE_CHECKING:
    import torch


class TransformersOptions(Options):
    """Options of every family of the library."""

    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """The attention kernel; another one rounds differently."""
    processor: dict[str, Any] = Field(default_factory=dict)
    """Settings that replace or complete those of the checkpoint's processor, such as `{"num_query_tokens": 32}`."""
    device_map: Literal["auto"] | None = None
    """`auto` lays the layers over all GPUs, by the accelerate library; without it the model is on one device."""
    cache: Literal["dynamic", "static"] = "dynamic"
    """Keys and values of what was written: in memory that grows, or that is there from the start."""
    compile: bool = False
    """Whether torch.compile makes the step that writes one token; needs the static cache. New shapes are slow once."""
    quantization: Quantization | None = None
    """Weights of the linear layers in 8 or 4 bits, by the bitsandbytes library (extra `quantization`)."""

    @model_validator(mode="after")
    def _compiled_steps_have_one_shape(self) -> Self:
        if self.compile and self.cache != "static":
            raise ValueError("compile needs `cache: static`")
        return self


@dataclass(frozen=True, slots=True)
class Prepared(PreparedBatch):
    """A batch as tensors on the CPU."""

    tensors: Mapping[str, torch.Tensor]
    prompt_tokens: tuple[int, ...]


class TransformersModel(Model):
    """A model of the transformers library."""

    requires: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    extra: ClassVar[str] = "models"
    options_type: ClassVar[type[Options]] = TransformersOptions
    model_type: ClassVar[str]
    """`model_type` in config.json."""
    model_class: ClassVar[str]
    processor_class: ClassVar[str]
    static_cache: ClassVar[bool] = False
    """Whether the family can write with `cache: static`, and with it `compile`."""
    use_cache: ClassVar[bool] = True
    """Whether keys and values are kept from one generated token to the next."""

    def __init__(
        self, settings: ModelSettings, options: TransformersOptions, model: Any, processor: Any, device: str
    ) -> None:
        super().__init__(settings)
        self.options = options
        self.can = self.capabilities(settings)
        self.model = model
        self.processor = processor
        self.device = device
        self.devices = tuple(sorted({str(w.device) for w in model.parameters() if w.is_cuda}))
        # The Rust tokenizer refuses to be set up in one thread while another one reads from it.
        self._tokenizer_lock = threading.Lock()
        if hasattr(processor, "tokenizer"):
            processor.tokenizer.padding_side = self.padding_side()
        self.check_processor()

    # What a family says about itself

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What else of the family shapes the input, for the identity; and warnings."""
        return {}, ()

    @abstractmethod
    def check_processor(self) -> None:
        """Refuse a processor that would feed the model something else than its configuration expects."""

    @classmethod
    def check_type(cls, settings: ModelSettings, checkpoint: Checkpoint, model_type: str | None) -> None:
        """Refuse a checkpoint of another family by the `model_type` of its configuration."""
        if model_type != cls.model_type:
            raise ModelError(
                f"{settings.name}: {checkpoint.folder / 'config.json'} is of model_type {model_type!r}; "
                f"family {cls.family} reads {cls.model_type!r}. Correct run.family"
            )

    @classmethod
    def class_name(cls, settings: ModelSettings, checkpoint: Checkpoint) -> str:
        """The library's class of the checkpoint."""
        return cls.model_class

    @classmethod
    def load_processor(cls, settings: ModelSettings, options: TransformersOptions, checkpoint: Checkpoint) -> Any:
        """The checkpoint's processor."""
        return load_processor(settings, cls.processor_class, checkpoint.folder, options.processor)

    def check_loaded(self) -> None:
        """Refuse a model that cannot answer, after its weights are on the device; nothing by default."""

    def padding_side(self) -> str:
        """Where a batch of texts is padded."""
        return "left"

    def problem_of(self, item: ModelInput) -> Problem | None:
        """Why this one input cannot be asked, known before its tensors are made."""
        return None

    @abstractmethod
    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """The tensors of a batch on the CPU, and the number of prompt tokens of each row."""

    @property
    def generator(self) -> Any:
        """The module whose `generate` makes the text."""
        return self.model

    def echo_length(self, tensors: Mapping[str, torch.Tensor]) -> int:
        """How many leading ids of the library's output are no answer."""
        return int(tensors["input_ids"].shape[1])

    def position_limit(self) -> int | None:
        """How many tokens prompt and answer may have together; `None` where positions are relative."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(limit) if limit is not None else None

    # The life of a model

    @classmethod
    def _opened(cls, settings: ModelSettings) -> tuple[TransformersOptions, Checkpoint]:
        options = cast(TransformersOptions, checked_options(settings, cls.options_type))
        library_versions()
        if options.cache == "static" and not cls.static_cache:
            raise ModelError(
                f"{settings.name}: run.options.cache: family {cls.family} has no static cache; take it and compile out"
            )
        checkpoint = locate(settings)
        config = checkpoint.read_json("config.json")
        cls.check_type(settings, checkpoint, config.get("model_type"))
        if config.get("transformers_weights"):
            raise ModelError(
                f"{settings.name}: {checkpoint.folder / 'config.json'} names weights of its own (transformers_weights);"
                " rename the file to model.safetensors and remove the field"
            )
        return options, checkpoint

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """Weights by hash or pinned commit, with configuration, vocabulary, libraries, number type and device."""
        options, checkpoint = cls._opened(settings)
        device = resolved_device(settings)
        extra, warnings = cls.input_settings(settings, options, checkpoint)
        processing = {
            "libraries": library_versions(),
            "dtype": resolved_dtype(settings, checkpoint, device),
            "device": device.partition(":")[0],
            "attention": options.attention,
            "image_backend": IMAGE_BACKEND,
            "image_processor": image_processor_settings(checkpoint),
            "processor": options.processor,
            "device_map": options.device_map,
            "cache": options.cache,
            "compile": options.compile,
            "quantization": quantization_identity(options.quantization),
            "files": checkpoint.settings_files(),
            **extra,
        }
        return ModelIdentity(settings, checkpoint.identity(), processing, (*checkpoint.warnings, *warnings))

    @classmethod
    def load(cls, settings: ModelSettings) -> TransformersModel:
        """The model on its device, every weight of it read from the checkpoint."""
        options, checkpoint = cls._opened(settings)
        device = resolved_device(settings)
        dtype = resolved_dtype(settings, checkpoint, device)
        processor = cls.load_processor(settings, options, checkpoint)
        spread = options.device_map
        model = load_weights(
            settings,
            cls.class_name(settings, checkpoint),
            checkpoint,
            dtype=dtype,
            attention=options.attention,
            device_map=spread or ({"": device} if options.quantization else None),
            quantization=options.quantization,
        )
        keep_token_ids_only(model)
        with library_errors(cls.family, [f"loading {settings.name}"]):
            model = model.eval() if spread or options.quantization else model.to(device).eval()
        loaded = cls(settings, options, model, processor, str(model.device) if spread else device)
        reset_peak_memory(loaded.devices)
        loaded.check_loaded()
        return loaded

    def close(self) -> None:
        """Drop the weights and give the device's memory back."""
        import torch

        del self.model
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def peak_memory_bytes(self) -> int | None:
        """Highest memory that torch held since loading, summed over the CUDA devices of the model."""
        return peak_memory(self.devices)

    # Answers

    def prepare(self, batch: Sequence[ModelInput]) -> Prepared:
        """Tensors on the CPU for every input that can be asked, and the reason for every other."""
        problems = {i: p for i, p in enumerate(map(self._basic_problem, batch)) if p}
        tensors, lengths = self._encode([item for i, item in enumerate(batch) if i not in problems])
        limit = self.position_limit()
        if limit is not None:
            rows = [i for i in range(len(batch)) if i not in problems]
            for i, length in zip(rows, lengths, strict=True):
                if length + batch[i].request.generation.max_new_tokens > limit:
                    problems[i] = Problem(
                        "prompt_too_long",
                        f"{length} prompt tokens and {batch[i].request.generation.max_new_tokens} new ones exceed the "
                        f"{limit} positions of {self.settings.name}",
                    )
            if len(problems) > len(batch) - len(rows):
                tensors, lengths = self._encode([item for i, item in enumerate(batch) if i not in problems])
        kept = tuple(item for i, item in enumerate(batch) if i not in problems)
        return Prepared(kept, dict(sorted(problems.items())), tensors, lengths)

    def _basic_problem(self, item: ModelInput) -> Problem | None:
        can = self.can
        count = len(item.images)
        if count < can.min_images or (can.max_images is not None and count > can.max_images):
            most = "any number" if can.max_images is None else can.max_images
            return Problem(
                "unsupported_input", f"family {self.family} takes {can.min_images} to {most} images; here are {count}"
            )
        if not can.min_audio <= len(item.audio) <= (len(item.audio) if can.max_audio is None else can.max_audio):
            return Problem(
                "unsupported_input",
                f"family {self.family} takes {can.min_audio} to {can.max_audio} recordings; here are {len(item.audio)}",
            )
        return self.problem_of(item)

    def _encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        if not items:
            return {}, ()
        with self._tokenizer_lock, library_errors(self.family, [i.request.sample_id for i in items]):
            return self.encode(items)

    def generate(self, prepared: Prepared, settings: GenerationSettings) -> list[Generation | Problem]:
        """Answers in order; sampled ones are drawn one request at a time, each from a seed of its own."""
        config = generation_config(settings)
        config.use_cache = self.use_cache
        if self.options.cache == "static":
            write_statically(config, compiled=self.options.compile)
        if not settings.do_sample:
            return prepared.merged(self._answers(prepared, config, settings.stop))
        answers: list[Generation | Problem] = []
        for item in prepared.items:
            answers += self._sampled(item, config, settings)
        return prepared.merged(answers)

    def _sampled(self, item: ModelInput, config: Any, settings: GenerationSettings) -> list[Generation]:
        import torch

        with torch.random.fork_rng(devices=self.devices):
            torch.manual_seed(sampling_seed(settings.seed, item.request))
            return self._answers(self.prepare([item]), config, settings.stop)

    def _answers(self, prepared: Prepared, config: Any, stop: Sequence[str]) -> list[Generation]:
        import torch

        if not prepared.items:
            return []
        asked, head = [i.request.sample_id for i in prepared.items], self.generator.get_output_embeddings()
        with library_errors(self.family, asked), torch.inference_mode(), finite_scores(head):
            output = self.written(self.on_device(prepared.tensors), config).cpu()
        end = self.end_ids()
        lengths = [output_length(row, end) for row in output]
        with self._tokenizer_lock:
            texts = [
                self.processor.tokenizer.decode(row[:n].tolist(), skip_special_tokens=True)
                for row, n in zip(output, lengths, strict=True)
            ]
        return [
            Generation(cut_at(text, stop), prompt_tokens, n)
            for text, prompt_tokens, n in zip(texts, prepared.prompt_tokens, lengths, strict=True)
        ]

    def written(self, tensors: dict[str, torch.Tensor], config: Any) -> torch.Tensor:
        """Ids of the answers (rows, tokens), without the prompts."""
        output: torch.Tensor = self.model.generate(**repeated(tensors), generation_config=config)
        return output[:, self.echo_length(tensors) :]

    def end_ids(self) -> Collection[int]:
        """Ids that end an answer."""
        end = self.generator.generation_config.eos_token_id
        return frozenset([end] if isinstance(end, int) else end or [])

    def on_device(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors where the model is; floating ones in its number type."""
        kind = self.model.dtype
        return {k: v.to(self.device, kind if v.is_floating_point() else None) for k, v in tensors.items()}


def image_processor_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The stored settings of the image processor: its own file, or its part of processor_config.json."""
    part = checkpoint.read_json("processor_config.json").get("image_processor")
    return dict(part) if isinstance(part, Mapping) else checkpoint.read_json("preprocessor_config.json")
