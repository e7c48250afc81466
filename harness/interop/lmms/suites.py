"""A suite of ours that asks tasks of lmms-eval: written once, then a file like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from harness.interop import InteropError
from harness.interop.lmms import PREFIX
from harness.interop.lmms.settings import generation
from harness.interop.lmms.tasks import OpenTask, open_task
from harness.records import GenerationSettings
from harness.vocabulary import TaskKind


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a suite, and what its reader must know."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def write_suite(
    folder: Path, names: Sequence[str], out: Path, *, suite: str, kind: TaskKind = "vqa", model: str = "default"
) -> Written:
    """Write `out/SUITE.yaml` and `out/tasks/*.yaml`; `harness run --suite out/SUITE.yaml --data FOLDER` runs it.

    Args:
        folder: task definitions, as for lmms-eval's `--include_path`.
        names: tasks; the prompts, the generation arguments and the metrics are taken from their definitions.
        kind: what the tasks ask, for tables by kind of task.
        model: whose words the tasks take where they have several.

    Raises:
        InteropError: a task cannot be read, or a file of the suite is there already.
    """
    texts: dict[Path, str] = {}
    notes: list[str] = []
    for name in names:
        opened = open_task(folder.resolve(), name, model)
        text, said = _task(opened, kind, model)
        texts[out / "tasks" / f"{_name(name)}.yaml"] = text
        notes += said
    texts[out / f"{suite}.yaml"] = _yaml(
        {
            "name": suite,
            "version": 1,
            "description": f"tasks of lmms-eval: {', '.join(names)}",
            "data": "folder",
            "tasks": [_name(name) for name in names],
        }
    )
    there = next((path for path in texts if path.exists()), None)
    if there is not None:
        raise InteropError(f"{there}: is there already; give another --out or remove it")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Written(tuple(texts), tuple(notes))


def _name(name: str) -> str:
    return name.lower()


def _task(opened: OpenTask, kind: TaskKind, model: str) -> tuple[str, list[str]]:
    settings, unknown = generation(opened.task.config.generation_kwargs or {})
    means = opened.means()
    others = [name for name in opened.task.aggregation() if name not in means]
    notes = []
    if unknown:
        notes.append(f"{opened.name}: generation arguments without effect here: {', '.join(unknown)}")
    if others:
        notes.append(f"{opened.name}: left out, no means over documents: {', '.join(others)}")
    if not means:
        raise InteropError(f"{opened.name}: none of its metrics is a mean over documents ({', '.join(others)})")
    usual = asdict(GenerationSettings())
    given = {name: value for name, value in asdict(settings).items() if value != usual[name]}
    task = {
        "name": _name(opened.name),
        "version": 1,
        "kind": kind,
        "dataset": PREFIX,
        "split": opened.split,
        "prompt": "question-alone",
        "generation": {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()},
        "metrics": [f"{PREFIX}@{name}" for name in means],
        "options": {"task": opened.name, "model": model},
    }
    return _yaml(task), notes


def _yaml(content: object) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
