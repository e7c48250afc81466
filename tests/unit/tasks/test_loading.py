"""Suites and tasks: all bundled ones are sound, and worked examples of every change and fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import SuiteError, UnknownNameError
from harness.tasks.loading import load_suite, load_task, suite_files, task_files
from harness.tasks.schema import Subset, TaskUse


def suite(tmp_path: Path, tasks: str, data: str = "folder") -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(f"name: s\nversion: 1\ndescription: a test\ndata: {data}\ntasks: {tasks}\n")
    return path


@pytest.mark.parametrize(
    "name", ["mini", "captioning", "charts", "multiple_choice", "latex", "reasoning", "nightly", "smoke"]
)
def test_every_bundled_suite_loads(name: str) -> None:
    assert load_suite(name).tasks


def test_every_bundled_task_loads_and_every_data_set_has_one_main_task() -> None:
    specs = [load_task(name).task for name in task_files()]
    mains = [spec.dataset for spec in specs if spec.main]
    assert sorted(mains) == sorted(set(mains)) == ["chartqa", "coco", "latex", "mmbench", "nlvr2", "scienceqa"]


def test_a_suite_changes_name_split_subset_and_options(tmp_path: Path) -> None:
    changes = "name: mine, split: other, subset: {sample: 5, stratify: category}, options: {circular: false}"
    text = f"[{{task: mmbench-en, {changes}}}]"
    task = load_suite(suite(tmp_path, text)).tasks[0].task
    assert (task.name, task.split, task.options) == ("mine", "other", {"circular": False})
    assert task.subset.content() == {"sample": 5, "stratify": "category", "seed": 0}


def test_generation_defaults_are_filled_in() -> None:
    settings = load_task("chartqa").generation()
    assert settings.max_new_tokens == 32
    assert settings.do_sample is False


def test_the_same_task_twice_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r's\.yaml:5: tasks\.1: "chartqa" is in the suite twice'):
        load_suite(suite(tmp_path, "[chartqa, chartqa]"))


def test_an_unknown_task_gets_the_nearest_name_and_its_place(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r's\.yaml:5: tasks\.0: no task named "chartq"; did you mean "chartqa"'):
        load_suite(suite(tmp_path, "[chartq]"))


def test_an_unknown_suite_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r'no suite named "minii"; did you mean "mini"'):
        load_suite("minii")


@pytest.mark.parametrize("bad", [{"first": 1, "sample": 2}, {"seed": 3}, {"stratify": "x"}, {"first": 0}])
def test_a_subset_that_contradicts_itself_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Subset.model_validate(bad)


def test_tasks_and_prompts_beside_a_suite_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "prompts").mkdir()
    (tmp_path / "tasks" / "own.yaml").write_text(
        "name: own\nversion: 1\nkind: chart-qa\ndataset: chartqa\nsplit: test\nprompt: own-words\n"
        "metrics: [relaxed_accuracy]\n"
    )
    (tmp_path / "prompts" / "own-words.yaml").write_text(
        'name: own-words\nversion: 3\nsource: ours\ntext: "{{ question }}?"\n'
    )
    loaded = load_suite(suite(tmp_path, "[own]")).tasks[0]
    assert (loaded.prompt.version, loaded.task.metrics) == (3, ["relaxed_accuracy"])


def test_suites_of_an_installed_package_are_found(installed: Callable[..., Path]) -> None:
    text = "name: theirs\nversion: 1\ndescription: d\ndata: bundled\ntasks: [chartqa]\n"
    installed(
        "pkg",
        {"harness.suites": {"pkg": "their_suites"}},
        {"their_suites/__init__.py": "", "their_suites/theirs.yaml": text},
    )
    assert "theirs" in suite_files()
    assert load_suite("theirs").tasks[0].task.name == "chartqa"


def test_a_change_of_words_changes_the_suite_digest(tmp_path: Path) -> None:
    a = load_suite(suite(tmp_path, "[chartqa]")).digest()
    b = load_suite(suite(tmp_path, "[{task: chartqa, prompt: true-false}]")).digest()
    assert a != b


def test_a_metric_that_is_not_there_is_refused_when_the_task_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "own.yaml").write_text(
        "name: own\nversion: 1\nkind: chart-qa\ndataset: chartqa\nsplit: test\n"
        "prompt: chartqa-short\nmetrics: [cyder]\n"
    )
    with pytest.raises(SuiteError, match=r'own\.yaml:7: metrics: no metric named "cyder"; did you mean "cider"'):
        load_task(TaskUse(task="own"), suites=[tmp_path])
