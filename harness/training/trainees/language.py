"""An eye of the wavelet family before a causal language model of transformers: frozen, with adapters, or trained whole.

Every turn is a row of its own behind its images, since no turn depends on another. An eye in front of a frozen model
learns from the gradient that comes back through it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field, field_validator

from harness.errors import TrainingError
from harness.models.wavelet.checkpoint import DecoderConfig, WaveletConfig
from harness.models.wavelet.design import Design, named_design
from harness.models.wavelet.family import fitted
from harness.models.wavelet.language import (
    LanguageCaptioner,
    Text,
    end_ids,
    find_language_model,
    language_fingerprint,
    load_language_model,
    save,
    system_ids,
)
from harness.records import ModelSettings
from harness.training.examples import Example
from harness.training.trainee import Trainee, TraineeOptions

_MEASURED_VALUES = 2**26
"""Most feature values that means and deviations are taken from: 85 pictures of 512 x 512 pixels, 1 GB in float64 and
float32."""
_ROWS = 8
"""Texts at once where nothing is learned; their logits are rows x answer tokens x vocabulary."""


class LanguageTraineeOptions(TraineeOptions):
    """Sizes, design and language model."""

    design: Design | None = Design()
    """The fields of a design, or the name of one."""
    height: int = Field(512, ge=8)
    width_px: int = Field(512, ge=8)
    fit: Literal["squash", "place"] = "squash"
    max_images: int = Field(1, ge=1)
    heads: int = Field(8, ge=1)
    """Heads of the eye's own encoder; its width is that of the language model."""
    language_model: str
    """Folder or hub id of a causal language model; it is read from the disk and never fetched."""
    tuning: Literal["frozen", "lora", "full"] = "frozen"
    rank: int = Field(16, ge=1)
    positions: int = Field(2048, ge=8)
    """Positions at which a row is cut."""
    system: str = "This is a dialog with AI assistant.\n"
    end: str = ""
    """Literal text that ends an answer; empty is the tokenizer's own end token."""
    match_words: bool = False
    """Bring image vectors to the size of word vectors."""
    no_repeat_ngram_size: int = Field(0, ge=0)
    """Written to the card: no run of so many tokens comes twice in an answer."""
    generation: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Written to the card: generation settings by task, `"*"` for all."""
    prompts: dict[str, str] = Field(default_factory=dict)
    """Prompts of the card, by task or question type."""

    @field_validator("design", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return named_design(value) if isinstance(value, str) else value


class LanguageTrainee(Trainee):
    """Eye, four vectors and language model."""

    family: ClassVar[str] = "wavelet"
    options_type: ClassVar[type[TraineeOptions]] = LanguageTraineeOptions
    measured: ClassVar[int] = 128
    network: LanguageCaptioner

    def __init__(
        self, options: LanguageTraineeOptions, config: WaveletConfig, network: LanguageCaptioner, tokenizer: Any
    ) -> None:
        self.options = options
        self.config = config
        self.network = network
        self.tokenizer = tokenizer
        self._end = list(end_ids(tokenizer, config))

    @classmethod
    def made(cls, options: Any, texts: Sequence[str], measured: Sequence[Example]) -> LanguageTrainee:
        """A fresh eye before the language model of the options; the vocabulary is that of the language model.

        Raises:
            ModelError: the language model is not on the disk, with the command that fetches it.
        """
        from transformers import AutoTokenizer

        settings = ModelSettings("network.language_model", cls.family)
        folder = find_language_model(settings, options.language_model).folder
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if tokenizer.eos_token_id is None:
            raise TrainingError(f"{folder}: its tokenizer has no end token; answers would not end")
        decoder: Any = load_language_model(settings, options.language_model)
        own_limit = getattr(decoder.config, "max_position_embeddings", None) or options.positions
        config = WaveletConfig(
            design=options.design, height=options.height, width_px=options.width_px, fit=options.fit,
            max_images=options.max_images, width=decoder.get_input_embeddings().weight.shape[1], heads=options.heads,
            decoder=DecoderConfig(
                kind="transformers", layers=decoder.config.num_hidden_layers, vocabulary=len(tokenizer),
                positions=min(options.positions, own_limit), fingerprint=language_fingerprint(decoder),
                language_model=options.language_model, tuning=options.tuning, rank=options.rank, system=options.system,
                end=options.end, match_words=options.match_words,
            ),
        )  # fmt: skip
        network = LanguageCaptioner(config, decoder, system_ids(tokenizer, config))
        if network.gain is not None:
            torch.nn.init.constant_(network.gain, network.words_size())
        trainee = cls(options, config, network, tokenizer)
        if network.eye is not None:
            trainee.measure([e for e in measured if e.images])
        return trainee

    def measure(self, examples: Sequence[Example]) -> None:
        """Take means and deviations of the eye's features from as many examples as memory has room for."""
        assert self.network.eye is not None
        front = self.network.eye.front_end
        most = max(16, _MEASURED_VALUES // (3 * self.config.height * self.config.width_px))
        chunks = _chunks(examples[:most], 16)
        front.measure(self.pixels(list(chunk)).float() for chunk in chunks)

    def loss(self, batch: Sequence[Example]) -> torch.Tensor:
        """Mean cross-entropy over answers and their ends; in small parts where nothing is learned."""
        if torch.is_grad_enabled():
            return self.network.loss(*self._inputs(batch))
        parts = [self.network.total_loss(*self._inputs(part)) for part in _chunks(batch, _ROWS)]
        return torch.stack([total for total, _ in parts]).sum() / sum(count for _, count in parts)

    def _inputs(self, batch: Sequence[Example]) -> tuple[torch.Tensor | None, list[int], list[Text]]:
        seen = self.config.design is not None and any(e.images for e in batch)
        counts = [len(e.images) if seen else 0 for e in batch]
        texts = [
            Text(number, self._ids(turn.prompt), [*self._ids(turn.answer), *self._end])
            for number, example in enumerate(batch)
            for turn in example.turns
        ]
        device = self.network.marks.device
        return self.pixels(batch).float().to(device) if seen else None, counts, texts

    def pixels(self, batch: Sequence[Example]) -> torch.Tensor:
        """All pictures of a batch in order, uint8 (images, channels, height, width)."""
        pictures = itertools.chain.from_iterable(e.images for e in batch)
        return torch.from_numpy(np.stack([fitted(Image.fromarray(p).convert("RGB"), self.config) for p in pictures]))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def save(self, folder: Path) -> None:
        """Write what was trained in float16, with the language model's configuration and tokenizer."""
        save(folder, self.network, self.config, self.tokenizer)

    def run_part(self) -> dict[str, Any]:
        """Prompts and decoding of the recipe."""
        part: dict[str, Any] = {}
        if self.options.prompts:
            part["prompts"] = dict(self.options.prompts)
        if self.options.generation:
            part["generation"] = {task: dict(settings) for task, settings in self.options.generation.items()}
        if self.options.no_repeat_ngram_size:
            part["options"] = {"no_repeat_ngram_size": self.options.no_repeat_ngram_size}
        return part

    def no_decay(self, name: str, weight: torch.Tensor) -> bool:
        """Also the four vectors."""
        return name == "marks" or super().no_decay(name, weight)


def _chunks(examples: Sequence[Example], size: int) -> list[Sequence[Example]]:
    return [examples[i : i + size] for i in range(0, len(examples), size)]
