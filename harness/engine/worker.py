"""One model at work: loaded when first needed, asked in batches, halved when memory runs out.

This is the boundary to model code: whatever goes wrong inside a family becomes a named failure of exactly the requests
that it concerns, and the run goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.datasets.audio import decode_audio
from harness.datasets.base import ImageError
from harness.datasets.images import decode
from harness.engine.batches import BatchSize, OutputLengths, batches, in_order_of_cost, shown
from harness.engine.efficiency import process_peak_bytes
from harness.engine.examples import examples, reads_examples
from harness.engine.images import stepped
from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan, OpenTask
from harness.engine.requests import WorkItem
from harness.errors import HarnessError, ModelError, ModelOutOfMemory
from harness.models.base import Audio, Example, Generation, Model, ModelInput
from harness.records import GenerationSettings, Problem, Response, TaskPlan

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)
_Pair = tuple[WorkItem, ModelInput | None]
"""An item with its decoded input, where that was needed before."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """Responses to items that no model is asked."""

    responses: list[Response]


@dataclass(frozen=True, slots=True)
class _Made:
    """What a family made of a batch."""

    tensors: object


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch before it is asked."""

    failed: list[Response]
    items: list[tuple[WorkItem, ModelInput]]
    made: _Made | Exception | None
    """`None` where the family prepares nothing."""


class ModelWorker:
    """The executor of this process: answers work items with one model."""

    isolates: ClassVar[bool] = False

    def __init__(self, plan: ModelPlan, options: RunOptions) -> None:
        self._plan = plan
        given = 1 if plan.capabilities.batching == "single" else options.batch_size
        self._size = BatchSize(given, options.first_batch)
        self._lengths = OutputLengths()
        self._model: Model | None = None
        self._task: TaskPlan | None = None
        self._examples: Callable[[], Iterable[Example]] | None = None
        self.asked = 0
        self.load_s: float | None = None
        self.busy_s = 0.0

    @property
    def batch_size(self) -> int | None:
        """The size that was found; `None` while it is sought."""
        return self._size.settled

    @property
    def next_batch(self) -> int:
        """The size of the next batch."""
        return self._size.now

    def start_task(self, opened: OpenTask, task: TaskPlan) -> None:
        """From here on the items are of `task`; its examples are read once if the model is asked anything."""
        reads = reads_examples(self._plan, task)
        self._lengths = OutputLengths()
        self._size.new_task()
        self._task, self._examples = task, (lambda: examples(self._plan, opened, task)) if reads else None

    def ready(self) -> Model:
        """The model, loaded, with the examples of the current task read where it reads them.

        Raises:
            ModelError: it cannot be loaded.
        """
        if self._model is None:
            start = time.perf_counter()
            try:
                self._model = self._plan.family.load(self._plan.settings)
            except HarnessError:
                raise
            except Exception as error:  # a fault in model code stops this model and no other
                raise ModelError(f"cannot be loaded: {type(error).__name__}: {error}") from error
            self.load_s = time.perf_counter() - start
        if self._examples is not None:
            read, self._examples = self._examples, None
            self._model.fit(read())
        return self._model

    def answer(self, work: Iterable[Sequence[WorkItem]], stop: Callable[[], bool]) -> Iterator[list[Response]]:
        """The responses of all items, a batch at a time; while one is generated the next is prepared in a thread.

        Sorting stays within a window; what fills less than half a batch at its end goes with the next one. The next
        window is taken before the last batch of the one before it is generated. See `Executor.answer`.
        """
        for responses in self._batches(work):
            yield responses
            if stop():
                return

    def _batches(self, work: Iterable[Sequence[WorkItem]]) -> Iterator[list[Response]]:
        with ThreadPoolExecutor(1, thread_name_prefix="prepare") as thread:
            ahead: Future[_Batch] | None = None
            for group in self._groups(work):
                current, ahead = ahead, None if isinstance(group, _Refused) else thread.submit(self._prepared, group)
                if current is not None:
                    yield self._answered(current.result())
                if isinstance(group, _Refused):
                    yield group.responses
            if ahead is not None:
                yield self._answered(ahead.result())

    def _groups(self, work: Iterable[Sequence[WorkItem]]) -> Iterator[_Refused | list[_Pair]]:
        """What goes together; an item that cannot be asked is refused at once, before the model is loaded."""
        left: list[_Pair] = []
        for items in work:
            if left and not items:
                yield left
                left = []
            refused = [_failed(item, item.problem) for item in items if item.problem]
            waiting = in_order_of_cost([item for item in items if not item.problem], self._lengths.steps)
            if refused or not waiting:
                yield _Refused(refused)
            if not waiting:
                continue
            self.ready()
            if self._plan.capabilities.batching != "bucketed":
                left = yield from self._more_than_half([*left, *((item, None) for item in waiting)])
                continue
            decoded = self._decoded([(item, None) for item in waiting])
            if unreadable := [_failed(item, given) for item, given in decoded if isinstance(given, Problem)]:
                yield _Refused(unreadable)
            inputs = [(item, given) for item, given in decoded if isinstance(given, ModelInput)]
            for batch in batches(inputs, lambda: self._size.now, self._bucket, _shown):
                yield list(batch)
        if left:
            yield left

    def _more_than_half(self, pairs: list[_Pair]) -> Generator[list[_Pair], None, list[_Pair]]:
        """Batches; a last one that is half empty is returned instead, to go first with what comes next."""
        left = len(pairs)
        for batch in batches(pairs, lambda: self._size.now, None, _shown):
            left -= len(batch)
            if not left and 2 * len(batch) <= self._size.now:
                return batch
            yield batch
        return []

    def _bucket(self, pair: tuple[WorkItem, ModelInput]) -> int:
        return self.ready().bucket(pair[1])

    def _prepared(self, pairs: Sequence[_Pair]) -> _Batch:
        """Decoded and made into the family's tensors; a fault of the family is kept for `_asked` to part."""
        decoded = self._decoded(pairs)
        bad = [_failed(item, given) for item, given in decoded if isinstance(given, Problem)]
        good = [(item, given) for item, given in decoded if isinstance(given, ModelInput)]
        if not good or self._current().answer_by != "generate":
            return _Batch(bad, good, None)
        try:
            return _Batch(bad, good, _Made(self.ready().prepare([given for _, given in good])))
        except Exception as error:  # the boundary to model code, as in `_asked`
            return _Batch(bad, good, error)

    def _answered(self, batch: _Batch) -> list[Response]:
        return batch.failed + (self._asked(self.ready(), batch.items, batch.made) if batch.items else [])

    def _decoded(self, pairs: Sequence[_Pair]) -> list[tuple[WorkItem, ModelInput | Problem]]:
        """Every item with its input; images that several items show are decoded once."""
        seen: dict[tuple[str, ...], tuple[Image, ...]] = {}
        return [(item, given or self._input(item, seen)) for item, given in pairs]

    def _input(self, item: WorkItem, seen: dict[tuple[str, ...], tuple[Image, ...]]) -> ModelInput | Problem:
        task, limit, key = self._current(), self._plan.capabilities.max_images, item.request.images
        try:
            if key not in seen:
                pairs = zip(item.images, item.sample.images, strict=True) if item.images else ()
                seen[key] = stepped(tuple(decode(data, ref.locator) for data, ref in pairs), task.image_steps, limit)
            sounds = zip(item.audio, item.sample.audio, strict=True)
            audio = tuple(Audio(*decode_audio(data, ref.locator)) for data, ref in sounds)
        except ImageError as error:
            return Problem(error.kind, str(error))
        return ModelInput(item.request, seen[key], audio)

    def _current(self) -> TaskPlan:
        if self._task is None:
            raise RuntimeError("start_task comes before answer")
        return self._task

    def _asked(
        self, model: Model, batch: list[tuple[WorkItem, ModelInput]], made: _Made | Exception | None = None
    ) -> list[Response]:
        inputs = [given for _, given in batch]
        task = self._current()
        try:
            if isinstance(made, Exception):
                raise made
            if task.answer_by != "generate":
                prepared: object = inputs
            else:
                prepared = made.tensors if made is not None else model.prepare(inputs)
            start = time.perf_counter()
            answers = _answers(model, prepared, inputs, task.answer_by, task.generation)
            latency_s = time.perf_counter() - start
        except ModelOutOfMemory as error:
            if len(batch) == 1:
                return [_failed(batch[0][0], Problem("out_of_memory", f"does not fit alone: {error}"))]
            self._size.ran_out(len(batch))
        except (
            Exception
        ) as error:  # the boundary to model code: a fault of one request must not take the others with it
            if len(batch) == 1:
                logger.warning(
                    "%s: sample %s: %s: %s", task.name, batch[0][0].sample.sample_id, type(error).__name__, error
                )
                return [_failed(batch[0][0], Problem("model_error", f"{type(error).__name__}: {error}"))]
            logger.debug("a batch of %d failed (%s); asking in halves", len(batch), error)
        else:
            return self._took(batch, answers, latency_s)
        # Not inside `except`: as long as the error lives, its traceback holds the tensors of the failed batch.
        half = len(batch) // 2
        return self._asked(model, batch[:half]) + self._asked(model, batch[half:])

    def _took(
        self, batch: list[tuple[WorkItem, ModelInput]], answers: list[Generation | Problem], latency_s: float
    ) -> list[Response]:
        self._size.took(len(batch), latency_s)
        self.asked += len(batch)
        self.busy_s += latency_s
        for (item, _), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Generation):
                self._lengths.learn(item, answer.output_tokens)
        return [
            _response(item, answer, latency_s, len(batch)) for (item, _), answer in zip(batch, answers, strict=True)
        ]

    def peak_memory(self) -> tuple[int, str]:
        """Highest memory in bytes: of the device where the model knows it, else of this process."""
        on_device = self._model.peak_memory_bytes() if self._model else None
        return (process_peak_bytes(), "process") if on_device is None else (on_device, "device")

    def close(self) -> None:
        """Free the model."""
        if self._model is not None:
            self._model.close()
            self._model = None


def _answers(
    model: Model, prepared: object, inputs: list[ModelInput], answer_by: str, settings: GenerationSettings
) -> list[Generation | Problem]:
    answers: list[Generation | Problem]
    if answer_by == "choose":
        answers = list(model.choose(inputs))
    elif answer_by == "retrieve":
        answers = list(model.retrieve(inputs))
    else:
        answers = list(model.generate(prepared, settings))
    if len(answers) != len(inputs):
        raise ValueError(f"{len(answers)} answers to {len(inputs)} requests")
    return answers


def _shown(pair: _Pair) -> object:
    return shown(pair[0])


def _failed(item: WorkItem, problem: Problem | None) -> Response:
    request = item.request
    return Response(request.fingerprint, request.task, request.sample_id, None, failure=problem)


def _clean(text: str) -> str:
    """`text` without lone surrogates, which no file takes."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _response(item: WorkItem, answer: Generation | Problem, latency_s: float, batch_size: int) -> Response:
    if isinstance(answer, Problem):
        return _failed(item, answer)
    request = item.request
    return Response(
        fingerprint=request.fingerprint,
        task=request.task,
        sample_id=request.sample_id,
        text=_clean(answer.text),
        latency_s=latency_s,
        batch_size=batch_size,
        prompt_tokens=answer.prompt_tokens,
        output_tokens=answer.output_tokens,
        choice_scores=answer.choice_scores,
        steps=tuple((name, _clean(text)) for name, text in answer.steps),
    )
