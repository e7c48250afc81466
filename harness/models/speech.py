"""Speech to text: Whisper, and wav2vec 2.0 and HuBERT with a CTC head, from the transformers library.

A recording is resampled to the model's rate. Where a model has no mask for padding (wav2vec 2.0 base, normalised over
the whole recording), only recordings of equal length share a batch: padding would change its answers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import gcd
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from harness.errors import ModelError
from harness.models.base import Audio, Generation, ModelInput, Options
from harness.models.checkpoint import Checkpoint, locate
from harness.models.decoding import cut_at, library_errors, output_length
from harness.models.transformers_base import Prepared, TransformersModel, TransformersOptions
from harness.records import Capabilities, GenerationSettings, ModelSettings, Problem

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_WHISPER_SETTINGS = (
    "is_multilingual",
    "lang_to_id",
    "task_to_id",
    "no_timestamps_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
)
"""What of a Whisper checkpoint's generation_config.json reaches an answer: token ids, and the tokens never written."""
_PROMPT_TOKENS = {True: 4, False: 2}
"""Start, language, task and no-timestamps of a multilingual Whisper; start and no-timestamps of an English one."""


class SpeechOptions(TransformersOptions):
    """Options of the speech models; the last two are for Whisper."""

    language: str | None = None
    """Language of the recordings, such as `en`; without it a multilingual model judges each recording by itself."""
    speech_task: Literal["transcribe", "translate"] = "transcribe"
    """`translate` writes English whatever is spoken."""


class Speech(TransformersModel):
    """A model that writes down one recording; its checkpoint says which of the three kinds it is."""

    family = "speech"
    options_type: ClassVar[type[Options]] = SpeechOptions
    resampling: ClassVar[str] = "scipy.signal.resample_poly"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """One recording, no image."""
        return Capabilities(max_images=0, batching="bucketed", min_audio=1, max_audio=1)

    @classmethod
    def check_type(cls, settings: ModelSettings, checkpoint: Checkpoint, model_type: str | None) -> None:
        """Refuse a checkpoint that is none of the three kinds."""
        if model_type not in _KINDS:
            raise ModelError(
                f"{settings.name}: {checkpoint.folder / 'config.json'} is of model_type {model_type!r}; "
                f"family {cls.family} reads {', '.join(_KINDS)}. Correct run.family"
            )
        options = cast(SpeechOptions, cls.options_type.model_validate(dict(settings.options)))
        if model_type != "whisper" and (options.language or options.speech_task != "transcribe"):
            raise ModelError(
                f"{settings.name}: run.options.language and speech_task are for Whisper; {model_type} has neither"
            )

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """How a recording comes to the model's rate; language and task."""
        import scipy

        resampling = f"{cls.resampling} of scipy {scipy.__version__}"
        return {"resampling": resampling, "language": options.language, "speech_task": options.speech_task}, ()

    @classmethod
    def load(cls, settings: ModelSettings) -> TransformersModel:
        """The model of the checkpoint's kind, on its device."""
        if cls is not Speech:
            return super().load(settings)
        _, checkpoint = cls._opened(settings)
        return _KINDS[checkpoint.read_json("config.json")["model_type"]].load(settings)

    @property
    def rate_hz(self) -> int:
        """The rate that the model hears."""
        return int(self.processor.feature_extractor.sampling_rate)

    def check_processor(self) -> None:
        """Refuse a processor whose vocabulary exceeds the model's output."""
        size, output = len(self.processor.tokenizer), int(self.model.config.vocab_size)
        if size > output:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has {size} tokens and the model writes {output}; they do not "
                "belong together, fetch the checkpoint again"
            )

    def padding_side(self) -> str:
        """Recordings are padded at their end."""
        return "right"

    def echo_length(self, tensors: Mapping[str, torch.Tensor]) -> int:
        """Nothing of the input is repeated in the output."""
        return 0

    def sound(self, item: ModelInput) -> NDArray[np.float32]:
        """The recording of an input at the model's rate."""
        return resampled(item.audio[0], self.rate_hz)


def resampled(audio: Audio, rate_hz: int) -> NDArray[np.float32]:
    """The samples at another rate, by a polyphase filter; unchanged at their own."""
    if audio.rate_hz == rate_hz:
        return audio.samples
    import numpy as np
    from scipy.signal import resample_poly

    common = gcd(audio.rate_hz, rate_hz)
    changed = resample_poly(audio.samples.astype(np.float64), rate_hz // common, audio.rate_hz // common)
    return np.asarray(changed, dtype=np.float32)


class Whisper(Speech):
    """Encoder and decoder over a window of log-mel frames (30 s), without timestamps."""

    model_type = "whisper"
    model_class = "WhisperForConditionalGeneration"
    processor_class = "WhisperProcessor"
    decoding: Mapping[str, Any]

    @classmethod
    def load(cls, settings: ModelSettings) -> TransformersModel:
        """The model, with what its checkpoint says of languages and tasks.

        Raises:
            ModelError: also where generation_config.json lacks what decoding needs, or the language is not the model's.
        """
        # Whisper calls the library's own generate, which announces at each call that its defaults give way to ours.
        logging.getLogger("transformers.generation").setLevel(logging.ERROR)
        loaded = cast(Whisper, super().load(settings))
        loaded.decoding = _whisper_settings(settings, locate(settings), cast(SpeechOptions, loaded.options))
        return loaded

    def position_limit(self) -> int | None:
        """Positions of the decoder."""
        return int(self.model.config.max_target_positions)

    def problem_of(self, item: ModelInput) -> Problem | None:
        """A recording that is longer than the model's window would be cut."""
        extractor = self.processor.feature_extractor
        seconds = len(item.audio[0].samples) / item.audio[0].rate_hz
        if seconds > extractor.chunk_length:
            return Problem(
                "audio_too_long", f"{seconds:.1f} s of sound; {self.settings.name} hears {extractor.chunk_length} s"
            )
        return None

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Log-mel frames of whole windows, (batch, mels, frames)."""
        sounds = [self.sound(item) for item in items]
        features = self.processor.feature_extractor(sounds, sampling_rate=self.rate_hz, return_tensors="pt")
        prompt = _PROMPT_TOKENS[bool(self.decoding["is_multilingual"])]
        return {"input_features": features["input_features"]}, (prompt,) * len(items)

    def _answers(self, prepared: Prepared, config: Any, stop: Sequence[str]) -> list[Generation]:
        import torch

        if not prepared.items:
            return []
        options = cast(SpeechOptions, self.options)
        for name, value in self.decoding.items():
            setattr(config, name, value)
        spoken: dict[str, Any] = {}
        if self.decoding["is_multilingual"]:
            spoken = {"task": options.speech_task, "language": options.language}
        with library_errors(self.family, [item.request.sample_id for item in prepared.items]):
            tensors = self.on_device(prepared.tensors)
            with torch.inference_mode():
                # One call: a timestamp that a model writes unasked must not start another round on the rest.
                output = self.model.generate(
                    **tensors,
                    attention_mask=torch.ones_like(tensors["input_features"][:, 0, :], dtype=torch.long),
                    generation_config=config,
                    return_timestamps=False,
                    force_unique_generate_call=True,
                    **spoken,
                )
            output = output[:, prepared.prompt_tokens[0] :].cpu()
        end = self.end_ids()
        rows = [row[: output_length(row, end)] for row in output]
        with self._tokenizer_lock:
            texts = [self.processor.tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in rows]
        return [
            Generation(cut_at(text.strip(), stop), prompt_tokens, len(row))
            for text, prompt_tokens, row in zip(texts, prepared.prompt_tokens, rows, strict=True)
        ]


def _whisper_settings(settings: ModelSettings, checkpoint: Checkpoint, options: SpeechOptions) -> dict[str, Any]:
    stored = checkpoint.read_json("generation_config.json")
    multilingual = bool(stored.get("is_multilingual", False))
    needed = ["no_timestamps_token_id", *(("lang_to_id", "task_to_id") if multilingual else ())]
    absent = [name for name in needed if not stored.get(name)]
    if absent:
        raise ModelError(
            f"{settings.name}: {checkpoint.folder / 'generation_config.json'} lacks {', '.join(absent)}; "
            "fetch that file of the checkpoint again"
        )
    if not multilingual and (options.language not in (None, "en") or options.speech_task != "transcribe"):
        raise ModelError(f"{settings.name}: this Whisper knows English only; take language and speech_task out")
    if multilingual and options.language and f"<|{options.language}|>" not in stored["lang_to_id"]:
        known = ", ".join(sorted(name.strip("<|>") for name in stored["lang_to_id"]))
        raise ModelError(f"{settings.name}: run.options.language is {options.language!r}; give one of: {known}")
    return {"is_multilingual": multilingual, **{n: stored[n] for n in _WHISPER_SETTINGS if n in stored}}


class Wav2Vec2(Speech):
    """Characters for each frame, the likeliest ones joined: equal neighbours once, blanks left out."""

    model_type = "wav2vec2"
    model_class = "Wav2Vec2ForCTC"
    processor_class = "Wav2Vec2Processor"

    @property
    def masks(self) -> bool:
        """Whether the model can be told what is padding: not where it normalises over the whole recording."""
        return bool(self.model.config.feat_extract_norm == "layer")

    def position_limit(self) -> int | None:
        """None: positions come from a convolution."""
        return None

    def bucket(self, item: ModelInput) -> int:
        """The recording's length at the model's rate, where padding would change the answer."""
        return 0 if self.masks or not item.audio else len(self.sound(item))

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Samples, each recording normalised by itself, (batch, samples), and the mask of what is no padding."""
        sounds = [self.sound(item) for item in items]
        found = self.processor.feature_extractor(
            sounds, sampling_rate=self.rate_hz, padding=True, return_tensors="pt", return_attention_mask=True
        )
        return {name: found[name] for name in ("input_values", "attention_mask")}, (0,) * len(items)

    def generate(self, prepared: Prepared, settings: GenerationSettings) -> list[Generation | Problem]:
        """The likeliest character of each frame.

        Raises:
            ModelError: beams or sampling are asked for; there is no language model to search with.
        """
        if settings.do_sample or settings.num_beams != 1:
            raise ModelError(f"{self.settings.name}: a CTC head has no beams and no sampling; take them out")
        return prepared.merged(self._answers(prepared, None, settings.stop))

    def _answers(self, prepared: Prepared, config: Any, stop: Sequence[str]) -> list[Generation]:
        import torch

        if not prepared.items:
            return []
        with (
            library_errors(self.family, [item.request.sample_id for item in prepared.items]),
            torch.inference_mode(),
        ):
            best = self._best(self.on_device(prepared.tensors))
        with self._tokenizer_lock:
            texts = [self.processor.tokenizer.decode(row) for row in best]
        return [
            Generation(cut_at(text.strip(), stop), n) for text, n in zip(texts, prepared.prompt_tokens, strict=True)
        ]

    def _best(self, tensors: dict[str, torch.Tensor]) -> list[list[int]]:
        """The likeliest character of each frame of each recording, frames of padding left out.

        Without a mask, recordings of one length are heard together and others apart.
        """
        samples, mask = tensors["input_values"], tensors["attention_mask"]
        lengths = mask.sum(dim=-1)
        frames = self.model._get_feat_extract_output_lengths(lengths).tolist()
        rows: list[list[int]] = [[]] * len(samples)
        for length in [samples.shape[1]] if self.masks else sorted(set(lengths.tolist())):
            chosen = range(len(samples)) if self.masks else (lengths == length).nonzero().flatten().tolist()
            part = samples[list(chosen), :length]
            logits = self.model(part, attention_mask=mask if self.masks else None).logits  # (rows, frames, characters)
            for row, ids in zip(chosen, logits.argmax(dim=-1).cpu().tolist(), strict=True):
                rows[row] = ids[: frames[row]]
        return rows


class Hubert(Wav2Vec2):
    """As wav2vec 2.0, pre-trained otherwise."""

    model_type = "hubert"
    model_class = "HubertForCTC"


_KINDS: Mapping[str, type[Speech]] = {"whisper": Whisper, "wav2vec2": Wav2Vec2, "hubert": Hubert}
