"""What a model is to the rest of the program.

Life of a model: `identify` (no weights read into memory) → `load` → `fit` (controls only) → `prepare` and `generate`
for each batch → `close`. A model knows nothing of data sets; it sees images, text and option texts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import ModelError
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What options are called, in the order shown."""
BEST = 10
"""How many candidates a ranking names."""


class Options(BaseModel):
    """Settings of a family (`run.options` of a card). Families add fields; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


OptionsT = TypeVar("OptionsT", bound=Options)


def checked_options(settings: ModelSettings, known: type[OptionsT]) -> OptionsT:
    """The options of a card, read by the family's own class.

    Raises:
        ModelError: naming every wrong option, and the known ones.
    """
    try:
        return known.model_validate(dict(settings.options))
    except ValidationError as error:
        names = ", ".join(sorted(known.model_fields)) or "none"
        faults = []
        for item in error.errors(include_url=False):
            place = ".".join(str(part) for part in item["loc"])
            unknown = item["type"] == "extra_forbidden"
            faults.append(f"run.options.{place}: " + ("unknown option" if unknown else item["msg"].lower()))
        raise ModelError(
            f"{settings.name}: {'; '.join(faults)}. Options of family {settings.family}: {names}"
        ) from error


@dataclass(frozen=True, slots=True)
class Audio:
    """One decoded recording."""

    samples: NDArray[np.float32]
    """One channel, (samples,), in [-1, 1]."""
    rate_hz: int


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One request with its decoded images (RGB) and recordings."""

    request: Request
    images: tuple[Image, ...]
    audio: tuple[Audio, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer."""

    text: str
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    choice_scores: tuple[float, ...] = ()
    """Score of each option, from `choose`; of each candidate in `text`, from `retrieve`."""
    steps: tuple[tuple[str, str], ...] = ()
    """What was written on the way to the answer, each with its name, such as a table read from a chart."""


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """What a family made of a batch, without what it needs for the answers."""

    items: tuple[ModelInput, ...]
    """The inputs that can be answered, in order."""
    problems: Mapping[int, Problem]
    """Why another cannot, by its position in the whole batch."""

    def merged(self, answers: Sequence[Generation | Problem]) -> list[Generation | Problem]:
        """Answers to `items` and the problems, in the order of the whole batch."""
        rest = iter(answers)
        total = len(self.items) + len(self.problems)
        return [self.problems[i] if i in self.problems else next(rest) for i in range(total)]


@dataclass(frozen=True, slots=True)
class Example:
    """Another sample of the same task: what a control may know, and a candidate where candidates are ranked."""

    sample_id: str
    cluster: str
    references: tuple[str, ...]
    choices: tuple[str, ...]
    load_images: Callable[[], tuple[Image, ...]]
    """Decodes the images on demand; raises `HarnessError` where one cannot be read."""
    prompt: str = ""
    """The text that the model would read as this sample's question."""
    n_images: int = 0
    """How many images `load_images` gives."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion of released weights wrote."""

    folder: Path
    kept: int
    """Tensors in model.safetensors."""
    dropped: tuple[str, ...]
    """Keys that only training needs."""
    copied: tuple[str, ...]
    """Files copied from beside the weights."""
    lacks: tuple[str, ...]
    """Files that a run needs and that were not beside the weights."""


class Model(ABC):
    """One loaded model. Families subclass this; one instance answers requests of many tasks."""

    family: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    """Modules that must be importable, brought by the extra named in `extra`."""
    extra: ClassVar[str] = ""
    template: ClassVar[str] = "{{ text }}"
    """Jinja template around the task's prompt, with `text` and `images` (their count); a card may replace it."""

    options_type: ClassVar[type[Options]] = Options
    """The options that the family knows."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings

    @classmethod
    def default_template(cls, settings: ModelSettings) -> str:
        """The template where the card has none; a wrapper gives the wrapped model's."""
        return settings.template or cls.template

    @classmethod
    @abstractmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """What this family can do with these settings; no weights are read."""

    @classmethod
    @abstractmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """All that can change an answer, without loading weights into memory.

        Raises:
            ModelError: the checkpoint is not there or an option is wrong, naming it.
        """

    @classmethod
    @abstractmethod
    def load(cls, settings: ModelSettings) -> Model:
        """The model, ready to answer.

        Raises:
            ModelError: naming the file or setting at fault.
        """

    @classmethod
    def meta_network(cls, settings: ModelSettings) -> Any:
        """The network on the meta device, for `cards check`, where the family builds its own from the card alone.

        `None` where it needs a `config.json`, as the families of the transformers library do, or has no network.
        """
        return None

    @classmethod
    def convert(cls, source: Path, target: Path) -> Conversion:
        """Write released weights of an older layout as a folder that `load` takes; nothing of a pickle is run.

        Raises:
            ModelError: the family has no such layout, or the source is not one.
        """
        raise ModelError(f"{cls.family}: there is no older layout to convert; give the checkpoint's folder in the card")

    def fit(self, examples: Iterable[Example]) -> None:
        """Read the other samples of the task: once per task where `needs_examples` or `answer_by` is `retrieve`."""
        raise ModelError(f"{self.family}: this family has no use for examples")

    def prepare(self, batch: Sequence[ModelInput]) -> Any:
        """The batch as the family's own tensors; runs ahead of `generate` and may be done in another thread."""
        return list(batch)

    @abstractmethod
    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        """One answer for each input of the prepared batch, in order; a problem where one input can have none.

        Raises:
            ModelOutOfMemory: the batch does not fit; it is asked again in halves.
            ModelError: anything else that is wrong with the batch.
        """

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The likeliest of each request's choices: `text` is its letter, `choice_scores` its log-likelihoods."""
        raise ModelError(f"{self.family}: options cannot be ranked by likelihood; set answer_by: generate")

    def retrieve(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The best candidates for each query: `text` is a JSON list of at most `BEST` ids, best first, `choice_scores`
        their scores.

        The candidates are the examples of the last `fit`: those with an image and no prompt for a query without image,
        those with a prompt and no image for a query with one. Equal scores are in order of id.
        """
        raise ModelError(f"{self.family}: candidates cannot be ranked; set answer_by: generate")

    def embed(self, batch: Sequence[ModelInput]) -> Any:
        """Image (and, where the family has them, text) vectors, one row for each input."""
        raise ModelError(f"{self.family}: has no embeddings")

    def bucket(self, item: ModelInput) -> int:
        """Inputs of one bucket may share a batch; asked only where `batching` is `bucketed`."""
        return 0

    def peak_memory_bytes(self) -> int | None:
        """Highest device memory since loading; `None` on a CPU, where the process is measured instead."""
        return None

    def close(self) -> None:
        """Free what was loaded; the model is not used afterwards."""
