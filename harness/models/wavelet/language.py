"""The eye before a causal language model of transformers, in the sequence of the published versions.

`system SOI image EOI USER question BOT answer end`: SOI, EOI, USER and BOT are four trained vectors, the rest are word
vectors of the language model and image vectors of its width. Further images repeat `SOI image EOI`; without one these
are left out. A checkpoint holds what was trained (eye and vectors, adapters, or the whole language model too), the
language model's configuration and its tokenizer. Source of the sequence: the WaveLLaVA repository, version 1.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.checkpoint import Checkpoint, locate
from harness.models.decoding import (
    cut_at,
    generation_config,
    keep_token_ids_only,
    library_errors,
    output_length,
    sampling_seed,
)
from harness.models.devices import library_versions, reset_peak_memory, resolved_device
from harness.models.likelihood import token_scores
from harness.models.loading import load_weights
from harness.models.wavelet.checkpoint import WaveletConfig, fingerprint, load_checked, write
from harness.models.wavelet.family import Prepared, Wavelet
from harness.models.wavelet.network import Eye
from harness.records import GenerationSettings, ModelSettings, Problem

if TYPE_CHECKING:
    from harness.models.wavelet.family import WaveletOptions

PUBLISHED_END = 2
"""The token id at which v3's published inference ends: an ordinary one of Qwen2's vocabulary."""
_LANGUAGE_MODEL = "language_model.json"
_SOI, _EOI, _USER, _BOT = range(4)


@dataclass(frozen=True, slots=True)
class Text:
    """One turn behind images, as ids."""

    images: int
    """Number of the set of images that it stands behind."""
    prompt: Sequence[int]
    answer: Sequence[int] = ()


class LanguageCaptioner(nn.Module):
    """Eye, four vectors and language model.

    The state holds what was trained and nothing else, so a frozen language model is neither in a checkpoint nor in the
    state of a training.
    """

    def __init__(self, config: WaveletConfig, decoder: nn.Module, system: Sequence[int] = ()) -> None:
        """`decoder` is a causal language model of transformers; `system` are the ids of the sentence before the image.

        Raises:
            ModelError: the language model is of another width than the configuration, or peft is not installed.
        """
        super().__init__()
        width = int(_words(decoder).weight.shape[1])
        if width != config.width:
            raise ModelError(f"the eye gives vectors of {config.width} and the language model has words of {width}")
        self.tuning = config.decoder.tuning
        self.positions = config.decoder.positions
        self.system = tuple(system)
        design = config.design
        self.eye = None if design is None else Eye(design, config.height, config.width_px, width, config.heads)
        self.marks = nn.Parameter(torch.randn(4, width) * width**-0.5)
        self.gain = nn.Parameter(torch.ones(width)) if config.decoder.match_words and design is not None else None
        if self.tuning == "lora":
            _adapt(decoder, config.decoder.rank)
        self.decoder = decoder
        for name, weight in decoder.named_parameters():
            weight.requires_grad_(self.tuning == "full" or (self.tuning == "lora" and "lora_" in name))

    def train(self, mode: bool = True) -> LanguageCaptioner:
        """As in torch; a frozen language model drops nothing out."""
        super().train(mode)
        if self.tuning == "frozen":
            self.decoder.eval()
        return self

    def state_dict(self, *args: Any, **named: Any) -> dict[str, Any]:  # type: ignore[override]
        """Weights that were trained and buffers of the eye; a weight with two names has the first."""
        kept: dict[str, Any] = {}
        seen: set[int] = set()
        for name, weight in super().state_dict(*args, **{**named, "keep_vars": True}).items():
            base = name.startswith("decoder.") and "lora_" not in name
            if id(weight) in seen or (base and self.tuning != "full"):
                continue
            seen.add(id(weight))
            kept[name] = weight if named.get("keep_vars") else weight.detach()
        return kept

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Put in what `state_dict` gave."""
        differ = self.state_dict().keys() ^ state_dict.keys()
        if strict and differ:
            raise RuntimeError(f"the state differs in {len(differ)} weights, such as {min(differ)}")
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def words_size(self) -> float:
        """Root mean square of the word vectors."""
        return float(_words(self.decoder).weight.detach().square().mean().sqrt())

    def image_vectors(self, pixels: Tensor) -> Tensor:
        """(images, channels, height, width) of 0 to 255 → (images, tokens, width)."""
        assert self.eye is not None
        vectors: Tensor = self.eye(pixels)
        return vectors if self.gain is None else functional.rms_norm(vectors, vectors.shape[-1:]) * self.gain

    def rows(
        self, pixels: Tensor | None, counts: Sequence[int], texts: Sequence[Text], shown: Tensor | None = None
    ) -> list[Tensor]:
        """Vectors (length, width) of each text, all but the last token of its answer included, cut at `positions`.

        Args:
            pixels: (images, channels, height, width).
            counts: images of each set.
            shown: which of `pixels` each image of the sets is; all in order where left out.
        """
        device = self.marks.device
        words = _words(self.decoder)

        def worded(ids: Sequence[int]) -> Tensor:
            vectors: Tensor = words(torch.tensor(list(ids), dtype=torch.long, device=device))
            return vectors

        sets: list[list[Tensor]] = [[] for _ in counts]
        if pixels is not None and self.eye is not None:
            vectors = self.image_vectors(pixels)
            rest = iter(vectors if shown is None else vectors[shown])
            for seen, count in zip(sets, counts, strict=True):
                for _ in range(count):
                    seen += [self.marks[_SOI, None], next(rest), self.marks[_EOI, None]]
        system = worded(self.system)
        made = []
        for text in texts:
            asked = [self.marks[_USER, None], worded(text.prompt), self.marks[_BOT, None]]
            row = torch.cat([system, *sets[text.images], *asked, worded(text.answer[:-1])])
            made.append(row[: self.positions])
        return made

    def total_loss(self, pixels: Tensor | None, counts: Sequence[int], texts: Sequence[Text]) -> tuple[Tensor, int]:
        """Sum of the cross-entropies of the answer tokens, and how many there are."""
        rows = self.rows(pixels, counts, texts)
        firsts: list[int] = []
        longest = max(map(len, rows))
        targets = torch.full((len(rows), longest), -100, device=self.marks.device)
        for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
            first = self.prompt_length(counts[text.images], len(text.prompt)) - 1
            firsts.append(first)
            kept = text.answer[: max(0, len(row) - first)]
            targets[number, first : first + len(kept)] = torch.tensor(kept, dtype=torch.long, device=targets.device)
        count = int((targets >= 0).sum())
        if not count:
            raise ModelError(f"no answer begins within {self.positions} positions; shorten the prompts")
        logits, start = self.logits(rows, min(firsts))
        total = functional.cross_entropy(logits.flatten(0, 1).float(), targets[:, start:].flatten(), reduction="sum")
        return total, count

    def loss(self, pixels: Tensor | None, counts: Sequence[int], texts: Sequence[Text]) -> Tensor:
        """Mean cross-entropy over the answer tokens."""
        total, count = self.total_loss(pixels, counts, texts)
        return total / count

    def logits(self, rows: Sequence[Tensor], start: int) -> tuple[Tensor, int]:
        """Logits (rows, positions from the second value on, vocabulary) of rows padded on the right."""
        vectors, mask = padded(rows, left=False)
        kept = _keeps_logits(self.decoder)
        named = {"logits_to_keep": torch.arange(start, vectors.shape[1], device=vectors.device)} if kept else {}
        output = self.decoder(inputs_embeds=vectors, attention_mask=mask, use_cache=False, **named)
        return output.logits, start if kept else 0

    def prompt_length(self, images: int, prompt: int) -> int:
        """Positions before the answer."""
        tokens = 0 if self.eye is None else images * (self.eye.tokens + 2)
        return len(self.system) + tokens + prompt + 2

    @torch.inference_mode()
    def option_scores(
        self, pixels: Tensor | None, count: int, prompt: Sequence[int], options: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """log p of each token of each option behind one prompt with its images."""
        rows = self.rows(pixels, [count], [Text(0, prompt, option) for option in options])
        first = self.prompt_length(count, len(prompt)) - 1
        logits, start = self.logits(rows, first)
        begin = first - start
        return [
            token_scores(logits[n, begin : begin + len(option)], torch.tensor(list(option)))
            for n, option in enumerate(options)
        ]


def padded(rows: Sequence[Tensor], *, left: bool) -> tuple[Tensor, Tensor]:
    """Rows as one tensor (rows, longest, width) and which positions are real (rows, longest)."""
    longest = max(map(len, rows))
    mask = torch.zeros(len(rows), longest, dtype=torch.long, device=rows[0].device)
    filled = []
    for number, row in enumerate(rows):
        spare = longest - len(row)
        filled.append(functional.pad(row, (0, 0, spare, 0) if left else (0, 0, 0, spare)))
        mask[number, spare if left else 0 : longest if left else len(row)] = 1
    return torch.stack(filled), mask


def _words(decoder: Any) -> nn.Embedding:
    words: nn.Embedding = decoder.get_input_embeddings()
    return words


def _keeps_logits(decoder: nn.Module) -> bool:
    return "logits_to_keep" in inspect.signature(decoder.forward).parameters


def _adapt(decoder: nn.Module, rank: int) -> None:
    """Put LoRA adapters into every linear layer but the output, with alpha twice the rank."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ModelError('tuning lora needs peft: pip install "vlm-harness[training]"') from error
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    inject_adapter_in_model(settings, decoder)


def language_fingerprint(decoder: nn.Module) -> str:
    """SHA-256 over the weights of a language model, under the names they have in a checkpoint."""
    seen: dict[int, tuple[str, Tensor]] = {}
    for name, weight in decoder.state_dict(keep_vars=True).items():
        seen.setdefault(id(weight), (f"decoder.{name}", weight))
    return fingerprint(dict(seen.values()))


def find_language_model(settings: ModelSettings, place: str) -> Checkpoint:
    """The language model's folder.

    Raises:
        ModelError: it is not there, with the command that fetches it.
    """
    if not place:
        raise ModelError(f"{settings.name}: names no language model; give its folder or hub id as language_model")
    return locate(replace(settings, checkpoint=place, revision=None, sha256=None))


def load_language_model(settings: ModelSettings, place: str) -> nn.Module:
    """The language model in float32, without generation defaults of its own.

    Raises:
        ModelError: it is not there or damaged.
    """
    found = find_language_model(settings, place)
    decoder: nn.Module = load_weights(settings, "AutoModelForCausalLM", found, dtype="float32", attention="sdpa")
    keep_token_ids_only(decoder)
    return decoder


def _skeleton(folder: Path) -> nn.Module:
    """The language model of a checkpoint, with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    path = folder / _LANGUAGE_MODEL
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        config = AutoConfig.for_model(values.pop("model_type"), **values)
        decoder: nn.Module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: is no configuration of a causal language model: {error}") from error
    keep_token_ids_only(decoder)
    return decoder


def save(folder: Path, network: LanguageCaptioner, config: WaveletConfig, tokenizer: Any) -> None:
    """Write a checkpoint: what was trained in float16, the language model's configuration and tokenizer."""
    write(folder, network, config, tokenizer)
    settings: Any = network.decoder.config
    (folder / _LANGUAGE_MODEL).write_text(settings.to_json_string(use_diff=True), encoding="utf-8")


def on_meta(folder: Path, config: WaveletConfig) -> LanguageCaptioner:
    """The network without its weights."""
    with torch.device("meta"):
        return LanguageCaptioner(config, _skeleton(folder))


def read(
    folder: Path, config: WaveletConfig, tokenizer: Any, settings: ModelSettings, options: WaveletOptions
) -> LanguageCaptioner:
    """The network with the language model that it was trained with, or with the untrained one on the card's word.

    Raises:
        ModelError: a file is damaged or missing, or the language model is not the one of the training.
    """
    part = config.decoder
    place = options.language_model or part.language_model
    untrained = options.published_inference
    if part.tuning == "full" and options.language_model and not untrained:
        raise ModelError(
            f"{settings.name}: {folder} holds the language model that the eye was trained with "
            f"({part.fingerprint[:12]}); take run.options.language_model out, or set published_inference: true to "
            "repeat the mistake of answering by another one"
        )
    holds = part.tuning == "full" or (part.tuning == "lora" and untrained)
    decoder = _skeleton(folder) if holds else load_language_model(settings, place)
    if not holds and not untrained:
        found = language_fingerprint(decoder)
        if found != part.fingerprint:
            raise ModelError(
                f"{settings.name}: the eye was trained with language model {part.fingerprint[:12] or 'none named'} and "
                f"{place} is {found[:12]}; give the right one as run.options.language_model, or set "
                "published_inference: true to repeat that mistake on purpose"
            )
    network = LanguageCaptioner(config, decoder, system_ids(tokenizer, config))
    load_checked(folder, network, config)
    if holds and untrained:
        network.decoder = load_language_model(settings, place)
        if _words(network.decoder).weight.shape[1] != config.width:
            raise ModelError(f"{settings.name}: {place} has words of another width than the eye's {config.width}")
    return network.float().eval()


def system_ids(tokenizer: Any, config: WaveletConfig) -> tuple[int, ...]:
    """Ids of the sentence before the image."""
    return tuple(tokenizer(config.decoder.system, add_special_tokens=False).input_ids)


def end_ids(tokenizer: Any, config: WaveletConfig) -> tuple[int, ...]:
    """Ids that end an answer: one, or those of the literal text that the configuration names."""
    if config.decoder.end:
        return tuple(tokenizer(config.decoder.end, add_special_tokens=False).input_ids)
    return (int(tokenizer.eos_token_id),)


def decoder_identity(
    settings: ModelSettings, options: WaveletOptions, config: WaveletConfig
) -> tuple[str, tuple[str, ...]]:
    """Which language model answers, and what the reader of a result must know of it."""
    part = config.decoder
    if part.tuning == "full" and not options.published_inference:
        return "trained", ()
    place = options.language_model or part.language_model
    found = find_language_model(settings, place)
    if not options.published_inference:
        return found.identity(), ()
    warning = (
        f"{settings.name}: published_inference: answers come from the untrained language model {place}, whatever the "
        f"eye was trained with ({part.fingerprint[:12]}), and end at token id {PUBLISHED_END}"
    )
    return found.identity(), (*found.warnings, warning)


class LanguageWavelet(Wavelet):
    """A captioner with a language model of transformers; generation is the library's, with all settings of a task."""

    network: LanguageCaptioner  # type: ignore[assignment]

    @classmethod
    def opened(
        cls, settings: ModelSettings, options: WaveletOptions, checkpoint: Checkpoint, config: WaveletConfig
    ) -> LanguageWavelet:
        """The model on its device, in float32; see `Wavelet.load`."""
        from transformers import AutoTokenizer

        if options.original_decoder is not None:
            raise ModelError(
                f"{settings.name}: run.options.original_decoder belongs to checkpoints with the family's own decoder; "
                "give language_model"
            )
        library_versions()
        try:
            tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"{settings.name}: {checkpoint.folder} has no readable tokenizer: {error}") from error
        network = read(checkpoint.folder, config, tokenizer, settings, options)
        words = _words(network.decoder).weight.shape[0]
        if len(tokenizer) > words:
            raise ModelError(
                f"{settings.name}: the tokenizer has {len(tokenizer)} entries and the language model {words}; give the "
                "vocabulary of the same training"
            )
        device = resolved_device(settings)
        model = cls(settings, config, network.to(device), tokenizer, device)  # type: ignore[arg-type]
        model.options = options
        reset_peak_memory(model.devices)
        return model

    options: WaveletOptions

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids of the question alone."""
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def option_ids(self, text: str) -> list[int]:
        """Ids of an option; it follows a vector, so no blank is before it."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def option_scores(
        self, pixels: Tensor | None, count: int, prompt: Sequence[int], options: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """log p of each token of each option behind one prompt with its images."""
        return self.network.option_scores(pixels, count, prompt, options)

    def positions_taken(self, images: int, prompt: int) -> int:
        """Positions before the answer, those of the images included."""
        return self.network.prompt_length(images, prompt)

    def generate(self, prepared: Prepared, settings: GenerationSettings) -> list[Generation | Problem]:
        """Answers in order; sampled ones are drawn one request at a time, each from a seed of its own.

        Raises:
            ModelError: a setting outside its range, naming it.
        """
        config = generation_config(settings)
        if not settings.do_sample:
            return prepared.merged(self._answers(prepared, config, settings))
        answers: list[Generation | Problem] = []
        for item in prepared.items:
            with torch.random.fork_rng(devices=self.devices):
                torch.manual_seed(sampling_seed(settings.seed, item.request))
                answers += self._answers(self.prepare([item]), config, settings)
        return prepared.merged(answers)

    def _answers(self, prepared: Prepared, config: Any, settings: GenerationSettings) -> list[Generation]:
        if not prepared.items:
            return []
        end = PUBLISHED_END if self.options.published_inference else int(self.tokenizer.eos_token_id)
        config.eos_token_id = end
        pad = self.tokenizer.pad_token_id
        config.pad_token_id = end if pad is None else pad
        config.repetition_penalty = 1.0
        texts = [Text(n, prompt) for n, prompt in enumerate(prepared.prompts)]
        names = [item.request.sample_id for item in prepared.items]
        with library_errors(self.family, names), torch.inference_mode():
            pixels = None if prepared.pixels is None else prepared.pixels.to(self.device).float()
            rows = self.network.rows(pixels, prepared.counts, texts, prepared.shown)
            vectors, mask = padded(rows, left=True)
            decoder: Any = self.network.decoder
            limit = getattr(decoder.config, "max_position_embeddings", None)
            if limit is not None:
                config.max_new_tokens = max(1, min(settings.max_new_tokens, limit - vectors.shape[1]))
            output = decoder.generate(
                inputs_embeds=vectors,
                attention_mask=mask,
                generation_config=config,
                stopping_criteria=self._criteria(),
                logits_processor=self._processors(settings.repetition_penalty),
            ).cpu()
        lengths = [output_length(row, (end,)) for row in output]
        with self._lock:
            found = [
                self.tokenizer.decode(row[:n].tolist(), skip_special_tokens=True)
                for row, n in zip(output, lengths, strict=True)
            ]
        stop = (*settings.stop, self.config.decoder.end)
        return [
            Generation(cut_at(text, stop).strip(), len(row), n)
            for text, row, n in zip(found, rows, lengths, strict=True)
        ]

    def _processors(self, penalty: float) -> Any:
        """Rules over the tokens of the answer alone: the prompt has vectors without ids, of which they know nothing."""
        from transformers.generation import logits_process

        library: Any = logits_process
        size = self.options.no_repeat_ngram_size
        rules = [library.NoRepeatNGramLogitsProcessor(size)] if size else []
        return rules if penalty == 1 else [library.RepetitionPenaltyLogitsProcessor(penalty), *rules]

    def _criteria(self) -> Any:
        """A stop at the literal text that ends an answer; none where a token ends it."""
        if not self.config.decoder.end or self.options.published_inference:
            return None
        wanted = torch.tensor(end_ids(self.tokenizer, self.config), device=self.device)

        def ended(ids: Tensor, scores: Tensor, **named: Any) -> Tensor:
            if ids.shape[1] < len(wanted):
                return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)
            return (ids[:, -len(wanted) :] == wanted).all(1)

        return [ended]
