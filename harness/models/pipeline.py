"""Two stages for charts: one model reads the table off the picture, a second one answers from the table alone.

The prompt of the second is laid out as in DePlot's: an instruction, the table, question and answer; worked examples of
the same form stand before it. The table goes in as the reader wrote it, with `<0x0A>` as line end. It is kept beside
the answer (step `table`), so that an error can be put down to reading or to reasoning. With `table: given` the reader
is left out and the prompt already holds a table: the same reasoner, examples and settings on the true one.
Source: Liu et al. 2023 (DePlot), section 4 and the prompts of its published code.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict

from harness import registry
from harness.errors import ModelError
from harness.models.base import Example, Generation, Model, ModelInput, Options, checked_options
from harness.models.decoding import cut_at
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem

if TYPE_CHECKING:
    from PIL.Image import Image

READER, REASONER = "reader", "reasoner"
INSTRUCTION = "Read the table below to answer the following question."
RULE = "table, then answer; instruction, table, Q and A as in DePlot|v1"
NEXT_QUESTION = ("\nQ:", f"\n{INSTRUCTION}")
"""Where a model that only continues text begins the next question of its own making; its answer ends there."""


class WorkedExample(BaseModel):
    """A table with a question and its answer, shown before the real one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    question: str
    answer: str


class PipelineOptions(Options):
    """Options of the two stages."""

    table: Literal["read", "given"] = "read"
    """`given`: the prompt holds the table (task `chartqa-gold-table`), and no image is taken."""
    few_shot: tuple[WorkedExample, ...] = ()
    reader_prompt: str = "Generate underlying data table of the figure below:"
    """What the reader is asked; its own template goes around it."""
    answer_after: str | None = None
    """The answer is what stands after the last occurrence of this, such as `The answer is`; the whole text where it
    does not occur. The whole text is then kept as step `reasoning`."""


def laid_out(table: str, question: str) -> str:
    """The prompt for one table up to where the answer begins."""
    return f"{INSTRUCTION}\n\n{table}\n\nQ: {question}\nA:"


def examples_text(examples: Sequence[WorkedExample]) -> str:
    """The worked examples in the layout of the prompt, each ended by an empty line."""
    return "".join(f"{laid_out(one.table, one.question)} {one.answer}\n\n" for one in examples)


@dataclass(frozen=True, slots=True)
class _Part:
    """One stage: the family, its settings and what it can do."""

    family: type[Model]
    settings: ModelSettings
    can: Capabilities

    @classmethod
    def of(cls, settings: ModelSettings, name: str) -> _Part:
        """The part of that name.

        Raises:
            ModelError: the card does not name it, or names another one.
        """
        if set(settings.parts) != {READER, REASONER}:
            found = ", ".join(sorted(settings.parts)) or "none"
            raise ModelError(f"{settings.name}: run.parts names {found}; give the cards of {READER} and {REASONER}")
        part = settings.parts[name]
        family: type[Model] = registry.load("models", part.family)
        return cls(family, part, family.capabilities(part))

    def prompt(self, text: str, images: int) -> str:
        """`text` in the part's own template."""
        template = self.family.default_template(self.settings)
        try:
            environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
            return environment.from_string(template).render(text=text, images=images)
        except TemplateError as error:
            raise ModelError(f"{self.settings.name}: run.template: {error}; it may use images, text") from error

    def answers(
        self, model: Model, batch: Sequence[ModelInput], settings: GenerationSettings
    ) -> list[Generation | Problem]:
        """The model's answers in order, asked in batches that its family allows."""
        groups: dict[int, list[int]] = defaultdict(list)
        for place, item in enumerate(batch):
            if self.can.batching == "bucketed":
                groups[model.bucket(item)].append(place)
            else:
                groups[place if self.can.batching == "single" else 0].append(place)
        found: dict[int, Generation | Problem] = {}
        for places in groups.values():
            given = model.generate(model.prepare([batch[place] for place in places]), settings)
            found.update(zip(places, given, strict=True))
        return [found[place] for place in range(len(batch))]


class Pipeline(Model):
    """A reader of tables and a reasoner on them, as one model."""

    family = "pipeline"
    options_type: ClassVar[type[Options]] = PipelineOptions

    def __init__(self, settings: ModelSettings, reader: Model | None, reasoner: Model) -> None:
        super().__init__(settings)
        self.options = checked_options(settings, PipelineOptions)
        self.reader, self.reasoner = reader, reasoner
        self._reader, self._reasoner = _Part.of(settings, READER), _Part.of(settings, REASONER)
        self._tables: dict[str, str] = {}

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """The reader's images, or none where the table is given; a part that knows its sample makes the whole do so."""
        reader, reasoner = _Part.of(settings, READER).can, _Part.of(settings, REASONER).can
        if checked_options(settings, PipelineOptions).table == "given":
            reader = Capabilities(min_images=0, max_images=0)
        else:
            reader = replace(reader, min_images=max(1, reader.min_images))
        return Capabilities(
            min_images=reader.min_images,
            max_images=reader.max_images,
            needs_examples=reader.needs_examples or reasoner.needs_examples,
            depends_on_sample=reader.depends_on_sample or reasoner.depends_on_sample,
        )

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """Both parts' weights and processing, and what is put between them: prompts, templates, settings."""
        options = checked_options(settings, PipelineOptions)
        processing: dict[str, Any] = {"rule": RULE, **options.model_dump()}
        weights, warnings = [], []
        for name in _asked(options):
            part = _Part.of(settings, name)
            if name == REASONER and part.can.min_images:
                raise ModelError(f"{settings.name}: the {REASONER} {part.settings.name} cannot answer without an image")
            if name == READER and part.can.max_images == 0:
                raise ModelError(f"{settings.name}: the {READER} {part.settings.name} takes no image")
            identity = part.family.identify(part.settings)
            weights.append(f"{name} {identity.weights}")
            warnings += [f"{name}: {text}" for text in identity.warnings]
            processing[name] = {
                "weights": identity.weights,
                "processing": identity.processing,
                "template": part.family.default_template(part.settings),
            }
        if options.table == "read":
            processing["reader_generation"] = _reading_settings(_Part.of(settings, READER).settings)
        return ModelIdentity(settings, "; ".join(weights), processing, tuple(warnings))

    @classmethod
    def load(cls, settings: ModelSettings) -> Pipeline:
        """Both models, ready to answer."""
        options = checked_options(settings, PipelineOptions)
        loaded: dict[str, Model] = {}
        try:
            for name in _asked(options):
                part = _Part.of(settings, name)
                loaded[name] = part.family.load(part.settings)
        except BaseException:
            for model in loaded.values():
                model.close()
            raise
        return cls(settings, loaded.get(READER), loaded[REASONER])

    def fit(self, examples: Iterable[Example]) -> None:
        """Hand the examples to the parts that want them."""
        known = list(examples)
        self._tables.clear()
        for part, model in ((self._reader, self.reader), (self._reasoner, self.reasoner)):
            if model is not None and part.can.needs_examples:
                model.fit(known)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        """Answers in order; where no table could be read, the reader's problem."""
        batch: Sequence[ModelInput] = prepared
        tables = self._read(batch) if self.reader is not None else [""] * len(batch)
        asked = [self._question(item, t) for item, t in zip(batch, tables, strict=True) if isinstance(t, str)]
        stops = replace(settings, stop=(*settings.stop, *NEXT_QUESTION))
        answers = iter(self._reasoner.answers(self.reasoner, asked, stops) if asked else [])
        return [self._answer(t, next(answers), stops) if isinstance(t, str) else t for t in tables]

    def _read(self, batch: Sequence[ModelInput]) -> list[str | Problem]:
        """The raw table of each input; a picture that was read before is not read again."""
        if self.reader is None:
            raise ModelError(f"{self.settings.name}: no reader is loaded; set run.options.table: read")
        keys = [self._key(item) for item in batch]
        new = {key: item for key, item in zip(keys, batch, strict=True) if key not in self._tables}
        settings = _reading_settings(self._reader.settings)
        asked = [self._request(item, self._reader, self.options.reader_prompt, item.images) for item in new.values()]
        asked = [replace(item, request=replace(item.request, generation=settings)) for item in asked]
        problems: dict[str, Problem] = {}
        if asked:
            answers = self._reader.answers(self.reader, asked, settings)
            for key, answer in zip(new, answers, strict=True):
                if isinstance(answer, Problem):
                    problems[key] = Problem(answer.kind, f"{READER}: {answer.message}")
                else:
                    self._tables[key] = answer.text
        return [problems[key] if key in problems else self._tables[key] for key in keys]

    def _key(self, item: ModelInput) -> str:
        """What one table belongs to: the pixels, since a wrapper may change them behind the request's hashes."""
        digest = hashlib.sha256()
        for image in item.images:
            digest.update(f"{image.size}".encode() + image.tobytes())
        named = self._reader.can.depends_on_sample
        return digest.hexdigest() + (f" {item.request.task} {item.request.sample_id}" if named else "")

    def _question(self, item: ModelInput, table: str) -> ModelInput:
        text = item.request.prompt
        if self.reader is not None:
            text = laid_out(table.replace("<0x0A>", "\n").strip(), text)
        return self._request(item, self._reasoner, examples_text(self.options.few_shot) + text, ())

    @staticmethod
    def _request(item: ModelInput, part: _Part, text: str, images: tuple[Image, ...]) -> ModelInput:
        request = item.request
        hashes = request.images if images else ()
        return ModelInput(replace(request, prompt=part.prompt(text, len(images)), images=hashes), images)

    def _answer(self, table: str, answer: Generation | Problem, settings: GenerationSettings) -> Generation | Problem:
        if isinstance(answer, Problem):
            return Problem(answer.kind, f"{REASONER}: {answer.message}")
        text = cut_at(answer.text, settings.stop).strip()
        steps = ((("table", table),) if self.reader is not None else ()) + answer.steps
        mark = self.options.answer_after
        if mark is not None and mark in text:
            steps = (*steps, ("reasoning", text))
            text = text.rpartition(mark)[2].strip()
        return replace(answer, text=text, steps=steps)

    def peak_memory_bytes(self) -> int | None:
        """The parts' together, where one of them knows its own."""
        known = [m.peak_memory_bytes() for m in (self.reader, self.reasoner) if m is not None]
        counted = [size for size in known if size is not None]
        return sum(counted) if counted else None

    def close(self) -> None:
        """Close both."""
        for model in (self.reader, self.reasoner):
            if model is not None:
                model.close()


def _asked(options: PipelineOptions) -> tuple[str, ...]:
    return (READER, REASONER) if options.table == "read" else (REASONER,)


def _reading_settings(reader: ModelSettings) -> GenerationSettings:
    """The reader's generation settings: 512 tokens, and what its card says of all tasks and of `chart-to-table`.

    Raises:
        ModelError: a setting that does not exist.
    """
    known = {field.name for field in fields(GenerationSettings)}
    settings = GenerationSettings(max_new_tokens=512)
    for place in ("*", "chart-to-table"):
        changes: Mapping[str, Any] = reader.generation.get(place, {})
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ModelError(f"{reader.name}: run.generation.{place}: no setting named {unknown[0]!r}")
        given: dict[str, Any] = {k: tuple(v) if k == "stop" else v for k, v in changes.items()}
        settings = replace(settings, **given)
    return settings
