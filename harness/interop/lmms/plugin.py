"""A card of ours as a model of lmms-eval: `lmms-eval --model harness --model_args card=llava-1.5-7b`.

Found through the entry point group `lmms_eval.models`. Batches, reuse of images and isolation of faults are those of
`harness run`, since the same worker answers.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from tqdm import tqdm

from harness import registry
from harness.cards.loading import load_card
from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan
from harness.engine.requests import RequestMaker, WorkItem
from harness.engine.worker import ModelWorker
from harness.errors import ModelError
from harness.fingerprint import fingerprint
from harness.interop.lmms.settings import generation
from harness.interop.lmms.tasks import png
from harness.records import GenerationSettings, ImageRef, Response, Sample, TaskPlan

logger = logging.getLogger(__name__)
_WINDOW = 256
"""Requests that are sorted and grouped at a time."""
_QUESTION = "{{ question }}"


def manifests() -> list[ModelManifest]:
    """What the entry point gives."""
    return [ModelManifest(model_id="harness", simple_class_path="harness.interop.lmms.plugin.HarnessModel")]


class _Pictures:
    """The pictures of the request that is being made."""

    held: tuple[bytes, ...] = ()

    def image_bytes(self, image: ImageRef) -> bytes:
        return self.held[int(image.key)]


class HarnessModel(lmms):  # type: ignore[misc]
    """One card at work for lmms-eval."""

    is_simple = True

    def __init__(
        self,
        card: str,
        cards: str | None = None,
        device: str | None = None,
        batch_size: int | str = "auto",
        max_batch_size: int | None = None,
    ) -> None:
        """Find the card; its weights are read when the first question is asked.

        Args:
            card: a card's name or YAML file, or `family:card` for a wrapped one.
            cards: a further folder of cards.
            device: as in `harness run`.
            batch_size: a number, or `auto`.
            max_batch_size: not used; `auto` finds its own.

        Raises:
            HarnessError: the card is not there, cannot be run, or needs the other samples of a task.
        """
        super().__init__()
        loaded = load_card(card, cards=[Path(cards)] if cards else ())
        settings = loaded.settings(device=device or "auto")
        family = registry.load("models", settings.family)
        able = family.capabilities(settings)
        if able.needs_examples:
            raise ModelError(f"{loaded.name}: reads the other samples of a task, which lmms-eval does not give")
        self._plan = ModelPlan(loaded, settings, family, able, family.identify(settings), (), "")
        self._template = family.default_template(settings)
        size = None if batch_size == "auto" else int(batch_size)
        self._worker = ModelWorker(self._plan, RunOptions(Path(), size))

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """The answers in the order of the requests.

        Raises:
            ModelError: an answer never came; lmms-eval would count it as a wrong one.
            ImageError: a document shows something that is no picture, such as the path of a video.
        """
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        settings: dict[tuple[str, str], GenerationSettings] = {}
        for place, request in enumerate(requests):
            _, arguments, _, _, task, _ = request.args
            ours, unknown = generation(arguments)
            key = (task, fingerprint(ours))
            if key not in settings and unknown:
                logger.warning("%s: generation arguments without effect here: %s", task, ", ".join(unknown))
            settings[key] = ours
            groups[key].append(place)
        answers: dict[int, Response] = {}
        with tqdm(total=len(requests), desc="Model Responding", disable=self.rank != 0) as bar:
            for key, places in groups.items():
                plan = _task_plan(key[0], self._template, settings[key])
                self._worker.start_task(None, plan)  # type: ignore[arg-type]  # it is read for examples alone
                for responses in self._worker.answer(self._work(requests, places, plan), lambda: False):
                    answers |= {int(response.sample_id): response for response in responses}
                    bar.update(len(responses))
        _check(requests, answers)
        return [_result(answers[place]) for place in range(len(requests))]

    def _work(self, requests: Sequence[Instance], places: Sequence[int], plan: TaskPlan) -> Iterator[list[WorkItem]]:
        pictures = _Pictures()
        maker = RequestMaker(self._plan, plan, pictures)  # type: ignore[arg-type]  # pictures are all it reads
        for start in range(0, len(places), _WINDOW):
            yield [maker.make(self._sample(requests[p], p, pictures)) for p in places[start : start + _WINDOW]]

    def _sample(self, request: Instance, place: int, pictures: _Pictures) -> Sample:
        context, _, doc_to_visual, doc_id, task, split = request.args
        where = f"{task} doc {doc_id}"
        visuals = doc_to_visual(self.task_dict[task][split][doc_id]) or ()
        pictures.held = tuple(png(visual, where) for visual in visuals)
        images = tuple(ImageRef(f"{where} image {n}", str(n)) for n in range(len(pictures.held)))
        return Sample(str(place), question=context, images=images, cluster=str(place))

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Not there.

        Raises:
            ModelError: always; options are ranked by `harness run` with `answer_by: choose`.
        """
        raise ModelError("cards answer lmms-eval's generate_until tasks; rank options with `harness run`")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        """Not there.

        Raises:
            ModelError: always.
        """
        raise ModelError("cards answer one question at a time; tasks of several rounds cannot be put to them")


def _task_plan(task: str, template: str, settings: GenerationSettings) -> TaskPlan:
    return TaskPlan(
        name=task,
        kind="vqa",
        version=1,
        dataset="lmms-eval",
        split="",
        form="lmms-eval",
        data="",
        prompt_name="lmms-eval",
        prompt_version=1,
        prompt_text=_QUESTION,
        template=template,
        generation=settings,
        answer_by="generate",
        metrics=(),
        breakdown=(),
        subset={},
    )


def _check(requests: Sequence[Instance], answers: Mapping[int, Response]) -> None:
    failed = [(place, response) for place, response in sorted(answers.items()) if response.text is None]
    if not failed:
        return
    place, response = failed[0]
    *_, doc_id, task, _ = requests[place].args
    reason = response.failure.message if response.failure else "no reason given"
    raise ModelError(
        f"{len(failed)} of {len(requests)} answers never came, and lmms-eval would count them as wrong; the first: "
        f"{task}, doc {doc_id}: {reason}. Repair the cause, or run the suite with `harness run`, which counts them"
    )


def _result(response: Response) -> GenerationResult:
    counts = TokenCounts(input_tokens=response.prompt_tokens, output_tokens=response.output_tokens)
    return GenerationResult(response.text or "", counts)
