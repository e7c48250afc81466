"""Suites, tasks and prompts found by name: bundled, `./suites`, installed packages, or a suite file's path.

A folder of suites holds `*.yaml` suites, and may hold `tasks/*.yaml` and `prompts/*.yaml` for them to name.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import SuiteError, UnknownNameError
from harness.fingerprint import fingerprint
from harness.records import GenerationSettings
from harness.tasks.schema import Prompt, Suite, Task, TaskUse
from harness.yaml_files import YamlDocument, checked, read_yaml

_BUNDLED = Path(__file__).resolve().parent / "bundled"


@dataclass(frozen=True, slots=True)
class LoadedTask:
    """A task as a suite uses it, with its prompt."""

    task: Task
    prompt: Prompt
    path: Path

    def generation(self) -> GenerationSettings:
        """The task's settings with every default filled in."""
        given = self.task.generation.model_dump(exclude_none=True)
        if "stop" in given:
            given["stop"] = tuple(given["stop"])
        return GenerationSettings(**given)


@dataclass(frozen=True, slots=True)
class LoadedSuite:
    """A suite with all its tasks resolved."""

    suite: Suite
    tasks: tuple[LoadedTask, ...]
    path: Path

    @property
    def name(self) -> str:
        """Name of the suite."""
        return self.suite.name

    def content(self) -> dict[str, Any]:
        """Everything in the suite that can change a result, for fingerprints."""
        return {
            "suite": self.suite.name,
            "version": self.suite.version,
            "tasks": [{"task": t.task.model_dump(), "prompt": t.prompt.model_dump()} for t in self.tasks],
        }

    def digest(self) -> str:
        """Fingerprint of the content."""
        return fingerprint(self.content())


def suite_folders(extra: Iterable[Path] = ()) -> dict[Path, str]:
    """Folder → owner, in the order searched."""
    folders = {_BUNDLED / "suites": "harness"}
    local = Path("suites").resolve()
    if local.is_dir():
        folders[local] = "./suites"
    for folder in extra:
        if not folder.is_dir():
            raise SuiteError(f"{folder}: no such folder; give a folder of YAML suites")
        folders.setdefault(folder.resolve(), str(folder))
    for name in registry.names("suites"):
        point = registry.entry("suites", name)
        spec = importlib.util.find_spec(point.target)
        if spec is None or not spec.submodule_search_locations:
            raise SuiteError(
                f"{point.owner}: {point.target!r} is not a package with YAML suites; check its entry points"
            )
        folders.setdefault(Path(next(iter(spec.submodule_search_locations))).resolve(), point.owner)
    return folders


def _files(part: str, extra: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for folder in suite_folders(extra):
        place = {"suites": folder, "tasks": folder / "tasks", "prompts": folder / "prompts"}[part]
        if folder == _BUNDLED / "suites":
            place = _BUNDLED / part
        for path in sorted(place.glob("*.yaml")):
            found.setdefault(path.stem, []).append(path)
    return found


def suite_files(extra: Iterable[Path] = ()) -> dict[str, list[Path]]:
    """Suite name → files that claim it."""
    return _files("suites", extra)


def task_files(extra: Iterable[Path] = ()) -> dict[str, list[Path]]:
    """Task name → files that claim it."""
    return _files("tasks", extra)


def _one(kind: str, name: str, files: dict[str, list[Path]], listing: str = "") -> Path:
    if name not in files:
        raise UnknownNameError.of(kind, name, files, listing)
    if len(files[name]) > 1:
        raise SuiteError(f'the {kind} "{name}" is claimed by {" and ".join(map(str, files[name]))}; rename one')
    return files[name][0]


def load_suite(name: str | Path, *, suites: Iterable[Path] = ()) -> LoadedSuite:
    """The suite of that name, or in that file, with its tasks and prompts.

    Raises:
        SuiteError: naming file, line and field.
        UnknownNameError: with the nearest name.
    """
    text, extra = str(name), tuple(suites)
    if text.endswith((".yaml", ".yml")):
        path = Path(text)
        extra = (*extra, path.resolve().parent) if path.is_file() else extra
    else:
        path = _one("suite", text, suite_files(extra), "harness list suites")
    document = read_yaml(path, SuiteError)
    suite = checked(document, Suite, SuiteError)
    tasks: list[LoadedTask] = []
    for position, item in enumerate(suite.tasks):
        use = item if isinstance(item, TaskUse) else TaskUse(task=item)
        try:
            loaded = load_task(use, suites=extra)
        except UnknownNameError as error:
            raise SuiteError(f"{document.where(('tasks', position))}: tasks.{position}: {error}") from error
        if any(loaded.task.name == other.task.name for other in tasks):
            where = document.where(("tasks", position))
            raise SuiteError(
                f'{where}: tasks.{position}: "{loaded.task.name}" is in the suite twice; give one a `name`'
            )
        tasks.append(loaded)
    _check_variants(document, tasks)
    return LoadedSuite(suite, tuple(tasks), path.resolve())


def _check_variants(document: YamlDocument, tasks: Sequence[LoadedTask]) -> None:
    names = {loaded.task.name: loaded.task for loaded in tasks}
    for position, loaded in enumerate(tasks):
        base = loaded.task.variant_of
        if base is not None and (base not in names or names[base].variant_of is not None):
            where = document.where(("tasks", position))
            unchanged = ", ".join(name for name, task in names.items() if task.variant_of is None)
            raise SuiteError(
                f'{where}: tasks.{position}.variant_of: no unchanged task "{base}" in this suite; add it, or name one '
                f"of {unchanged}"
            )


def load_task(use: TaskUse | str, *, suites: Iterable[Path] = ()) -> LoadedTask:
    """One task with what a suite changes put in, and its prompt.

    Raises:
        SuiteError, UnknownNameError: as `load_suite`.
    """
    use = TaskUse(task=use) if isinstance(use, str) else use
    extra = tuple(suites)
    path = _one("task", use.task, task_files(extra), "harness list tasks")
    document = read_yaml(path, SuiteError)
    task = checked(document, Task, SuiteError)
    if task.name != path.stem:
        raise SuiteError(
            f'{document.where(("name",))}: name: is "{task.name}"; a task\'s name is its file name, "{path.stem}"'
        )
    changes = use.model_dump(exclude_none=True, exclude={"task"})
    if use.subset is not None:
        changes["subset"] = use.subset
    if use.options is not None:
        changes["options"] = {**task.options, **use.options}
    task = task.model_copy(update=changes)
    for metric in task.metrics:
        try:
            registry.entry("metrics", metric.partition("@")[0])
        except UnknownNameError as error:
            raise SuiteError(f"{document.where(('metrics',))}: metrics: {error}") from error
    try:
        registry.entry("datasets", task.dataset)
    except UnknownNameError as error:
        raise SuiteError(f"{document.where(('dataset',))}: dataset: {error}") from error
    prompt_path = _one("prompt", task.prompt, _files("prompts", extra))
    prompt = checked(read_yaml(prompt_path, SuiteError), Prompt, SuiteError)
    return LoadedTask(task, prompt, path.resolve())
