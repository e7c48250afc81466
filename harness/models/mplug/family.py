"""The model family `mplug`: a checkpoint that captions, answers questions or retrieves, as `run.options.task` says.

Generation follows the released beam search, whose length penalty is fixed: `num_beams`, `min_new_tokens` and
`max_new_tokens` of a task or card are its beams, least and most tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.errors import ModelError
from harness.fingerprint import file_sha256
from harness.models.base import LETTERS, Conversion, Example, Generation, Model, ModelInput, Options, checked_options
from harness.models.decoding import cut_at, library_errors
from harness.models.devices import library_versions, peak_memory, reset_peak_memory, resolved_device, resolved_dtype
from harness.models.likelihood import option_problem
from harness.models.mplug.opening import file_of, opened, read_answers
from harness.models.mplug.options import MplugOptions, resolved_sizes, stated
from harness.models.shared_images import distinct
from harness.models.transformers_base import Prepared
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.models.gallery import Vectors
    from harness.models.mplug.beams import Hypothesis
    from harness.models.mplug.decoder import Context
    from harness.models.mplug.inputs import WordPieces
    from harness.models.mplug.network import MplugNetwork
    from harness.models.mplug.retrieval import Match, Retriever
    from harness.models.mplug.sizes import Sizes
    from harness.models.mplug.weights import LoadReport

_CAPTION_WARNING = "captioning checkpoint: it takes no text, so the prompt of a task has no effect"


class Mplug(Model):
    """An mPLUG checkpoint. One image for captions and questions; one image or one text for retrieval."""

    family = "mplug"
    requires: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    extra: ClassVar[str] = "models"
    template = "{{ text }}"
    options_type: ClassVar[type[Options]] = MplugOptions

    def __init__(
        self,
        settings: ModelSettings,
        options: MplugOptions,
        network: MplugNetwork,
        words: WordPieces,
        report: LoadReport,
        device: str,
    ) -> None:
        super().__init__(settings)
        self.options = options
        self.network = network
        self.report = report
        """What of the checkpoint was read and what was not."""
        self.device = device
        self.devices = (device,) if device.startswith("cuda") else ()
        self._words = words
        self._lock = threading.Lock()  # the Rust tokenizer is set up by one thread at a time
        self._answers: tuple[str, ...] = ()
        self._retriever: Retriever | None = None

    # What the family says about itself

    @classmethod
    def default_template(cls, settings: ModelSettings) -> str:
        """The card's template; else the bare text, and nothing for a captioning checkpoint."""
        if settings.template or checked_options(settings, MplugOptions).task != "caption":
            return settings.template or cls.template
        return "{# a captioning checkpoint takes no text #}"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """By task: captions and questions need an image, questions have options ranked, retrieval ranks candidates."""
        task = checked_options(settings, MplugOptions).task
        retrieves = task == "retrieval"
        return Capabilities(
            min_images=0 if retrieves else 1,
            max_images=1,
            batching="padded",
            can_choose=task == "vqa",
            can_embed=retrieves,
            can_retrieve=retrieves,
        )

    @classmethod
    def meta_network(cls, settings: ModelSettings) -> MplugNetwork | None:
        """The network without its weights: of the card's preset, or of the shapes stored in a local checkpoint.

        `None` where there is neither.
        """
        options = checked_options(settings, MplugOptions)
        sizes = _preset_sizes(options) if options.preset is not None else _stored_sizes(settings)
        if sizes is None:
            return None
        import torch

        from harness.models.mplug.network import MplugNetwork

        with torch.device("meta"):
            return MplugNetwork(sizes)

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """Weights by hash, settings with where they stand, text and image protocol, libraries, number type, device."""
        options, checkpoint = opened(settings)
        device = resolved_device(settings)
        found = stated(options, checkpoint)
        named = {"vocab": options.vocab, **({"answers": options.answers} if options.answers else {})}
        processing = {
            "libraries": library_versions(),
            "dtype": resolved_dtype(settings, checkpoint, device),
            "device": device.partition(":")[0],
            "task": options.task,
            "settings": {name: {"value": one.value, "source": one.source} for name, one in found.items()},
            "text": {"protocol": options.protocol, "trailing_sep": options.text_end, "pad_to": options.text_tokens},
            "image": "square, bicubic, CLIP mean and deviation",
            "files": {
                **checkpoint.settings_files(),
                **{k: file_sha256(file_of(checkpoint, k, v)) for k, v in named.items()},
            },
        }
        warnings = (_CAPTION_WARNING,) if options.task == "caption" else ()
        return ModelIdentity(settings, checkpoint.identity(), processing, warnings)

    @classmethod
    def load(cls, settings: ModelSettings) -> Mplug:
        """The model on its device, with every weight that its task runs.

        Raises:
            ModelError: a live weight is missing or has another shape, naming it; a pickle would call something; nothing
                says how the fusion layers run; or the vocabulary is not BERT's.
        """
        import torch

        from harness.models.mplug.inputs import WordPieces
        from harness.models.mplug.retrieval import Retriever
        from harness.models.mplug.weights import build, read_state, shapes_of

        options, checkpoint = opened(settings)
        device = resolved_device(settings)
        dtype = getattr(torch, resolved_dtype(settings, checkpoint, device))
        found = stated(options, checkpoint)
        state = read_state(checkpoint)
        try:
            sizes = resolved_sizes(found, shapes_of(state), checkpoint, options.task)
            words = WordPieces(file_of(checkpoint, "vocab", options.vocab), sizes.vocabulary)
        except ModelError as error:
            raise _named(settings, error) from error
        network, report = build(settings.name, state, sizes, dtype)
        with library_errors(cls.family, [f"loading {settings.name}"]):
            network = network.to(device)
        model = cls(settings, options, network, words, report, device)
        if options.task == "retrieval":
            model._retriever = Retriever(network, words, options, model._lock)
        if options.answers is not None:
            model._answers = read_answers(file_of(checkpoint, "answers", options.answers))
        reset_peak_memory(model.devices)
        return model

    @classmethod
    def convert(cls, source: Path, target: Path) -> Conversion:
        """The released `.pth` or `.bin` file as a folder with safetensors, configuration and vocabulary."""
        from harness.models.mplug.convert import convert_checkpoint

        return convert_checkpoint(source, target)

    def close(self) -> None:
        """Drop the weights and give the device's memory back."""
        import torch

        del self.network
        self._retriever = None
        if self.devices:
            torch.cuda.empty_cache()

    def peak_memory_bytes(self) -> int | None:
        """Highest memory that torch held on the CUDA device since loading."""
        return peak_memory(self.devices)

    # Captions and answers

    def prepare(self, batch: Sequence[ModelInput]) -> Prepared:
        """Tensors on the CPU: each distinct image once, `picture` with the image of each row, and the questions."""
        import torch

        from harness.models.mplug.inputs import pixels

        if self.options.task == "retrieval":
            raise ModelError(f"{self.settings.name}: a retrieval checkpoint writes no text; set answer_by: retrieve")
        problems = {i: p for i, p in enumerate(map(self._problem, batch)) if p}
        items = tuple(item for i, item in enumerate(batch) if i not in problems)
        if not items:
            return Prepared((), problems, {}, ())
        with library_errors(self.family, [item.request.sample_id for item in items]):
            images, numbers = distinct([item.images[0] for item in items])
            tensors = {
                "pixels": pixels(images, self.network.sizes.settings.image_px),
                "picture": torch.tensor(numbers),
            }
            lengths = [0] * len(items)
            if self.options.task == "vqa":
                with self._lock:
                    texts = self._words.encode(
                        [item.request.prompt for item in items],
                        end=self.options.text_end,
                        pad_to=self.options.text_tokens,
                    )
                tensors |= {"ids": texts.ids, "mask": texts.mask}
                lengths = texts.lengths
        return Prepared(items, problems, tensors, tuple(lengths))

    def _problem(self, item: ModelInput) -> Problem | None:
        if len(item.images) != 1:
            return Problem("unsupported_input", f"family {self.family} takes one image; here are {len(item.images)}")
        if self.options.task == "caption" or self.options.text_tokens:
            return None
        with self._lock:
            (length,) = self._words.encode([item.request.prompt], end=self.options.text_end).lengths
        limit = self.network.sizes.positions
        return (
            Problem("prompt_too_long", f"{length} tokens; {self.settings.name} takes {limit}")
            if length > limit
            else None
        )

    def generate(self, prepared: Prepared, settings: GenerationSettings) -> list[Generation | Problem]:
        """Captions or answers by beam search; the best of the card's answers where it has a closed list.

        Raises:
            ModelError: a setting that the released search does not have, naming it.
        """
        self._check(settings)
        if not prepared.items:
            return prepared.merged([])
        import torch

        from harness.models.mplug.beams import beam_search

        answers: list[Generation | Problem]
        names = [item.request.sample_id for item in prepared.items]
        with library_errors(self.family, names), torch.inference_mode():
            context = self._context(prepared)
            if self._answers:
                answers = [self._best_answer(context, n, tokens) for n, tokens in enumerate(prepared.prompt_tokens)]
                return prepared.merged(answers)
            found = beam_search(
                self.network.text_decoder,
                context,
                beams=settings.num_beams,
                min_length=settings.min_new_tokens,
                max_length=settings.max_new_tokens,
            )
        answers = [
            self._written(best, tokens, settings.stop)
            for (best, *_), tokens in zip(found, prepared.prompt_tokens, strict=True)
        ]
        return prepared.merged(answers)

    def _check(self, settings: GenerationSettings) -> None:
        limit = self.network.sizes.positions
        checks = (
            ("max_new_tokens", 1 <= settings.max_new_tokens <= limit, f"1 to {limit}, the positions of the decoder"),
            ("min_new_tokens", 0 <= settings.min_new_tokens <= settings.max_new_tokens, "0 to max_new_tokens"),
            ("num_beams", settings.num_beams >= 1, "an integer >= 1"),
            ("do_sample", not settings.do_sample, "false: this family searches with beams only"),
            ("length_penalty", settings.length_penalty == 1, "1: the search has a length penalty of its own"),
            ("repetition_penalty", settings.repetition_penalty == 1, "1: the search has none"),
        )
        for name, sound, wanted in checks:
            if not sound:
                raise ModelError(f"{self.settings.name}: generation.{name} is {getattr(settings, name)}; give {wanted}")

    def _context(self, prepared: Prepared) -> Context:
        tensors = {name: tensor.to(self.device) for name, tensor in prepared.tensors.items()}
        image = self.network.image_states(tensors["pixels"].to(self.network.dtype))[tensors["picture"]]
        return self.network.decoder_context(image, tensors.get("ids"), tensors.get("mask"))

    def _written(self, best: Hypothesis, prompt_tokens: int, stop: Sequence[str]) -> Generation:
        from harness.models.mplug.beams import SEP

        ids = best.ids[1:]
        if self.options.cut_at_sep and SEP in ids:
            ids = ids[: ids.index(SEP) + 1]
        with self._lock:
            text = self._words.decode(ids)
        return Generation(cut_at(text, stop), prompt_tokens, len(ids))

    # Ranking answers

    def _ranked(self, context: Context, answers: Sequence[str], top_k: int) -> tuple[list[int], list[float]]:
        """Numbers and scores of the best answers to one example, best first."""
        from harness.models.mplug.ranking import rank_answers

        with self._lock:
            texts = self._words.encode(answers, end=True)
        ids, mask = texts.ids.to(self.device), texts.mask.to(self.device)
        ranking = rank_answers(self.network.text_decoder, context, ids, mask, top_k)
        return ranking.index[0].tolist(), ranking.score[0].tolist()

    def _best_answer(self, context: Context, example: int, prompt_tokens: int) -> Generation:
        import torch

        one = context.rows(torch.tensor([example], device=self.device))
        index, _ = self._ranked(one, self._answers, self.options.rank_top_k)
        return Generation(self._answers[index[0]], prompt_tokens)

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The best option by the released ranker, all options read in full, one request at a time.

        The score of an option is log p(first token) + log p(option and `[SEP]`): its first token counts twice, as in
        the released code.
        """
        if self.options.task != "vqa":
            return super().choose(batch)
        import torch

        answers: list[Generation | Problem] = []
        for item in batch:
            prepared = self.prepare([item])
            problem = prepared.problems.get(0) or option_problem(item)
            if problem is not None:
                answers.append(problem)
                continue
            with library_errors(self.family, [item.request.sample_id]), torch.inference_mode():
                choices = item.request.choices
                index, scores = self._ranked(self._context(prepared), choices, len(choices))
            by_choice = dict(zip(index, scores, strict=True))
            totals = tuple(by_choice[number] for number in range(len(choices)))
            best = max(range(len(totals)), key=totals.__getitem__)
            answers.append(Generation(LETTERS[best], prepared.prompt_tokens[0], None, totals))
        return answers

    # Retrieval

    @property
    def retriever(self) -> Retriever:
        """What encodes, matches and ranks.

        Raises:
            ModelError: the checkpoint is not for retrieval.
        """
        if self._retriever is None:
            raise ModelError(f"{self.settings.name}: a checkpoint of task {self.options.task} has no embeddings")
        return self._retriever

    def image_features(self, images: Sequence[Image]) -> Vectors:
        """Vectors of length 1, (images, embedding), for retrieval by similarity."""
        with library_errors(self.family, [f"{len(images)} images"]):
            return self.retriever.encode_images(images).vectors

    def text_features(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, (texts, embedding), for retrieval by similarity."""
        with library_errors(self.family, [f"{len(texts)} texts"]):
            return self.retriever.encode_texts(texts).vectors

    def match_scores(self, images: Sequence[Image], texts: Sequence[str]) -> Match:
        """How well image n and text n belong together; one image, or one text, goes with each of the others."""
        if len(images) != len(texts) and 1 not in (len(images), len(texts)):
            raise ModelError(f"{self.settings.name}: {len(images)} images and {len(texts)} texts are no pairs")
        with library_errors(self.family, [f"{max(len(images), len(texts))} pairs"]):
            return self.retriever.match(self.retriever.encode_images(images), self.retriever.encode_texts(texts))

    def embed(self, batch: Sequence[ModelInput]) -> Vectors:
        """One vector of length 1 for each input: of its image, or of its text where it has no image."""
        rows = [
            self.image_features(item.images) if item.images else self.text_features([item.request.prompt])
            for item in batch
        ]
        return np.concatenate(rows)

    def fit(self, examples: Iterable[Example]) -> None:
        """Read the candidates: vectors and states of every distinct image and text, kept on the CPU."""
        with library_errors(self.family, ["the candidates"]):
            self.retriever.read(examples)

    def retrieve(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The best candidates by two stages: the `match_top_k` most similar contents, in order of their matching score.

        A content is a distinct image or text; candidates with one content tie.
        """
        if self._retriever is None:
            return super().retrieve(batch)
        with library_errors(self.family, [item.request.sample_id for item in batch]):
            return [self._retriever.answer(item) for item in batch]


def _named(settings: ModelSettings, error: ModelError) -> ModelError:
    text = str(error)
    return error if text.startswith(f"{settings.name}: ") else ModelError(f"{settings.name}: {text}")


def _preset_sizes(options: MplugOptions) -> Sizes:
    from harness.models.mplug.sizes import published

    assert options.preset is not None
    return published(options.preset, options.task, image_px=options.image_px, stride_layer=options.stride_layer)


def _stored_sizes(settings: ModelSettings) -> Sizes | None:
    """The sizes that the shapes of a local safetensors checkpoint tell; its files are mapped, not read."""
    if settings.checkpoint is None or not Path(settings.checkpoint).is_dir():
        return None
    from harness.models.mplug.weights import read_state, shapes_of

    options, checkpoint = opened(settings)
    if checkpoint.pickled:
        return None
    return resolved_sizes(stated(options, checkpoint), shapes_of(read_state(checkpoint)), checkpoint, options.task)
