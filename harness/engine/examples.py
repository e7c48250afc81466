"""What a model reads of a task before it is asked: every sample with its prompt and images, and their checksum.

Controls learn from it; a model that ranks candidates finds them here.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from harness.datasets.images import decode
from harness.engine.images import stepped
from harness.engine.plan import ModelPlan, OpenTask
from harness.engine.prompts import render
from harness.engine.requests import read_audio, read_images
from harness.fingerprint import SampleSetChecksum, fingerprint
from harness.models.base import Example
from harness.records import Sample, TaskPlan


def reads_examples(plan: ModelPlan, task: TaskPlan) -> bool:
    """Whether the model reads the task's samples before the first question."""
    return plan.capabilities.needs_examples or task.answer_by == "retrieve"


def examples(plan: ModelPlan, opened: OpenTask, task: TaskPlan) -> Iterator[Example]:
    """The samples without a problem, in file order; images as the model itself would see them."""
    for sample in opened.samples():
        if sample.problem is None:
            yield _example(sample, plan, opened, task)


def _example(sample: Sample, plan: ModelPlan, opened: OpenTask, task: TaskPlan) -> Example:
    shown = len(sample.images)
    limit = plan.capabilities.max_images
    if "side_by_side" in task.image_steps and limit is not None and shown > limit:
        shown = 1
    return Example(
        sample_id=sample.sample_id,
        cluster=sample.cluster or sample.sample_id,
        references=sample.references,
        choices=sample.choices,
        load_images=lambda: stepped(
            tuple(decode(opened.dataset.image_bytes(image), image.locator) for image in sample.images),
            task.image_steps,
            limit,
        ),
        prompt=render(sample, prompt=task.prompt_text, template=task.template, images=shown, name=task.prompt_name),
        n_images=shown,
    )


def examples_checksum(opened: OpenTask, task: TaskPlan) -> str:
    """Fingerprint of everything that `examples` would give, images by their bytes."""
    checksum = SampleSetChecksum()
    for sample in opened.samples():
        images, problem = ((), sample.problem) if sample.problem else read_images(sample, opened.dataset)
        audio, silent = ((), problem) if problem else read_audio(sample, opened.dataset)
        checksum.add(
            sample,
            None if problem else tuple(sha256(data).hexdigest() for data in images),
            None if silent else tuple(sha256(data).hexdigest() for data in audio),
        )
    return fingerprint([checksum.hexdigest(), task.prompt_text, task.template, task.image_steps])
