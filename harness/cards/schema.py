"""A model card: what the comparison tables say of a model, and how to get its answers.

Unknown keys are refused. In `describe:` every number is a fact with its source, and every unknown value is an explicit
`value: null` with a `why`. A card with only `name` and `run` is enough to run a model.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.vocabulary import Domain, Fusion, TaskKind

ValueT = TypeVar("ValueT")
Text = Annotated[str, Field(min_length=1)]


class Spec(BaseModel):
    """Base of everything written by people: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fact(Spec, Generic[ValueT]):
    """A claimed value and where it stands, or `null` and why it is not known."""

    value: ValueT | None
    source: Text | None = None
    """Paper with table, repository file, or "computed: …"."""
    why: Text | None = None
    """Why the value is null."""

    @model_validator(mode="after")
    def _needs_its_reason(self) -> Self:
        if self.value is not None and self.source is None:
            raise ValueError("a value needs its `source`; or write `value: null` with `why`")
        if self.value is None and self.why is None:
            raise ValueError("`value: null` needs a `why`")
        return self


class Component(Spec):
    """One part of the network."""

    name: Text
    parameters: Fact[int]


class VisionEncoder(Component):
    """What turns pixels into vectors."""

    input_px: Fact[int]
    """Side of the square input, or the longer side."""
    patch_px: Fact[int]
    layers: Fact[int]


class AudioEncoder(Component):
    """What turns sound into vectors."""

    sample_rate_hz: Fact[int]
    layers: Fact[int]


class LanguageModel(Component):
    """What reads and writes text."""

    layers: Fact[int]


class Stage(Spec):
    """Which parts learn in one stage of training."""

    stage: Text
    trained: list[Text]
    frozen: list[Text]
    source: Text


class Architecture(Spec):
    """The network."""

    vision_encoder: VisionEncoder | None
    audio_encoder: AudioEncoder | None = None
    """Left out where the model hears nothing."""
    connector: Text | None
    """What carries image or sound vectors to the language model, such as "2-layer MLP"; `null` where there is none."""
    language_model: LanguageModel | None
    fusion: Fusion
    image_tokens: Fact[int]
    """Positions that one image takes in the language model."""
    parameters: Fact[int]
    """All parameters, tied ones once."""
    stages: list[Stage]


class TrainingSet(Spec):
    """One data set of one stage."""

    stage: Text
    dataset: Text
    size: Fact[int]
    unit: Literal["images", "pairs", "samples", "questions", "tokens", "charts", "formulas", "hours", "clips"]
    kind: Text
    """Such as "web image-text pairs" or "instruction following"."""


class PublishedScore(Spec):
    """A number that somebody published for this model."""

    benchmark: Text
    split: Text
    protocol: Text
    metric: Text
    value: float | None
    """`null` where the number was published and could not be read."""
    why: Text | None = None
    """Why the value is null."""
    source: Text
    confidence: Literal["A", "B", "C"]
    """A: read in the authors' own repository; B: recalled and consistent with something read; C: recalled only."""

    @model_validator(mode="after")
    def _needs_its_reason(self) -> Self:
        if (self.value is None) != (self.why is not None):
            raise ValueError("`why` belongs to `value: null`, and `value: null` needs one")
        return self


class Describe(Spec):
    """What the tables print."""

    title: Text
    year: Fact[int]
    organisation: Text
    licence: Fact[str]
    """Licence of the weights."""
    architecture: Architecture
    training_data: list[TrainingSet]
    tasks: list[TaskKind]
    """What its authors say it does."""
    domain: Domain
    limits: list[Text]
    published: list[PublishedScore]


class Run(Spec):
    """How to get answers."""

    family: Text
    """Registry name of the model family."""
    checkpoint: Text | None = None
    """A folder (relative to this file when it starts with a dot), a hub id, or `zoo:NAME` for one that comes with the
    package."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Hash of model.safetensors; another file is refused."""
    revision: Text | None = None
    """Commit of the hub repository; pin it for results that last."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    template: str = ""
    """Jinja template around a task's prompt, with `text` and `images` (their count)."""
    prompts: dict[str, str] = Field(default_factory=dict)
    """Prompt templates that replace a task's own, by task name or question type."""
    generation: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Generation settings by task name or question type; `"*"` for all."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the family."""
    allow_pickle: bool = False
    """Read `.bin` or `.pth` weights, with unpickling restricted to tensors."""
    python: Text | None = None
    """Interpreter of a virtual environment of its own, with the harness installed, in which the model runs (relative
    to this file when it starts with a dot)."""
    wraps: Text | None = None
    """Name of the card whose model is wrapped, for families such as `blank-image`."""
    parts: dict[str, Text] = Field(default_factory=dict)
    """Part → name of the card that plays it, for families made of several models: `{reader: deplot, reasoner: …}`."""


class CurvePoint(Spec):
    """One validation of a training."""

    step: int
    cpu_s: float
    loss: float
    """Mean training loss of the last steps."""
    exact: float
    """Share of held-out answers that were right, in [0, 1]."""


class Trained(Spec):
    """How `harness train` made the checkpoint."""

    recipe: Text
    recipe_fingerprint: Text
    """Hash of everything in the recipe."""
    seed: int
    steps: int
    """Steps made; fewer than the recipe's where it stopped early."""
    step_kept: int
    """The step whose weights are in the checkpoint: the best validated one."""
    samples: int
    data_sha256: Text
    """Chained hash over every batch: two trainings saw the same data when it is equal."""
    parameters: int
    multiply_adds_per_sample: int
    """Of forward and backward for one training example of the first batch."""
    cpu_s: float
    """Processor time with validation."""
    wall_s: float
    processor: str
    versions: dict[str, str]
    exact: float
    """Held-out share of right answers of the kept step; it chose the step, so it is no test score."""
    exact_n: int
    curve: list[CurvePoint]


class ModelCard(Spec):
    """One model."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
    """Lower-case letters, digits, dot, dash and underscore."""
    extends: Text | None = None
    """Name of a card whose fields this one starts from."""
    describe: Describe | None = None
    run: Run | None = None
    why_no_run: Text | None = None
    """For a card without `run`: why no answers can be had."""
    trained: Trained | None = None
    """For a checkpoint of `harness train`."""
    takes_part: Literal["prediction-files", "description-only"] | None = None
    """For a card without `run`: compared by answers made elsewhere, or described only."""

    @model_validator(mode="after")
    def _runs_or_says_why(self) -> Self:
        if self.run is None and self.why_no_run is None:
            raise ValueError("give `run:` or say in `why_no_run:` why there is none")
        if self.run is not None and self.why_no_run is not None:
            raise ValueError("`why_no_run` is for a card without `run`; remove one of them")
        if self.run is not None and self.takes_part is not None:
            raise ValueError("`takes_part` is for a card without `run`; remove one of them")
        return self


def json_schema() -> str:
    """The JSON schema of a card as editors read it, ending in a newline."""
    schema = ModelCard.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
