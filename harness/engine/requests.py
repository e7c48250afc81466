"""Samples → requests: the image bytes, the words, the settings, and the fingerprint over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Any

from harness.datasets.base import Dataset, ImageError
from harness.engine.plan import ModelPlan
from harness.engine.prompts import render
from harness.fingerprint import SampleSetChecksum, fingerprint, fingerprint_of_plain
from harness.provenance import hardware
from harness.quick_records import quickly_made
from harness.records import ModelIdentity, Problem, Request, Sample, TaskPlan


@quickly_made
@dataclass(frozen=True, slots=True)
class WorkItem:
    """A sample ready to be asked, or the reason why it cannot be."""

    sample: Sample
    request: Request
    images: tuple[bytes, ...]
    """Encoded bytes, in order."""
    problem: Problem | None = None
    audio: tuple[bytes, ...] = ()
    """Encoded bytes of the recordings, in order."""


def read_audio(sample: Sample, dataset: Dataset) -> tuple[tuple[bytes, ...], Problem | None]:
    """The encoded recordings of a sample, or why they cannot be read."""
    try:
        return tuple([dataset.audio_bytes(audio) for audio in sample.audio]), None
    except ImageError as error:
        return (), Problem(error.kind, str(error))


def read_images(sample: Sample, dataset: Dataset) -> tuple[tuple[bytes, ...], Problem | None]:
    """The encoded images of a sample, or why they cannot be read."""
    try:
        return tuple([dataset.image_bytes(image) for image in sample.images]), None
    except ImageError as error:
        return (), Problem(error.kind, str(error))


def identity_digest(identity: ModelIdentity) -> str:
    """Fingerprint of a model without its name, its prompts and its generation settings: those are in each request."""

    def bare(settings: Any) -> Any:
        if settings is None:
            return None
        inner, parts = bare(settings.inner), {name: bare(part) for name, part in settings.parts.items()}
        return replace(
            settings, name="", template="", prompts={}, generation={}, device="", sha256=None, inner=inner, parts=parts
        )

    return fingerprint(replace(identity, settings=bare(identity.settings), warnings=()))


def on_this_machine(identity: ModelIdentity) -> str:
    """Fingerprint of a model on the hardware at hand, for what depends on both, such as the size of its batches."""
    return fingerprint([identity_digest(identity), hardware()])


def _hashes(files: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple([sha256(data).hexdigest() for data in files]) if files else ()


class RequestMaker:
    """Makes the requests of one task for one model."""

    def __init__(self, plan: ModelPlan, task: TaskPlan, dataset: Dataset, examples: str = "") -> None:
        """`examples` is the checksum of what the model read before: examples, or the candidates that it ranks."""
        self._plan, self._task, self._dataset = plan, task, dataset
        self._settings = fingerprint(
            [identity_digest(plan.identity), examples, task.image_steps, task.generation, task.answer_by]
        )
        self._unsupported = cache(self._unsupported_counts)
        self.checksum = SampleSetChecksum()
        """Over the samples made so far, in order."""

    def make(self, sample: Sample) -> WorkItem:
        """The request of one sample, with its images read."""
        task = self._task
        if "no_images" in task.image_steps:
            sample = replace(sample, images=())
        images, problem = ((), sample.problem) if sample.problem else read_images(sample, self._dataset)
        if sample.problem is None and not self._plan.capabilities.reads_pixels:
            problem = None  # answers or features come from a file: a picture that is not there is not needed
        audio, silent = ((), problem) if problem else read_audio(sample, self._dataset)
        problem = problem or silent or self._unsupported(len(sample.images), len(sample.audio))
        hashes, sounds = _hashes(images), _hashes(audio)
        self.checksum.add(sample, hashes if images else None, sounds if audio else None)
        shown = 1 if self._joins(len(sample.images)) else len(sample.images)
        prompt = render(sample, prompt=task.prompt_text, template=task.template, images=shown, name=task.prompt_name)
        cluster = sample.cluster or sample.sample_id
        request = Request(
            self._fingerprint(sample, cluster, prompt, hashes, sounds),
            task.name,
            sample.sample_id,
            prompt,
            hashes,
            sample.choices,
            cluster,
            task.generation,
            task.answer_by,
            sounds,
        )
        return WorkItem(sample, request, images, problem, audio)

    def _fingerprint(
        self, sample: Sample, cluster: str, prompt: str, images: tuple[str, ...], audio: tuple[str, ...]
    ) -> str:
        asks = (self._task.name, sample.sample_id, cluster) if self._plan.capabilities.depends_on_sample else None
        return fingerprint_of_plain((self._settings, prompt, sample.choices, images, audio, asks))

    def _joins(self, images: int) -> bool:
        limit = self._plan.capabilities.max_images
        return "side_by_side" in self._task.image_steps and limit is not None and images > limit

    def _unsupported_counts(self, images: int, audio: int) -> Problem | None:
        """Why the model cannot be asked with so many images and recordings."""
        able, family = self._plan.capabilities, self._plan.settings.family
        if self._task.answer_by == "retrieve":
            return None if able.can_retrieve else Problem("unsupported_input", f"{family} cannot rank candidates")
        if images < able.min_images:
            return Problem("unsupported_input", f"{family} needs an image and the sample has none")
        if able.max_images is not None and images > able.max_images and not self._joins(images):
            return Problem(
                "unsupported_input", f"{family} takes {able.max_images} image(s) and the sample has {images}"
            )
        if audio < able.min_audio:
            return Problem("unsupported_input", f"{family} needs a recording and the sample has none")
        if able.max_audio is not None and audio > able.max_audio:
            return Problem(
                "unsupported_input", f"{family} takes {able.max_audio} recording(s) and the sample has {audio}"
            )
        if self._task.answer_by == "choose" and not able.can_choose:
            return Problem("unsupported_input", f"{family} cannot rank options by likelihood")
        return None


def windows(samples: Iterable[Sample], maker: RequestMaker, size: Callable[[], int]) -> Iterator[list[WorkItem]]:
    """Work in windows of `size()` samples (asked anew each time): enough to sort and group, few enough to hold."""
    window: list[WorkItem] = []
    for sample in samples:
        window.append(maker.make(sample))
        if len(window) >= size():
            yield window
            window = []
    if window:
        yield window
