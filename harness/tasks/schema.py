"""Prompts, tasks and suites as people write them: which samples, which words, which settings, which metrics."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from harness.records import AnswerBy
from harness.vocabulary import IMAGE_STEPS, TaskKind

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]


def _known_step(name: str) -> str:
    if name not in IMAGE_STEPS:
        near = difflib.get_close_matches(name, IMAGE_STEPS, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ValueError(f'no image step named "{name}"; {hint}known: {", ".join(IMAGE_STEPS)}')
    return name


ImageStep = Annotated[str, AfterValidator(_known_step)]


class Spec(BaseModel):
    """Base of everything written by people: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Prompt(Spec):
    """The words of a question. A change of words is a new version."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    text: str
    """Jinja template with `question`, `hint`, `choices` (letter and text pairs), `metadata`, `images` (their count)."""
    source: Text
    """Whose wording this is."""


class Generation(Spec):
    """Generation settings of a task; what is left out takes the default of `GenerationSettings`."""

    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    min_new_tokens: Annotated[int, Field(ge=0)] | None = None
    num_beams: Annotated[int, Field(ge=1)] | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    length_penalty: float | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    stop: list[str] | None = None
    seed: int | None = None


class Subset(Spec):
    """Part of a split. Counts are groups: a question with all its passes, a sentence with all its images."""

    first: Annotated[int, Field(ge=1)] | None = None
    sample: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None
    stratify: str | None = None
    """Metadata field whose shares the sample keeps."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.first is not None and self.sample is not None:
            raise ValueError("give `first` or `sample`, not both")
        if self.sample is None and (self.seed is not None or self.stratify is not None):
            raise ValueError("`seed` and `stratify` belong to `sample`")
        return self

    def content(self) -> dict[str, Any]:
        """The subset as the record holds it: `{}` for everything, a seed always named."""
        given = self.model_dump(exclude_none=True)
        return {**given, "seed": given.get("seed", 0)} if "sample" in given else given


class Task(Spec):
    """One question type over one split."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    kind: TaskKind
    dataset: Name
    split: Text
    prompt: Name
    """Name of a prompt file."""
    generation: Generation = Generation()
    answer_by: AnswerBy = "generate"
    """`choose` ranks the options by likelihood; `retrieve` ranks the images for a text and the texts for an image."""
    metrics: Annotated[list[Text], Field(min_length=1)]
    """`name` or `name@variant`; the first is the main one."""
    breakdown: list[Text] = []
    """Metadata fields whose values get rows of their own."""
    subset: Subset = Subset()
    image_steps: list[ImageStep] = []
    variant_of: Name | None = None
    """The task of the same suite that this one is a perturbed form of; the drop from it is then reported."""
    option_order: int | None = None
    """Seed of another order of the options."""
    options: dict[str, Any] = {}
    """Options of the data set's reader."""
    main: bool = False
    """Whether files of answers to this data set are scored by this task when none is named."""


class TaskUse(Spec):
    """A task in a suite, with what the suite changes."""

    task: Name
    name: Name | None = None
    """Another name, where one task is used twice."""
    split: Text | None = None
    subset: Subset | None = None
    prompt: Name | None = None
    answer_by: AnswerBy | None = None
    metrics: list[Text] | None = None
    options: dict[str, Any] | None = None
    image_steps: list[ImageStep] | None = None
    variant_of: Name | None = None
    option_order: int | None = None


class Suite(Spec):
    """A list of tasks that are run and compared together."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    description: Text
    data: Literal["bundled", "folder"]
    """`bundled`: runs without `--data`; `folder`: needs `--data DIR`."""
    tasks: Annotated[list[Name | TaskUse], Field(min_length=1)]
