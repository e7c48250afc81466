"""What a model is to the rest of the program.

Life of a model: `identify` (no weights read into memory) → `load` → `fit` (controls only) → `prepare` and `generate`
for each batch → `close`. A model knows nothing of data sets; it sees images, text and option texts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import ModelError
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem, Request

if TYPE_CHECKING:
    from PIL.Image import Image


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What options are called, in the order shown."""


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
class ModelInput:
    """One request with its decoded images (RGB)."""

    request: Request
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer."""

    text: str
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    choice_scores: tuple[float, ...] = ()
    """Log-likelihood of each option, from `choose`."""


@dataclass(frozen=True, slots=True)
class Example:
    """Another sample of the same task, for models with `needs_examples`: what a control may know."""

    sample_id: str
    cluster: str
    references: tuple[str, ...]
    choices: tuple[str, ...]
    load_images: Callable[[], tuple[Image, ...]]
    """Decodes the images on demand; raises `HarnessError` where one cannot be read."""


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

    def fit(self, examples: Iterable[Example]) -> None:
        """Read the other samples of the task; called once per task where `needs_examples`."""
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
