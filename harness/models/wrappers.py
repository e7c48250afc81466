"""Wrappers that change the picture and leave question and model alone: how much of a score needs the right picture?

A wrapper has the wrapped model's capabilities, template and options of answering; `settings.inner` says which model.
"""

from __future__ import annotations

import hashlib
import random
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from harness import registry
from harness.errors import HarnessError, ModelError
from harness.models.base import Example, Generation, Model, ModelInput, Options, checked_options
from harness.models.controls import cluster_of
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem, Request

if TYPE_CHECKING:
    from PIL.Image import Image

_COLOURS: Mapping[str, tuple[int, int, int]] = {
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}


def _inner(settings: ModelSettings) -> tuple[type[Model], ModelSettings]:
    """The wrapped family and its settings."""
    if settings.inner is None:
        raise ModelError(f"{settings.name}: family {settings.family} wraps another model; name it in run.inner")
    family: type[Model] = registry.load("models", settings.inner.family)
    return family, settings.inner


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch as the wrapped model prepared it, and the inputs that never reached it."""

    inner: Any
    """`None` where no input was left."""
    size: int
    problems: Mapping[int, Problem]


class Wrapper(Model):
    """What wrappers share: everything goes to the wrapped model, with other images."""

    rule: ClassVar[str]

    def __init__(self, settings: ModelSettings, inner: Model) -> None:
        super().__init__(settings)
        self.inner = inner
        self._inner_can = type(inner).capabilities(inner.settings)

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Those of the wrapped model."""
        family, inner = _inner(settings)
        return family.capabilities(inner)

    @classmethod
    def default_template(cls, settings: ModelSettings) -> str:
        """The card's, else the wrapped card's, else the wrapped family's."""
        family, inner = _inner(settings)
        return settings.template or family.default_template(inner)

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """The wrapped model's weights and processing, with the wrapper's rule and options beside them."""
        options = checked_options(settings, cls.options_type)
        family, inner_settings = _inner(settings)
        if not family.capabilities(inner_settings).reads_pixels:
            raise ModelError(
                f"{settings.name}: family {inner_settings.family} does not read pixels, so other images change nothing"
            )
        inner = family.identify(inner_settings)
        processing = {"rule": cls.rule, **options.model_dump(), "inner": inner.processing}
        return ModelIdentity(settings, inner.weights, processing, inner.warnings)

    @classmethod
    def load(cls, settings: ModelSettings) -> Self:
        """The wrapper around the loaded model."""
        checked_options(settings, cls.options_type)
        family, inner = _inner(settings)
        return cls(settings, family.load(inner))

    def fit(self, examples: Iterable[Example]) -> None:
        """Hand the examples on where the wrapped model wants them; as candidates, they have other images too."""
        if self._inner_can.can_retrieve:
            self.inner.fit([replace(e, load_images=partial(self._candidate_images, e)) for e in examples])
        elif self._inner_can.needs_examples:
            self.inner.fit(examples)

    @abstractmethod
    def other_images(self, who: Request | Example, images: tuple[Image, ...]) -> tuple[Image, ...] | Problem:
        """The images that the wrapped model shall see for a request or a candidate."""

    def replaced(self, item: ModelInput) -> ModelInput | Problem:
        """The input with the images that the wrapped model shall see."""
        images = self.other_images(item.request, item.images)
        return images if isinstance(images, Problem) else replace(item, images=images)

    def _candidate_images(self, example: Example) -> tuple[Image, ...]:
        images = self.other_images(example, example.load_images())
        if isinstance(images, Problem):
            raise ModelError(f"{self.settings.name}: {example.sample_id}: {images.message}")
        return images

    def _split(self, batch: Sequence[ModelInput]) -> tuple[list[ModelInput], dict[int, Problem]]:
        inputs, problems = [], {}
        for place, item in enumerate(batch):
            changed = self.replaced(item)
            if isinstance(changed, Problem):
                problems[place] = changed
            else:
                inputs.append(changed)
        return inputs, problems

    @staticmethod
    def _merged(
        answers: Iterable[Generation | Problem], size: int, problems: Mapping[int, Problem]
    ) -> list[Generation | Problem]:
        rest = iter(answers)
        return [problems[place] if place in problems else next(rest) for place in range(size)]

    def prepare(self, batch: Sequence[ModelInput]) -> _Prepared:
        """The wrapped model's preparation of the batch with other images."""
        inputs, problems = self._split(batch)
        return _Prepared(self.inner.prepare(inputs) if inputs else None, len(batch), problems)

    def generate(self, prepared: _Prepared, settings: GenerationSettings) -> list[Generation | Problem]:
        """The wrapped model's answers."""
        answers = self.inner.generate(prepared.inner, settings) if prepared.inner is not None else []
        return self._merged(answers, prepared.size, prepared.problems)

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The wrapped model's choices."""
        inputs, problems = self._split(batch)
        return self._merged(self.inner.choose(inputs) if inputs else [], len(batch), problems)

    def retrieve(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The wrapped model's rankings."""
        inputs, problems = self._split(batch)
        return self._merged(self.inner.retrieve(inputs) if inputs else [], len(batch), problems)

    def embed(self, batch: Sequence[ModelInput]) -> Any:
        """The wrapped model's vectors of the other images.

        Raises:
            ModelError: for an input that has no other image.
        """
        inputs, problems = self._split(batch)
        if problems:
            raise ModelError(f"{self.settings.name}: {next(iter(problems.values())).message}")
        return self.inner.embed(inputs)

    def bucket(self, item: ModelInput) -> int:
        """The wrapped model's bucket; images of another size do not change it, as buckets are of text."""
        return self.inner.bucket(item)

    def peak_memory_bytes(self) -> int | None:
        """The wrapped model's."""
        return self.inner.peak_memory_bytes()

    def close(self) -> None:
        """Close the wrapped model."""
        self.inner.close()


class BlankOptions(Options):
    """Options of the blank-image wrapper."""

    colour: Literal["grey", "white", "black"] = "grey"
    """Mid-grey is (128, 128, 128)."""


class BlankImage(Wrapper):
    """Every image is one colour, in its own size."""

    family = "blank-image"
    rule = "every image one colour in its own size|v1"
    options_type: ClassVar[type[Options]] = BlankOptions

    def other_images(self, who: Request | Example, images: tuple[Image, ...]) -> tuple[Image, ...] | Problem:
        """Blank images of the same sizes."""
        from PIL import Image

        colour = _COLOURS[checked_options(self.settings, BlankOptions).colour]
        return tuple(Image.new("RGB", image.size, colour) for image in images)


class ShuffleOptions(Options):
    """Options of the shuffled-image wrapper."""

    seed: int = 0


class ShuffledImage(Wrapper):
    """Each sample sees the images of a sample of another cluster.

    The samples with images are put in a seeded order with clusters together, and each takes the images of the one that
    stands as many places on as the largest cluster is big: no sample sees its own cluster, and where that cluster holds
    at most half of the samples, every picture is shown exactly once. A donor with another number of images, or with
    one that cannot be read, is passed over for the next.
    """

    family = "shuffled-image"
    rule = "images of another cluster, rotated by the largest cluster in a seeded order|v2"
    options_type: ClassVar[type[Options]] = ShuffleOptions

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Those of the wrapped model, but it reads the other samples first and answers by who asks."""
        return replace(super().capabilities(settings), needs_examples=True, depends_on_sample=True)

    def __init__(self, settings: ModelSettings, inner: Model) -> None:
        super().__init__(settings, inner)
        self._order: list[Example] = []
        self._places: dict[str, int] = {}
        self._shift = 0
        self._fitted = False

    def fit(self, examples: Iterable[Example]) -> None:
        """Set up who sees whose images; no image is read yet."""
        known = sorted(examples, key=lambda example: example.sample_id)
        super().fit(known)
        clusters: dict[str, list[Example]] = defaultdict(list)
        for example in known:
            if example.n_images:
                clusters[cluster_of(example)].append(example)
        draw = random.Random(checked_options(self.settings, ShuffleOptions).seed)
        names = sorted(clusters)
        draw.shuffle(names)
        self._order = [e for name in names for e in draw.sample(clusters[name], len(clusters[name]))]
        self._places = {example.sample_id: place for place, example in enumerate(self._order)}
        self._shift = max(map(len, clusters.values()), default=0)
        self._fitted = True

    def other_images(self, who: Request | Example, images: tuple[Image, ...]) -> tuple[Image, ...] | Problem:
        """The donor's images; without images there is nothing to change."""
        if not self._fitted:
            raise ModelError(f"{self.family}: call fit with the task's examples first")
        if not images:
            return images
        donated = self._donated(who, len(images))
        if donated is None:
            return Problem("no_other_image", f"no sample of another cluster has {len(images)} readable images")
        return donated

    def _donated(self, request: Request | Example, count: int) -> tuple[Image, ...] | None:
        start = self._places.get(request.sample_id)
        if not self._order:
            return None
        if start is None:
            digest = hashlib.sha256(request.sample_id.encode("utf-8", "surrogatepass")).digest()
            start = int.from_bytes(digest, "big") % len(self._order)
        for step in range(len(self._order)):
            donor = self._order[(start + self._shift + step) % len(self._order)]
            if cluster_of(donor) == cluster_of(request):
                continue
            try:
                images = donor.load_images()
            except HarnessError:
                continue
            if len(images) == count:
                return images
        return None
