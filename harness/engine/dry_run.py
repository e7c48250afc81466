"""What a run would do: samples, images, faults, prompts and weights, with nothing asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cards.loading import load_card
from harness.engine.plan import open_tasks, plan_model
from harness.engine.requests import RequestMaker
from harness.errors import CardError, ModelError
from harness.fingerprint import canonical_json
from harness.tasks.loading import load_suite
from harness.tasks.schema import Subset

_WEIGHTS = (".safetensors", ".bin", ".pth")


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One task of the plan."""

    task: str
    n_samples: int
    n_images: int
    problems: Mapping[str, int]
    """Samples that would stay unscored, by kind: missing and unreadable files, inputs that the model does not take."""
    first_prompt: str
    generation: str


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model's part of the plan."""

    model: str
    weights_bytes: int
    """Size of the weight files on disk: a lower bound of the memory needed."""
    tasks: tuple[TaskReport, ...]
    problem: str = ""
    """Why the model cannot be run here."""


def describe_run(
    suite: str | Path,
    models: Sequence[str | Path],
    *,
    data: Path | None = None,
    subset: Subset | None = None,
    cards: Iterable[Path] = (),
    device: str = "auto",
) -> list[ModelReport]:
    """The plan of `run_suite` with the same arguments, every sample read and every image file touched.

    Raises:
        HarnessError: as `run_suite`.
    """
    loaded = load_suite(suite)
    tasks = open_tasks(loaded, data, subset)
    reports: list[ModelReport] = []
    for name in models:
        card = load_card(name, cards=cards)
        try:
            plan = plan_model(card, loaded, tasks, card.settings(device=device, data=data))
        except (ModelError, CardError) as error:
            reports.append(ModelReport(card.name, 0, (), str(error)))
            continue
        described: list[TaskReport] = []
        for opened, task in plan.tasks:
            maker = RequestMaker(plan, task, opened.dataset)
            problems: Counter[str] = Counter()
            n_samples = n_images = 0
            first = ""
            for sample in opened.samples():
                item = maker.make(sample)
                n_samples += 1
                n_images += len(sample.images)
                first = first or item.request.prompt
                if item.problem:
                    problems[item.problem.kind] += 1
            generation = canonical_json(task.generation)
            described.append(TaskReport(task.name, n_samples, n_images, dict(problems), first, generation))
        reports.append(ModelReport(card.name, _weights(plan.settings.checkpoint), tuple(described)))
    return reports


def _weights(checkpoint: str | None) -> int:
    folder = Path(checkpoint) if checkpoint else None
    if folder is None or not folder.is_dir():
        return 0
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in _WEIGHTS)
