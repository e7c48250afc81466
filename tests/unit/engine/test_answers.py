"""The stream of answers: file order, nothing held longer than needed, whatever order the executor answers in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from harness import registry
from harness.engine import answers as module
from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan, OpenTask
from harness.engine.requests import WorkItem
from harness.engine.run import run_suite
from harness.records import Response, Sample, TaskPlan
from harness.store.runs import Run
from tests.unit.datasets import builders

WINDOW = 8


class Backwards:
    """An executor that answers the last request of each window first, and never holds more than one window."""

    asked, load_s, busy_s, batch_size, next_batch = 0, None, 0.0, None, 1

    def __init__(self, plan: ModelPlan, options: RunOptions) -> None:
        pass

    def start_task(self, opened: OpenTask, task: TaskPlan) -> None:
        pass

    def answer(self, work: Iterable[Sequence[WorkItem]], stop: Callable[[], bool]) -> Iterator[list[Response]]:
        for window in work:
            if not window:
                yield []
            for item in reversed(window):
                self.asked += 1
                request = item.request
                yield [Response(request.fingerprint, request.task, request.sample_id, "A", latency_s=0.1, batch_size=1)]
                if stop():
                    return

    def peak_memory(self) -> tuple[int, str]:
        return 0, "process"

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", WINDOW)
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: Backwards if kind == "executors" else load(kind, name))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "questions.yaml"
    path.write_text("name: questions\nversion: 1\ndescription: text alone\ndata: folder\ntasks: [scienceqa]\n")
    return path


def make_scienceqa(root: Path, end: int, begin: int = 0) -> Path:
    problems = {str(n): builders.problem(question=f"Which is {n}?") for n in range(begin, end)}
    builders.scienceqa(root / "scienceqa", problems)
    return root


def run(suite: Path, data: Path, out: Path, stop: Callable[[], bool] = lambda: False) -> Run:
    return run_suite(suite, ["always-a"], data=data, out=out, stop=stop).runs[0]


def test_rows_are_in_file_order_whatever_order_they_were_answered_in(suite: Path, tmp_path: Path) -> None:
    data = make_scienceqa(tmp_path / "data", 50)
    samples = run(suite, data, tmp_path / "out").samples()
    assert samples["sample_id"].tolist() == [str(n) for n in range(50)]
    assert samples["text"].tolist() == ["A"] * 50


def test_no_more_than_a_window_is_read_ahead_of_what_is_written(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_scienceqa(tmp_path / "data", 50)
    read = written = furthest = 0
    samples, add = OpenTask.samples, module.Answered

    def counted(self: OpenTask) -> Iterator[Sample]:
        nonlocal read, furthest
        for sample in samples(self):
            read += 1
            furthest = max(furthest, read - written)
            yield sample

    def row(*arguments: object) -> object:
        nonlocal written
        written += 1
        return add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenTask, "samples", counted)
    monkeypatch.setattr(module, "Answered", row)
    for _ in ("asked", "from the cache"):
        read = written = furthest = 0
        run(suite, data, tmp_path / "out")
        assert written == 50
        assert furthest <= WINDOW


def test_a_stopped_run_keeps_what_it_has_and_the_next_one_asks_the_rest(suite: Path, tmp_path: Path) -> None:
    data, out = make_scienceqa(tmp_path / "data", 50), tmp_path / "out"
    asked = iter(range(21))
    stopped = run(suite, data, out, stop=lambda: next(asked, None) is None)
    (result,) = stopped.record.tasks
    assert (result.n_samples, result.n_answered, result.unscored) == (50, 22, {"interrupted": 28})
    assert stopped.samples()["sample_id"].tolist() == [str(n) for n in range(50)]
    whole = run(suite, data, out)
    assert whole.record.tasks[0].n_answered == 50
    assert (whole.record.timing["requests_asked"], whole.record.timing["answers_from_cache"]) == (28, 22)


def test_after_a_stop_answers_of_later_samples_are_still_taken(suite: Path, tmp_path: Path) -> None:
    data, out = make_scienceqa(tmp_path / "data", 50), tmp_path / "out"
    run(suite, make_scienceqa(tmp_path / "end", 50, begin=40), out)
    stopped = run(suite, data, out, stop=lambda: True)
    texts = stopped.samples()["text"]
    assert [n for n, text in enumerate(texts) if isinstance(text, str)] == [7, *range(40, 50)]
