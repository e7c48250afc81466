"""The model family `wavelet`: a checkpoint of front end, encoder and decoder that `harness train` wrote."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from harness.errors import ModelError
from harness.models.base import LETTERS, Generation, Model, ModelInput, Options, PreparedBatch, checked_options
from harness.models.checkpoint import Checkpoint, locate
from harness.models.decoding import cut_at, library_errors
from harness.models.devices import library_versions, peak_memory, reset_peak_memory, resolved_device
from harness.models.likelihood import option_problem
from harness.models.shared_images import distinct
from harness.models.wavelet.checkpoint import WaveletConfig, read, read_config
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.models.wavelet.network import Captioner


class WaveletOptions(Options):
    """Options of the family."""

    original_decoder: str | None = None
    """A checkpoint's folder, relative to the card, whose decoder answers instead of the trained one."""
    published_inference: bool = False
    """Allow `original_decoder` to be another one than the eye was trained with, as v3's published inference did; with a
    language model of transformers, answer by the untrained one and end at token id 2."""
    language_model: str | None = None
    """Folder or hub id of the language model of transformers, where it is not at the place the checkpoint names."""
    no_repeat_ngram_size: int = Field(0, ge=0)
    """With a language model of transformers: no run of so many tokens comes twice in an answer; 0 allows all."""


@dataclass(frozen=True, slots=True)
class Prepared(PreparedBatch):
    """A batch as tensors on the CPU."""

    pixels: torch.Tensor | None
    """The distinct images, (images, channels, height, width)."""
    shown: torch.Tensor | None
    """(images of all inputs,) which row of `pixels` each is."""
    counts: tuple[int, ...]
    prompts: tuple[tuple[int, ...], ...]


class Wavelet(Model):
    """A captioner of this project's own networks. Answers are greedy, unless a language model of transformers stands
    behind the eye (`language.py`)."""

    family = "wavelet"
    requires: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors", "pywt")
    extra: ClassVar[str] = "models"
    template = "{{ text }}"
    options_type: ClassVar[type[Options]] = WaveletOptions

    def __init__(
        self, settings: ModelSettings, config: WaveletConfig, network: Captioner, tokenizer: Any, device: str
    ) -> None:
        super().__init__(settings)
        self.config = config
        self.network = network
        self.tokenizer = tokenizer
        self.device = device
        self.devices = (device,) if device.startswith("cuda") else ()
        self._lock = threading.Lock()  # the Rust tokenizer is set up by one thread at a time

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """As many images as it was trained with; none is read by a model without eyes."""
        config = _config(settings)
        blind = config.design is None
        return Capabilities(
            min_images=0,
            max_images=None if blind else config.max_images,
            batching="padded",
            can_choose=True,
            reads_pixels=not blind,
        )

    @classmethod
    def meta_network(cls, settings: ModelSettings) -> torch.nn.Module:
        """The network without its weights."""
        import torch

        from harness.models.wavelet.network import Captioner

        config = _config(settings)
        if config.decoder.kind == "transformers":
            from harness.models.wavelet import language

            return language.on_meta(locate(settings).folder, config)
        with torch.device("meta"):
            return Captioner.of(config)

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """Weights by hash, design and vocabulary by the files' hashes, libraries, number type and device."""
        options = checked_options(settings, WaveletOptions)
        checkpoint = locate(settings)
        processing: dict[str, Any] = {
            "libraries": library_versions(),
            "dtype": "float32",
            "device": resolved_device(settings).partition(":")[0],
            "files": checkpoint.settings_files(),
            "decoder": "trained",
        }
        warnings = checkpoint.warnings
        config = read_config(checkpoint.folder / "config.json")
        if config.decoder.kind == "transformers":
            from harness.models.wavelet import language

            processing["decoder"], more = language.decoder_identity(settings, options, config)
            warnings = (*warnings, *more)
        elif options.original_decoder is not None:
            processing["decoder"] = _other(settings, options.original_decoder).identity()
            warnings = (*warnings, f"answers come from the decoder of {Path(options.original_decoder).name}")
        return ModelIdentity(settings, checkpoint.identity(), processing, warnings)

    @classmethod
    def load(cls, settings: ModelSettings) -> Wavelet:
        """The model on its device, in float32.

        Raises:
            ModelError: the checkpoint is damaged, does not belong to its configuration, or is paired with a decoder
                that it was not trained with.
        """
        from transformers import PreTrainedTokenizerFast

        options = checked_options(settings, WaveletOptions)
        checkpoint = locate(settings)
        library_versions()
        config = read_config(checkpoint.folder / "config.json")
        if config.decoder.kind == "transformers":
            from harness.models.wavelet.language import LanguageWavelet

            return LanguageWavelet.opened(settings, options, checkpoint, config)
        _refuse_language_options(settings, options)
        network = read(checkpoint.folder, config)
        if options.original_decoder is not None:
            _exchange_decoder(settings, options, network, config)
        file = checkpoint.folder / "tokenizer.json"
        if not file.is_file():
            raise ModelError(f"{settings.name}: {checkpoint.folder} has no tokenizer.json; give the whole checkpoint")
        tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoint.folder, local_files_only=True)
        if len(tokenizer) != config.decoder.vocabulary:
            raise ModelError(
                f"{file}: has {len(tokenizer)} entries and the decoder {config.decoder.vocabulary}; give the "
                "vocabulary of the same training"
            )
        device = resolved_device(settings)
        model = cls(settings, config, network.to(device), tokenizer, device)
        reset_peak_memory(model.devices)
        return model

    def close(self) -> None:
        """Drop the weights and give the device's memory back."""
        import torch

        del self.network
        if self.devices:
            torch.cuda.empty_cache()

    def peak_memory_bytes(self) -> int | None:
        """Highest memory that torch held on the CUDA device since loading."""
        return peak_memory(self.devices)

    def prepare(self, batch: Sequence[ModelInput]) -> Prepared:
        """Pixels of every distinct image and ids of every prompt that can be asked."""
        import torch

        problems: dict[int, Problem] = {}
        prompts: list[tuple[int, ...]] = []
        items: list[ModelInput] = []
        for position, item in enumerate(batch):
            with self._lock:
                ids = self.prompt_ids(item.request.prompt)
            problem = self._problem(item, self.positions_taken(len(item.images), len(ids)))
            if problem is None:
                items.append(item)
                prompts.append(ids)
            else:
                problems[position] = problem
        seen, rows = distinct([] if self.config.design is None else [i for item in items for i in item.images])
        counts = tuple(0 if self.config.design is None else len(item.images) for item in items)
        pixels = torch.from_numpy(np.stack([fitted(i, self.config) for i in seen])) if seen else None
        shown = torch.tensor(rows) if seen else None
        return Prepared(tuple(items), problems, pixels, shown, counts, tuple(prompts))

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a prompt."""
        return (self.tokenizer.bos_token_id, *self.tokenizer(text, add_special_tokens=False).input_ids)

    def option_ids(self, text: str) -> list[int]:
        """Ids of an option behind a prompt."""
        ids: list[int] = self.tokenizer(f" {text}", add_special_tokens=False).input_ids
        return ids

    def positions_taken(self, images: int, prompt: int) -> int:
        """Positions before the answer; images take none of the own decoder's."""
        return prompt

    def option_scores(
        self, pixels: torch.Tensor | None, count: int, prompt: Sequence[int], options: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """log p of each token of each option behind one prompt with its images."""
        from harness.models.wavelet.generation import option_scores

        return option_scores(self.network, pixels, count, prompt, options)

    def _problem(self, item: ModelInput, length: int) -> Problem | None:
        most = self.config.max_images
        if item.audio:
            return Problem("unsupported_input", f"family {self.family} takes no recordings; here are {len(item.audio)}")
        if self.config.design is not None and len(item.images) > most:
            return Problem(
                "unsupported_input", f"{self.settings.name} takes {most} images; here are {len(item.images)}"
            )
        if length >= self.config.decoder.positions:
            return Problem(
                "prompt_too_long",
                f"{length} tokens; {self.settings.name} has {self.config.decoder.positions} positions",
            )
        return None

    def generate(self, prepared: Prepared, settings: GenerationSettings) -> list[Generation | Problem]:
        """Greedy answers; an answer ends at the last position at the latest.

        Raises:
            ModelError: a setting that greedy answers do not have, naming it.
        """
        from harness.models.wavelet.generation import greedy

        self._check(settings)
        if not prepared.items:
            return prepared.merged([])
        names = [item.request.sample_id for item in prepared.items]
        with library_errors(self.family, names):
            pixels = None if prepared.pixels is None else prepared.pixels.to(self.device).float()
            answers = greedy(
                self.network, pixels, prepared.shown, prepared.counts, prepared.prompts,
                end=self.tokenizer.eos_token_id, pad=self.tokenizer.pad_token_id,
                least=settings.min_new_tokens, most=settings.max_new_tokens,
            )  # fmt: skip
        with self._lock:
            texts = [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in answers]
        return prepared.merged(
            [
                Generation(cut_at(text, settings.stop), len(prompt), len(ids))
                for text, prompt, ids in zip(texts, prepared.prompts, answers, strict=True)
            ]
        )

    def _check(self, settings: GenerationSettings) -> None:
        checks = (
            ("max_new_tokens", settings.max_new_tokens >= 1, "an integer >= 1"),
            ("min_new_tokens", 0 <= settings.min_new_tokens <= settings.max_new_tokens, "0 to max_new_tokens"),
            ("num_beams", settings.num_beams == 1, "1: this family answers greedily"),
            ("do_sample", not settings.do_sample, "false: this family answers greedily"),
            ("repetition_penalty", settings.repetition_penalty == 1, "1: this family has none"),
        )
        for name, sound, wanted in checks:
            if not sound:
                raise ModelError(f"{self.settings.name}: generation.{name} is {getattr(settings, name)}; give {wanted}")

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The likeliest option (the first of equals), by the sum of the log-likelihoods of its tokens."""
        answers: list[Generation | Problem] = []
        for item in batch:
            prepared = self.prepare([item])
            problem = prepared.problems.get(0) or option_problem(item)
            if problem is not None:
                answers.append(problem)
                continue
            with self._lock:
                options = [self.option_ids(choice) for choice in item.request.choices]
            (prompt,) = prepared.prompts
            taken = self.positions_taken(len(item.images), len(prompt))
            if taken + max(map(len, options)) > self.config.decoder.positions:
                answers.append(Problem("prompt_too_long", "prompt and longest option exceed the decoder's positions"))
                continue
            with library_errors(self.family, [item.request.sample_id]):
                pixels = None if prepared.pixels is None else prepared.pixels.to(self.device).float()
                scores = self.option_scores(pixels, prepared.counts[0], prompt, options)
            totals = tuple(sum(s) for s in scores)
            best = max(range(len(totals)), key=totals.__getitem__)
            answers.append(Generation(LETTERS[best], len(prompt), sum(map(len, scores)), totals))
        return answers


def fitted(image: Image, config: WaveletConfig) -> NDArray[np.uint8]:
    """Pixels (channels, height, width) of 0 to 255 at the size of the configuration."""
    from PIL import Image as Pillow

    assert config.design is not None
    size = (config.width_px, config.height)
    if config.fit == "place":
        share = min(1.0, size[0] / image.width, size[1] / image.height)
        if share < 1:
            smaller = (max(1, int(image.width * share)), max(1, int(image.height * share)))
            image = image.resize(smaller, Pillow.Resampling.BICUBIC)
        page = Pillow.new("RGB", size, "white")
        page.paste(image, (0, (size[1] - image.height) // 2))
        image = page
    elif image.size != size:
        image = image.resize(size, Pillow.Resampling.BICUBIC)
    pixels = np.asarray(image.convert("L") if config.design.colour == "grey" else image)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def _refuse_language_options(settings: ModelSettings, options: WaveletOptions) -> None:
    for name in ("language_model", "no_repeat_ngram_size"):
        if getattr(options, name):
            raise ModelError(
                f"{settings.name}: run.options.{name} belongs to checkpoints with a language model of transformers; "
                "this one has the family's own decoder: take the option out"
            )


def _config(settings: ModelSettings) -> WaveletConfig:
    return read_config(locate(settings).folder / "config.json")


def _other(settings: ModelSettings, folder: str) -> Checkpoint:
    from dataclasses import replace

    return locate(replace(settings, checkpoint=folder, revision=None, sha256=None))


def _exchange_decoder(
    settings: ModelSettings, options: WaveletOptions, network: Captioner, config: WaveletConfig
) -> None:
    """Put another checkpoint's decoder in the place of the trained one.

    Raises:
        ModelError: it is not the one that the eye was trained with, and the card does not ask for that.
    """
    assert options.original_decoder is not None
    folder = _other(settings, options.original_decoder).folder
    theirs = read_config(folder / "config.json")
    if theirs.decoder.fingerprint != config.decoder.fingerprint and not options.published_inference:
        raise ModelError(
            f"{settings.name}: the eye was trained with decoder {config.decoder.fingerprint[:12]} and {folder} holds "
            f"{theirs.decoder.fingerprint[:12]}; take run.options.original_decoder out, or set published_inference: "
            "true to repeat that mistake on purpose"
        )
    try:
        network.decoder.load_state_dict(read(folder, theirs).decoder.state_dict())
    except RuntimeError as error:
        raise ModelError(f"{settings.name}: the decoder of {folder} has other sizes: {error}") from error
