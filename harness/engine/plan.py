"""The plan: every choice about a run made and written down before the first question is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness import registry
from harness.cards.loading import LoadedCard, placeless
from harness.datasets.base import Dataset
from harness.datasets.opening import open_dataset
from harness.datasets.selection import select
from harness.engine.option_order import reordered
from harness.errors import CardError, DatasetError, SuiteError
from harness.fingerprint import fingerprint
from harness.metrics.base import Metric
from harness.models.base import Model
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Sample, TaskPlan
from harness.tasks.loading import LoadedSuite, LoadedTask
from harness.tasks.schema import Subset

_GENERATION_FIELDS = tuple(field.name for field in fields(GenerationSettings))


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task of the suite with its data opened; the same for every model."""

    loaded: LoadedTask
    dataset: Dataset
    subset: Mapping[str, Any]
    data: str

    @property
    def name(self) -> str:
        """Name of the task in the suite."""
        return self.loaded.task.name

    def samples(self) -> Iterator[Sample]:
        """The samples of the subset, in file order, read anew."""
        task = self.loaded.task
        chosen = select(lambda: self.dataset.samples(task.split), self.subset)
        return chosen if task.option_order is None else (reordered(sample, task.option_order) for sample in chosen)

    def count(self) -> int:
        """Number of samples, for estimates of time."""
        return sum(1 for _ in self.samples()) if self.subset else self.dataset.count(self.loaded.task.split)


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model on the suite: what it is and how each task is put to it."""

    card: LoadedCard
    settings: ModelSettings
    family: type[Model]
    capabilities: Capabilities
    identity: ModelIdentity
    tasks: tuple[tuple[OpenTask, TaskPlan], ...]
    key: str
    """Fingerprint of everything above: the same command gives the same key."""

    @property
    def python(self) -> str | None:
        """The interpreter of the model's own virtual environment, where the card names one."""
        return self.card.python()


def open_tasks(suite: LoadedSuite, data: Path | None, subset: Subset | None) -> list[OpenTask]:
    """The suite's tasks with their data opened and their splits found.

    Args:
        data: folder of benchmarks; `None` for the bundled data.
        subset: replaces the tasks' own subsets.

    Raises:
        SuiteError: the suite needs a folder and none is given.
        DatasetError: files are missing; every task's fault is in the message.
    """
    if suite.suite.data == "folder" and data is None:
        raise SuiteError(f'suite "{suite.name}" needs the benchmarks\' files; give their folder with --data DIR')
    opened: list[OpenTask] = []
    faults: list[str] = []
    for loaded in suite.tasks:
        task = loaded.task
        try:
            dataset = open_dataset(task.dataset, data, task.options)
            if task.split not in dataset.splits():
                raise DatasetError(
                    f'{dataset.root}: no split "{task.split}" of {task.dataset}; there: {", ".join(dataset.splits())}'
                )
        except DatasetError as error:
            faults.append(f"task {task.name}: {error}")
            continue
        chosen = task.subset if subset is None else subset
        where = "bundled" if data is None else str(data.resolve())
        opened.append(OpenTask(loaded, dataset, chosen.content(), where))
    if faults:
        raise DatasetError("\n".join(faults))
    return opened


def load_metric(name: str) -> Metric:
    """The metric called `name` or `name@variant`.

    Raises:
        UnknownNameError, MetricError: no such metric or variant.
    """
    metric, _, variant = name.partition("@")
    loaded: Metric = registry.load("metrics", metric)(variant)
    return loaded


def plan_model(card: LoadedCard, suite: LoadedSuite, tasks: list[OpenTask], settings: ModelSettings) -> ModelPlan:
    """Everything decided about one model on the suite.

    Raises:
        ModelError: the checkpoint is not there or an option is wrong.
        CardError: a generation setting of the card does not exist.
    """
    family: type[Model] = registry.load("models", settings.family)
    python = card.python()
    if python is None:
        identity = family.identify(settings)
    else:
        from harness.engine.isolated import identify

        identity = identify(settings, python)
    identity = replace(identity, settings=placeless(identity.settings))
    plans = tuple((task, _task_plan(task, settings, family, card.path)) for task in tasks)
    tasks_alike = [replace(plan, data="") for _, plan in plans]
    key = fingerprint({"suite": suite.content(), "model": identity, "tasks": tasks_alike})
    return ModelPlan(card, settings, family, family.capabilities(settings), identity, plans, key)


def _task_plan(task: OpenTask, settings: ModelSettings, family: type[Model], card: Path) -> TaskPlan:
    spec, prompt = task.loaded.task, task.loaded.prompt
    replaced = settings.prompts.get(spec.name, settings.prompts.get(spec.kind))
    generation = task.loaded.generation()
    for place in ("*", spec.kind, spec.name):
        changes = dict(settings.generation.get(place, {}))
        unknown = sorted(set(changes) - set(_GENERATION_FIELDS))
        if unknown:
            known = ", ".join(_GENERATION_FIELDS)
            raise CardError(f"{card}: run.generation.{place}: no setting named {unknown[0]!r}; known: {known}")
        if "stop" in changes:
            changes["stop"] = tuple(changes["stop"])
        generation = replace(generation, **changes)
    return TaskPlan(
        name=spec.name,
        kind=spec.kind,
        version=spec.version,
        dataset=spec.dataset,
        split=spec.split,
        form=task.dataset.form,
        data=task.data,
        prompt_name=prompt.name if replaced is None else f"{prompt.name} (replaced by the card)",
        prompt_version=prompt.version,
        prompt_text=prompt.text if replaced is None else replaced,
        template=family.default_template(settings),
        generation=generation,
        answer_by=spec.answer_by,
        metrics=tuple(spec.metrics),
        breakdown=tuple(spec.breakdown),
        subset=task.subset,
        variant_of=spec.variant_of or "",
        option_order=spec.option_order,
        image_steps=tuple(spec.image_steps),
        options=dict(spec.options),
    )
