"""The project's own captioner in training: a wavelet (or patch) front end, an encoder and a small decoder."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from PIL import Image
from pydantic import Field, model_validator
from torch.nn import functional

from harness.cards.loading import checkpoint_place
from harness.models.wavelet.checkpoint import DecoderConfig, WaveletConfig, read, read_config, write
from harness.models.wavelet.design import Design
from harness.models.wavelet.family import fitted
from harness.models.wavelet.network import Captioner, Rows
from harness.training.examples import Example
from harness.training.trainee import Trainee, TraineeOptions
from harness.training.turns import rows_of
from harness.training.vocabulary import learned


class WaveletTraineeOptions(TraineeOptions):
    """Sizes and design of the network."""

    design: Design | None = Design()
    height: int = Field(64, ge=8)
    width_px: int = Field(64, ge=8)
    fit: Literal["squash", "place"] = "squash"
    max_images: int = Field(1, ge=1)
    width: int = Field(128, ge=8)
    heads: int = Field(4, ge=1)
    decoder_layers: int = Field(4, ge=1)
    positions: int = Field(96, ge=8)
    vocabulary: int = Field(640, ge=64)
    """Most entries of the vocabulary."""
    frozen_decoder: str | None = None
    """Folder of a checkpoint, or `zoo:NAME`, whose decoder and vocabulary are taken over and not trained."""
    decoder_from: str | None = None
    """The same, but the decoder is trained on."""
    spotting: float = Field(0.0, ge=0)
    """Weight of an auxiliary loss: the image vector at a place is read as the words for what is seen there, through the
    decoder's norm and vocabulary. It tells the eye what to see before any attention has found the place."""
    prompts: dict[str, str] = Field(default_factory=dict)
    """Prompts of the card, by task or question type."""

    @model_validator(mode="after")
    def _places_are_kept(self) -> Self:
        if self.spotting and self.fit == "place":
            raise ValueError("spotting needs pictures that fill the input; set fit: squash")
        return self


class WaveletTrainee(Trainee):
    """Front end, encoder and decoder."""

    family: ClassVar[str] = "wavelet"
    options_type: ClassVar[type[TraineeOptions]] = WaveletTraineeOptions
    network: Captioner

    def __init__(
        self, options: WaveletTraineeOptions, config: WaveletConfig, network: Captioner, tokenizer: Any
    ) -> None:
        self.options = options
        self.config = config
        self.network = network
        self.tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    @classmethod
    def made(cls, options: Any, texts: Sequence[str], measured: Sequence[Example]) -> WaveletTrainee:
        """A fresh network, with the decoder of another checkpoint where the options name one."""
        named = options.frozen_decoder or options.decoder_from
        given = checkpoint_place(named, Path.cwd() / "recipe")
        if given:
            from transformers import PreTrainedTokenizerFast

            tokenizer = PreTrainedTokenizerFast.from_pretrained(given, local_files_only=True)
        else:
            tokenizer = learned(texts, options.vocabulary)
        config = WaveletConfig(
            design=options.design, height=options.height, width_px=options.width_px, fit=options.fit,
            max_images=options.max_images, width=options.width, heads=options.heads,
            decoder=DecoderConfig(
                layers=options.decoder_layers, vocabulary=len(tokenizer), positions=options.positions
            ),
        )  # fmt: skip
        network = Captioner.of(config)
        if given:
            network.decoder.load_state_dict(
                read(Path(given), read_config(Path(given) / "config.json")).decoder.state_dict()
            )
            network.decoder.requires_grad_(options.frozen_decoder is None)
        trainee = cls(options, config, network, tokenizer)
        if network.eye is not None:
            network.eye.front_end.measure(
                trainee.pixels(list(chunk)).float() for chunk in _chunks([e for e in measured if e.images], 128)
            )
        return trainee

    def loss(self, batch: Sequence[Example]) -> torch.Tensor:
        """Mean cross-entropy over answers and their end tokens, and that of the words spotted."""
        seen = self.config.design is not None and any(e.images for e in batch)
        counts = [len(e.images) if seen else 0 for e in batch]
        pixels = self.pixels(batch).to(self.device).float() if seen else None
        prefix, shown = self.network.prefix(pixels, counts)
        loss = self.network.text_loss(prefix, shown, self.rows(batch).to(self.device))
        if not self.options.spotting or prefix is None:
            return loss
        return loss + self.options.spotting * self._spotted(prefix, batch)

    def _spotted(self, prefix: torch.Tensor, batch: Sequence[Example]) -> torch.Tensor:
        """Mean cross-entropy of each word of the spots at the image vector of its place."""
        eye = self.network.eye
        assert eye is not None
        rows, columns = eye.grid
        found: list[tuple[int, int, int]] = []
        for number, example in enumerate(batch):
            for spot in example.spots:
                height, width = example.images[spot.picture].shape[:2]
                cell = int(spot.row * rows / height) * columns + int(spot.column * columns / width)
                place = spot.picture * eye.tokens + cell
                found += [(number, place, word) for word in self._ids(f" {spot.text}")]
        if not found:
            return prefix.new_zeros(())
        examples, places, words = zip(*found, strict=True)
        vectors = prefix[list(examples), list(places)]
        decoder = self.network.decoder
        targets = torch.tensor(words, device=prefix.device)
        return functional.cross_entropy(decoder.logits(decoder.norm(vectors)), targets)

    def pixels(self, batch: Sequence[Example]) -> torch.Tensor:
        """All pictures of a batch in order, uint8 (images, channels, height, width)."""
        grey = self.config.design is not None and self.config.design.colour == "grey"
        planes = []
        for picture in itertools.chain.from_iterable(e.images for e in batch):
            right_size = picture.shape[:2] == (self.config.height, self.config.width_px)
            if right_size and (picture.ndim == 2) == grey:
                planes.append(picture[None] if grey else picture.transpose(2, 0, 1))
            else:
                planes.append(fitted(Image.fromarray(picture).convert("RGB"), self.config))
        return torch.from_numpy(np.stack(planes))

    def rows(self, batch: Sequence[Example]) -> Rows:
        """The turns of each example side by side."""
        return rows_of(batch, self._ids)

    def _ids(self, text: str) -> list[int]:
        """Ids of a text, remembered where it is short enough to come again."""
        known = self._known.get(text)
        if known is None:
            known = self.tokenizer(text, add_special_tokens=False).input_ids
            if len(self._known) < 200_000:
                self._known[text] = known
        return known

    def save(self, folder: Path) -> None:
        """Write the checkpoint in float16."""
        write(folder, self.network, self.config, self.tokenizer)

    def run_part(self) -> dict[str, Any]:
        """The prompts of the recipe."""
        return {"prompts": dict(self.options.prompts)} if self.options.prompts else {}


def _chunks(examples: Sequence[Example], size: int) -> list[Sequence[Example]]:
    return [examples[i : i + size] for i in range(0, len(examples), size)]
