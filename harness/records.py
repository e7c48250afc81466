"""The vocabulary: what passes along the arrows of the data flow and what is written to disk.

Frozen, slotted dataclasses without behaviour and without I/O. A rate lies in [0, 1], a time is in seconds, a size in
bytes. `None` means "not known" or "did not come"; it never means 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.quick_records import quickly_made

AnswerBy = Literal["generate", "choose", "retrieve"]
"""How an answer comes about: as text, as one of the sample's options, or as a ranking of candidates.

A task of `retrieve` has samples of two kinds: an image without question, and a question without image. Each sample is
a query, and each is also a candidate, by its id, for the queries of the other kind.
"""
SCHEMA_VERSION = 1
"""Version of every file in a run folder; raised when a field changes its meaning or goes away."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a sample cannot be asked or an answer did not come."""

    kind: str
    """A stable name to count by, such as `missing_image`, `duplicate_id`, `out_of_memory`, `unsupported_input`."""
    message: str
    """One sentence that names the file or the limit."""


@quickly_made
@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where one image lies; only the data set that made the reference can read it."""

    locator: str
    """What an error message names: a path relative to the data folder, or a file and its row."""
    key: str
    """What the data set needs to find the bytes again."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Sample:
    """One question of a benchmark with everything needed to ask and to score it."""

    sample_id: str
    """Unique within data set and split, and stable under subsets and order."""
    question: str = ""
    images: tuple[ImageRef, ...] = ()
    references: tuple[str, ...] = ()
    """Accepted answers: captions, a label, an option letter, a linearised table, a formula."""
    choices: tuple[str, ...] = ()
    """Texts of the options A, B, C, … in the order shown."""
    hint: str = ""
    cluster: str = ""
    """Samples with one cluster are not independent (same image, same question); the unit of resampling."""
    group: str = ""
    """Samples with one group are scored together (passes of one question, images of one sentence) and never split."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Fields to break scores down by, such as `{"subset": "human"}`."""
    problem: Problem | None = None
    """Set when the sample cannot be asked; it is counted, named and unscored."""
    audio: tuple[ImageRef, ...] = ()
    """Recordings, in the same kind of reference as images."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How text is generated; every setting is written to the record, defaults included."""

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    """Strings that end the answer; the answer is cut before the first of them."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The `run:` part of a card with every default filled in: what a model family needs to load."""

    name: str
    """Name of the card."""
    family: str
    """Registry name of the model family."""
    checkpoint: str | None = None
    """Local folder (absolute) or hub id; in a record the folder's name alone, or `zoo:NAME`."""
    revision: str | None = None
    dtype: str = "auto"
    """`float32`, `bfloat16`, `float16`, or `auto`: the stored type on a GPU, float32 on a CPU."""
    device: str = "auto"
    template: str = ""
    """Jinja template that wraps a task's prompt in the model's own format; empty takes the family's."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Prompt texts that replace a task's own, by task name or question type."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """Generation settings that replace a task's own: `{"*": {...}, "captioning": {...}}`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the family, checked by it."""
    allow_pickle: bool = False
    """Whether `.bin`/`.pth` weights may be read (still with `weights_only=True`)."""
    remote_code_commit: str | None = None
    """Commit whose repository code may run; set by the command line only, never by a card."""
    inner: ModelSettings | None = None
    """The wrapped model, for families that change what another model sees."""
    sha256: str | None = None
    """Hash that model.safetensors must have."""
    parts: Mapping[str, ModelSettings] = field(default_factory=dict)
    """The models that a family is made of, by their part in it: `{"reader": …, "reasoner": …}`."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Everything about a model that can change an answer and is known before its weights are loaded."""

    settings: ModelSettings
    weights: str
    """Content hash of the weights, a pinned hub commit, or a statement such as `no weights`."""
    processing: Mapping[str, Any] = field(default_factory=dict)
    """Processor settings, libraries and fonts that shape the model's input."""
    warnings: tuple[str, ...] = ()
    """What the reader of a result must know, such as a substituted font."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model family can do, so that the engine never asks for its name."""

    min_images: int = 0
    max_images: int | None = 1
    """`None` is no limit."""
    batching: Literal["padded", "bucketed", "single"] = "padded"
    """`padded`: any prompts together; `bucketed`: only prompts of equal token count; `single`: batch 1."""
    can_choose: bool = False
    """Has `choose`: option texts ranked by likelihood."""
    can_embed: bool = False
    can_retrieve: bool = False
    """Has `retrieve`: ranks the candidates read by `fit` for an image or a text."""
    reads_pixels: bool = True
    """Whether other pixels can change an answer; not where features or answers come from files."""
    needs_examples: bool = False
    """Has `fit`: reads the other samples' references or images first, as a control does."""
    depends_on_sample: bool = False
    """Whether the answer depends on which sample asks, beyond its image and prompt."""
    min_audio: int = 0
    max_audio: int | None = 0
    """How many recordings it takes; `None` is no limit."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Request:
    """One question as one model is asked it. Two requests with one fingerprint have one answer."""

    fingerprint: str
    task: str
    sample_id: str
    prompt: str
    """The text the model reads, with its own template around the task's prompt."""
    images: tuple[str, ...] = ()
    """SHA-256 of each image file's bytes."""
    choices: tuple[str, ...] = ()
    cluster: str = ""
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    answer_by: AnswerBy = "generate"
    audio: tuple[str, ...] = ()
    """SHA-256 of each recording's bytes."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one request: a text, or the reason why none came."""

    fingerprint: str
    task: str
    sample_id: str
    text: str | None
    """The raw text, kept for ever; `None` when no answer came."""
    failure: Problem | None = None
    latency_s: float | None = None
    """Wall time of the batch from prepared input to text; `None` for failures."""
    batch_size: int = 1
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    choice_scores: tuple[float, ...] = ()
    """Log-likelihood (or similarity) of each option, where the answer was chosen; score of each candidate found."""
    cached: bool = False
    steps: tuple[tuple[str, str], ...] = ()
    """What was written on the way to the answer, in order: `(("table", "year | sales …"),)`."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Case:
    """A sample and what was answered: what a metric scores."""

    sample: Sample
    text: str | None
    """The raw answer; `None` when none came."""
    failure: Problem | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class Score:
    """One metric on one unit (a sample, or a group of samples scored together)."""

    unit: str
    """Sample id or group id."""
    sample_id: str
    """The sample whose metadata places the unit in a breakdown: itself, or the base pass of a group."""
    cluster: str
    value: float | None
    """`None` when unscored; a wrong answer is 0."""
    statistics: tuple[float, ...] = ()
    """Sufficient statistics; their sums over units give the corpus value. Empty when unscored."""
    extracted: str | None = None
    """What was read out of the answer."""
    reference: str | None = None
    """The reference it met."""
    rule: str = ""
    """The rule that extracted it, or `unparsed`."""
    detail: str = ""
    unscored: Problem | None = None


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What a metric's numbers mean."""

    name: str
    variant: str
    """Which published definition; empty where there is only one."""
    signature: str
    """Name, variant, parameters and version: `relaxed_accuracy|pix2struct|tol=0.05|v1`."""
    higher_is_better: bool = True
    unit: str = "rate"
    """`rate` in [0, 1]; `score` in the library's own scale; `s`, `bytes`, `1/s`."""
    source: str = ""
    """Where the definition comes from."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A number that may leave the program: with signature, interval, counts and method."""

    metric: str
    variant: str
    signature: str
    subset: str
    """`all`, or one value of a breakdown field such as `human`."""
    estimate: float | None
    """`None` when not computed or nothing was scored; then `reason` says why."""
    low: float | None
    high: float | None
    n_scored: int
    n_total: int
    n_clusters: int = 0
    confidence: float = 0.95
    method: str = ""
    """How the interval was made: `wilson`, `cluster_bootstrap|B=2000|seed=0`, …"""
    higher_is_better: bool = True
    unit: str = "rate"
    unparsed: int = 0
    """Units counted as wrong because no rule could read the answer."""
    rules: Mapping[str, int] = field(default_factory=dict)
    """How often each extraction rule fired."""
    reason: str = ""

    @property
    def name(self) -> str:
        """`metric@variant`, as tables print it."""
        return f"{self.metric}@{self.variant}" if self.variant else self.metric


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task as it is run: which samples, which words, which settings, which metrics."""

    name: str
    kind: str
    """Question type, from the task vocabulary."""
    version: int
    dataset: str
    split: str
    form: str
    """Which reader: `official` or `hub`."""
    data: str
    """Where the samples came from: `bundled` or the folder's name."""
    prompt_name: str
    prompt_version: int
    prompt_text: str
    """The task's prompt template after the card's replacement, if any."""
    template: str
    """The model's template around it."""
    generation: GenerationSettings
    answer_by: AnswerBy
    metrics: tuple[str, ...]
    breakdown: tuple[str, ...]
    subset: Mapping[str, Any]
    """`{}` for everything, `{"first": 100}`, or `{"sample": 100, "seed": 0, "stratify": "category"}`."""
    variant_of: str = ""
    """The task of the same suite that this one is a perturbed form of."""
    option_order: int | None = None
    """Seed of another order of the options; `None` keeps the order of the file."""
    image_steps: tuple[str, ...] = ()
    """What is done to the images before the model: `crop_margins`, `side_by_side` (joined where a model takes one),
    `no_images` (the question is put in words alone)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the data set's reader."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What one task gave."""

    plan: TaskPlan
    sample_set: str
    """SHA-256 over the ids, images, questions and references of the samples, in order."""
    data_revision: str
    """Checksum of the annotation files read."""
    n_samples: int
    n_answered: int
    unscored: Mapping[str, int]
    """How many samples have no answer, by kind of problem."""
    values: tuple[MetricValue, ...]

    @property
    def main(self) -> MetricValue:
        """The first metric over all samples."""
        return next(value for value in self.values if value.subset == "all")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One model on one suite: the sealed result. Everything needed to read it is inside it."""

    run_id: str
    schema_version: int
    harness_version: str
    model: str
    card: Mapping[str, Any]
    """The whole card as resolved."""
    identity: ModelIdentity
    suite: str
    suite_version: int
    key: str
    """Fingerprint of model, suite and subset: equal for two runs of one command."""
    tasks: tuple[TaskResult, ...]
    efficiency: tuple[MetricValue, ...]
    provenance: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    timing: Mapping[str, Any] = field(default_factory=dict)
    """Start, end, seconds asked, requests asked and taken from the cache: what may differ between equal runs."""
    rescored_from: str = ""
    """Run id whose responses were scored again, and why, for a rescored record."""
    reason: str = ""
