"""lmms-eval's tasks as data sets of ours: its prompts, its filters, its scores.

A folder of task definitions (for `--include_path`, or lmms-eval's own `tasks`) is the data folder. The text and the
pictures of each document, the scores of each answer and what they mean come from lmms-eval; asking, storing, intervals
and comparisons are ours. A definition may name functions in Python files beside it, which are run.
"""

from __future__ import annotations

import contextlib
import io
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.datasets.base import Dataset, ImageError
from harness.errors import DatasetError, MetricError, MetricUnavailable
from harness.fingerprint import fingerprint
from harness.interop import InteropError
from harness.interop.lmms import PREFIX, installed_version, part
from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.records import Case, ImageRef, MetricInfo, Problem, Sample, Score

REASONING = [["<think>", "</think>"], ["<analysis>", "</analysis>"]]
"""What lmms-eval's command cuts out of answers before it scores them, unless told otherwise."""
_KEY = "lmms_eval"
_LONGEST = 40
"""Characters of a document's field that may stand in a breakdown."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """One task of lmms-eval with its documents."""

    name: str
    task: Any
    key: str
    """Fingerprint of the definition."""
    definition: Path

    @property
    def split(self) -> str:
        """The split that lmms-eval evaluates."""
        config = self.task.config
        return str(config.test_split or config.validation_split)

    def means(self) -> list[str]:
        """The metrics that are means over documents."""
        mean = part("api.registry").AGGREGATION_REGISTRY["mean"]
        return [name for name, aggregate in self.task.aggregation().items() if aggregate is mean]


_opened: dict[str, OpenTask] = {}
"""Fingerprint of the definition → task, for the metric."""


@lru_cache(maxsize=32)
def open_task(folder: Path, name: str, model: str) -> OpenTask:
    """A task with its documents, loaded by lmms-eval.

    Args:
        model: whose words the task takes where it has several (`lmms_eval_specific_kwargs`).

    Raises:
        InteropError: no such task, its data cannot be loaded, or it does not ask one question for one text.
    """
    tasks = part("tasks")
    with _quiet():
        manager = tasks.TaskManager(include_path=str(folder), include_defaults=False, model_name=model)
    if name not in manager.all_subtasks:
        known = ", ".join(manager.all_subtasks[:12]) or "none"
        raise InteropError(f"{folder}: no task of lmms-eval named {name!r} here; there: {known}")
    try:
        with _quiet():
            task = tasks.get_task_dict([name], manager)[name]
            if task.OUTPUT_TYPE != "generate_until" or (task.config.repeats or 1) != 1:
                raise InteropError(
                    f"{folder}: task {name} is {task.OUTPUT_TYPE}, asked {task.config.repeats} times; generate_until "
                    "tasks that are asked once can be read"
                )
            task.build_all_requests()
    except InteropError:
        raise
    except Exception as error:  # the definition is a program of others
        cause = error.__cause__ or error  # it tries several times and reports that it did
        raise InteropError(f"{folder}: task {name} cannot be opened: {type(cause).__name__}: {cause}") from error
    key = fingerprint({"task": name, "config": _plain(task.config.to_dict()), "version": installed_version()})
    made = OpenTask(name, task, key[:16], Path(manager.task_index[name]["yaml_path"]))
    _opened[made.key] = made
    return made


def _plain(value: Any) -> Any:
    """A configuration without addresses of functions."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without lmms-eval's bars and log lines among ours."""
    from loguru import logger

    logger.disable("lmms_eval")
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.enable("lmms_eval")


class LmmsEvalDataset(Dataset):
    """The documents of one task of lmms-eval; options `task`, and `model` for the words it takes."""

    name = PREFIX
    form = PREFIX
    layout = "task definitions of lmms-eval (*.yaml), as for its --include_path"
    known_options = frozenset({"task", "model"})

    def __init__(self, root: Path, options: Mapping[str, Any] | None = None) -> None:
        """Open the task.

        Raises:
            DatasetError: no option `task`.
            InteropError: as `open_task`.
        """
        super().__init__(root, options)
        name = self.options.get("task")
        if not isinstance(name, str):
            raise DatasetError(f"{PREFIX}: the task of the suite needs `options: {{task: NAME}}`, found {name!r}")
        self._open = open_task(root.resolve(), name, str(self.options.get("model", "default")))
        self._shown: tuple[int, tuple[bytes, ...]] = (-1, ())

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether the folder holds a YAML file."""
        return next(root.rglob("*.yaml"), None) is not None

    def splits(self) -> tuple[str, ...]:
        """The one split that lmms-eval evaluates."""
        return (self._open.split,)

    def count(self, split: str) -> int:
        """Number of documents."""
        return len(self._open.task.instances)

    def files(self, split: str) -> tuple[Path, ...]:
        """The definition and the tables that the documents were read from."""
        tables = getattr(self._open.task.dataset[split], "cache_files", ())
        return (self._open.definition, *(Path(table["filename"]) for table in tables))

    def samples(self, split: str) -> Iterator[Sample]:
        """The documents in order; questions about equal pictures share a cluster."""
        self.check_split(split)
        documents = self._open.task.eval_docs_no_media
        for instance in self._open.task.instances:
            number, document = instance.doc_id, documents[instance.doc_id]
            sample_id, problem = f"{self._open.name}:{number}", None
            try:
                pictures = self._pictures(number)
            except ImageError as error:
                pictures, problem = (), Problem(error.kind, str(error))
            digest = sha256(b"".join(sha256(picture).digest() for picture in pictures)).hexdigest()[:16]
            yield Sample(
                sample_id,
                question=str(instance.args[0]),
                images=tuple(
                    ImageRef(f"{self._open.name} document {number} picture {place}", f"{number}/{place}")
                    for place in range(len(pictures))
                ),
                references=_texts(self._open.task.doc_to_target(document)),
                cluster=digest if pictures else sample_id,
                metadata={_KEY: self._open.key, **_short_fields(document)},
                problem=problem,
            )

    def image_bytes(self, image: ImageRef) -> bytes:
        """The picture as PNG."""
        number, place = image.key.split("/")
        return self._pictures(int(number))[int(place)]

    def _pictures(self, number: int) -> tuple[bytes, ...]:
        if self._shown[0] != number:
            task = self._open.task
            where = f"{self._open.name} document {number}"
            try:
                visuals = task.doc_to_visual(task.dataset[self._open.split][number])
            except Exception as error:  # the definition is a program of others
                raise ImageError("unreadable_image", f"{where}: {type(error).__name__}: {error}") from error
            self._shown = (number, tuple(png(visual, where) for visual in visuals or ()))
        return self._shown[1]


def png(visual: Any, where: str) -> bytes:
    """A picture of lmms-eval's as PNG, without loss.

    Raises:
        ImageError: it is no picture, such as the path of a video.
    """
    from PIL import Image

    if not isinstance(visual, Image.Image):
        raise ImageError(
            "unsupported_input", f"{where}: {type(visual).__name__} where a picture is expected; videos are not read"
        )
    buffer = io.BytesIO()
    visual.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _texts(target: Any) -> tuple[str, ...]:
    return tuple(map(str, target)) if isinstance(target, list | tuple) else (str(target),)


def _short_fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Fields to break scores down by."""
    return {
        name: str(value)
        for name, value in document.items()
        if isinstance(value, str | int | bool) and len(str(value)) <= _LONGEST and name != _KEY
    }


class LmmsEvalMetric(MeanMetric):
    """One of a task's own metrics, scored by lmms-eval; documents that it gives no value for are no units."""

    by_sample = True

    def __init__(self, name: str) -> None:
        self._name = name
        signature = f"{PREFIX}|{name}|{installed_version()}|v1"
        self.info = MetricInfo(PREFIX, name, signature, unit="score", source="lmms-eval, process_results of the task")

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """The scores that `process_results` gives the filtered answers.

        Raises:
            MetricUnavailable: the task is not open in this process, or its value is no mean of numbers.
            MetricError: the task's own scoring fails.
        """
        answered = [case for case in cases if case.text is not None]
        scores = [unscored(case) for case in cases if case.text is None]
        if not answered:
            return scores
        task = _task_of(answered[0])
        if self._name not in task.means():
            known = ", ".join(task.means()) or "none"
            raise MetricUnavailable(f"{self._name} is no mean over the documents of {task.name}; means: {known}")
        if PREFIX not in context.memo:
            context.memo[PREFIX] = _process(task, answered)
        for case in answered:
            value = context.memo[PREFIX][case.sample.sample_id].get(self._name)
            if value is None:
                continue
            if not isinstance(value, numbers.Real):
                raise MetricUnavailable(f"{self._name} is a {type(value).__name__} for each document, not a number")
            scores.append(mean_score(case, float(value), reference="; ".join(case.sample.references)))
        return scores


def _task_of(case: Case) -> OpenTask:
    key = case.sample.metadata.get(_KEY, "")
    if key not in _opened:
        raise MetricUnavailable("lmms-eval scores its tasks while they run; this task is not open here")
    return _opened[key]


def _process(opened: OpenTask, cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """Sample id → metric → value, as lmms-eval's evaluator makes them."""
    reasoning = part("api.reasoning")
    task, made = opened.task, part("api.instance").Instance
    places = [int(case.sample.sample_id.rpartition(":")[2]) for case in cases]
    instances = []
    for number, case in zip(places, cases, strict=True):
        metadata = {"task": opened.name, "doc_id": number, "repeats": 1}
        instances.append(made("generate_until", (case.sample.question,), 0, metadata, resps=[case.text]))
    before = task._instances
    task._instances = instances
    try:
        with _quiet():
            task.apply_filters()
    finally:
        task._instances = before
    tags = reasoning.parse_reasoning_tags_config(
        cli_value=None, task_value=getattr(task.config, "reasoning_tags", None)
    )
    documents = task.eval_docs_no_media
    found: dict[str, dict[str, Any]] = {}
    for number, case, instance in zip(places, cases, instances, strict=True):
        values: dict[str, Any] = {}
        for filtered in instance.filtered_resps.values():
            if isinstance(filtered, str):
                filtered = reasoning.strip_reasoning_tags(filtered, tags or REASONING)
            try:
                values |= task.process_results(documents[number], [filtered])
            except Exception as error:  # the definition is a program of others
                raise MetricError(
                    f"{case.sample.sample_id}: lmms-eval's process_results: {type(error).__name__}: {error}"
                ) from error
        found[case.sample.sample_id] = values
    return found


def lmms_eval_metric(variant: str = "") -> LmmsEvalMetric:
    """A task's metric by its name in lmms-eval, as in `lmms-eval@relaxed_overall`; without a name it scores nothing."""
    return LmmsEvalMetric(variant or "METRIC")
