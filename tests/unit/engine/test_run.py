"""The whole run with the scripted model: nothing lost, nothing repeated, nothing silently dropped."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.engine.requests import on_this_machine
from harness.engine.run import run_suite
from harness.errors import DatasetError, StoreError, SuiteError
from harness.models.base import Generation, ModelInput
from harness.records import GenerationSettings, Problem
from harness.store.cache import ResponseCache
from harness.store.runs import Run, read_run
from harness.store.tables import TIMING_COLUMNS
from harness.tasks.schema import Subset
from tests.conftest import make_chart_data
from tests.scripted_model import HELD, Scripted
from tests.unit.datasets import builders

Card = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("scripted")


def asked(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def content(run: Run) -> tuple[pd.DataFrame, pd.DataFrame, list[object]]:
    """Everything in a run that must not depend on how it came about."""
    values = [(t.sample_set, t.n_answered, dict(t.unscored), t.values) for t in run.record.tasks]
    return run.samples().drop(columns=list(TIMING_COLUMNS)), run.scores(), values


def assert_same(one: Run, other: Run) -> None:
    a, b = content(one), content(other)
    pd.testing.assert_frame_equal(a[0], b[0])
    pd.testing.assert_frame_equal(a[1], b[1])
    assert a[2] == b[2]


def test_every_sample_is_in_the_record_and_unreadable_ones_are_named(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    outcome = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "out")
    (result,) = outcome.runs[0].record.tasks
    assert (result.n_samples, result.n_answered) == (12, 8)
    assert result.unscored == {"missing_image": 2, "truncated_image": 2}
    value = result.values[0]
    assert (value.n_scored, value.n_total) == (8, 12)
    samples = outcome.runs[0].samples()
    assert set(samples.loc[samples["text"].isna(), "failure_kind"]) == {"missing_image", "truncated_image"}
    assert any("missing_image x2" in warning for warning in outcome.runs[0].record.warnings)


def test_a_wrong_answer_is_zero_and_a_right_one_counts(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    outcome = run_suite(chart_suite, [card("m", says="2")], data=chart_data, out=tmp_path / "out")
    values = {(v.variant, v.subset): v for v in outcome.runs[0].record.tasks[0].values}
    assert values["pix2struct", "human"].estimate == pytest.approx(1 / 4)
    assert values["pix2struct", "augmented"].estimate == 0.0
    assert values["pix2struct", "all"].n_scored == 8


def test_answers_do_not_depend_on_batch_size(chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path) -> None:
    path = card("m")
    runs = [
        run_suite(chart_suite, [path], data=chart_data, out=tmp_path / f"out{size}", batch_size=size).runs[0]
        for size in (1, 3, None)
    ]
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])


def test_an_unchanged_rerun_asks_nothing_and_makes_a_new_record(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    path = card("m", log=str(log))
    first = run_suite(chart_suite, [path], data=chart_data, out=out).runs[0]
    second = run_suite(chart_suite, [path], data=chart_data, out=out).runs[0]
    assert first.path != second.path
    assert sum(asked(log).values()) == 8
    assert second.record.timing["answers_from_cache"] == 8
    assert second.record.timing["requests_asked"] == 0
    assert_same(first, second)


def test_a_changed_prompt_or_weights_is_asked_again(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    for weights in ("one", "two"):
        run_suite(chart_suite, [card("m", log=str(log), weights=weights)], data=chart_data, out=out)
    assert sum(asked(log).values()) == 16


def test_one_request_that_breaks_takes_no_other_with_it(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    whole = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "out").runs[0]
    victim = str(whole.samples()["sample_id"][0])
    outcome = run_suite(chart_suite, [card("n", breaks_on=victim)], data=chart_data, out=tmp_path / "out")
    result = outcome.runs[0].record.tasks[0]
    assert result.unscored == {"missing_image": 2, "model_error": 1, "truncated_image": 2}
    samples = outcome.runs[0].samples().set_index("sample_id")
    assert samples.loc[victim, "failure_message"] == f"ValueError: cannot answer {victim}"


def test_a_problem_in_an_answer_concerns_only_its_sample(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    whole = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "out").runs[0]
    victim = str(whole.samples()["sample_id"][1])
    outcome = run_suite(chart_suite, [card("n", silent_on=victim)], data=chart_data, out=tmp_path / "out")
    assert outcome.runs[0].record.tasks[0].unscored["no_prediction"] == 1


def test_out_of_memory_halves_the_batch_and_changes_no_answer(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    roomy = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "a", batch_size=8).runs[0]
    tight = run_suite(chart_suite, [card("n", fits=3)], data=chart_data, out=tmp_path / "b", batch_size=8).runs[0]
    columns = ["sample_id", "text", "failure_kind"]
    pd.testing.assert_frame_equal(roomy.samples()[columns], tight.samples()[columns])


def test_what_a_batch_held_that_did_not_fit_is_gone_when_its_halves_are_asked(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    HELD.clear()
    run_suite(chart_suite, [card("m", fits=1)], data=chart_data, out=tmp_path / "out", batch_size=8)
    assert len(HELD) > 8
    assert set(HELD) == {0}


def test_auto_starts_where_an_earlier_run_on_this_machine_ended(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, path = tmp_path / "out", card("n", fits=3)
    run_suite(chart_suite, [path], data=chart_data, out=out)
    assert "a batch of 6 does not fit" in caplog.text
    caplog.clear()
    with sqlite3.connect(out / ".cache" / "responses.sqlite") as cache:
        cache.execute("DELETE FROM responses")
    cache.close()
    again = run_suite(chart_suite, [path], data=chart_data, out=out).runs[0]
    assert again.record.timing["requests_asked"] > 0
    assert "does not fit" not in caplog.text
    with ResponseCache(out / ".cache" / "responses.sqlite") as kept:
        assert kept.batch_size(on_this_machine(again.record.identity)) == 3


def school(folder: Path, questions: int) -> Path:
    """A suite of questions without pictures; its data are in `folder`/data."""
    problems = {str(n): builders.problem(question=f"Which is {n}?", image=None) for n in range(questions)}
    builders.scienceqa(folder / "data" / "scienceqa", problems)
    suite = folder / "school.yaml"
    suite.write_text("name: school\nversion: 1\ndescription: d\ndata: folder\ntasks: [scienceqa]\n")
    return suite


@pytest.mark.parametrize("executor", ["local", "process"])
def test_auto_finds_the_largest_size_where_a_batch_takes_the_same_time(
    executor: str, card: Card, tmp_path: Path
) -> None:
    suite = school(tmp_path, 3000)
    out = tmp_path / "out"
    run = run_suite(suite, [card("m", seconds=0.02)], data=tmp_path / "data", out=out, executor=executor).runs[0]
    assert run.samples()["batch_size"].max() == 256
    with ResponseCache(out / ".cache" / "responses.sqlite") as kept:
        assert kept.batch_size(on_this_machine(run.record.identity)) == 256


@pytest.mark.parametrize(("size", "sizes"), [(25, {25, 14, 8}), (30, {30, 20}), (16, {16, 8})])
def test_the_small_end_of_a_window_goes_with_the_next(size: int, sizes: set[int], card: Card, tmp_path: Path) -> None:
    """Windows of 64, 64, 64 and 8: of 25, 14 are more than half and go alone; of 30, 4, 8 and 12 wait."""
    suite = school(tmp_path, 200)
    log = tmp_path / "log"
    model = card("m", log=str(log))
    run = run_suite(suite, [model], data=tmp_path / "data", out=tmp_path / "out", batch_size=size).runs[0]
    assert run.record.tasks[0].n_answered == 200
    assert set(asked(log).values()) == {1}
    assert set(run.samples()["batch_size"]) == sizes


def test_a_size_beyond_the_window_is_filled(card: Card, tmp_path: Path) -> None:
    suite = school(tmp_path, 300)
    run = run_suite(suite, [card("m")], data=tmp_path / "data", out=tmp_path / "out", batch_size=100).runs[0]
    assert set(run.samples()["batch_size"]) == {100}


def test_a_request_that_does_not_fit_alone_is_unscored(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    outcome = run_suite(chart_suite, [card("m", fits=0)], data=chart_data, out=tmp_path / "out")
    assert outcome.runs[0].record.tasks[0].unscored["out_of_memory"] == 8
    assert outcome.runs[0].record.tasks[0].values[0].estimate is None


def test_a_model_that_cannot_be_loaded_stops_nobody(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    models = [card("gone", missing=True), card("torn", load_fails=True), card("good")]
    outcome = run_suite(chart_suite, models, data=chart_data, out=tmp_path / "out")
    assert [run.record.model for run in outcome.runs] == ["good"]
    assert [name for name, _ in outcome.failures] == ["gone", "torn"]
    assert outcome.failures[1][1] == "cannot be loaded: RuntimeError: weights are damaged"


def test_a_stopped_run_is_sealed_and_the_same_command_asks_only_the_rest(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    path = card("m", log=str(log))
    outcome = run_suite(
        chart_suite, [path], data=chart_data, out=out, batch_size=3, stop=lambda: sum(asked(log).values()) >= 3
    )
    assert outcome.interrupted
    assert outcome.runs[0].record.tasks[0].unscored == {"interrupted": 6, "missing_image": 2}
    assert outcome.runs[0].record.tasks[0].n_samples == 12
    again = run_suite(chart_suite, [path], data=chart_data, out=out)
    assert again.runs[0].record.tasks[0].n_answered == 8
    assert set(asked(log).values()) == {1}
    whole = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "whole")
    assert list(again.runs[0].samples()["text"].dropna()) == list(whole.runs[0].samples()["text"].dropna())


def test_a_subset_is_the_same_under_every_model(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    subset = Subset(sample=4, seed=7)
    outcome = run_suite(chart_suite, [card("a"), card("b")], data=chart_data, out=tmp_path / "out", subset=subset)
    sets = {run.record.tasks[0].sample_set for run in outcome.runs}
    assert len(sets) == 1
    assert outcome.runs[0].record.tasks[0].plan.subset == {"sample": 4, "seed": 7}
    assert outcome.runs[0].record.tasks[0].n_samples == 4


def test_the_sample_set_changes_with_a_pixel(chart_suite: Path, card: Card, tmp_path: Path) -> None:
    from PIL import Image

    one, two = make_chart_data(tmp_path / "one"), make_chart_data(tmp_path / "two")
    Image.new("RGB", (40, 30), "pink").save(two / "chartqa" / "ChartQA Dataset" / "test" / "png" / "chart0.png")
    path = card("m")
    sets = [
        run_suite(chart_suite, [path], data=data, out=tmp_path / "out").runs[0].record.tasks[0].sample_set
        for data in (one, two)
    ]
    assert sets[0] != sets[1]


def test_two_processes_cannot_write_one_run(chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path) -> None:
    from harness.store.files import FolderLock

    out = tmp_path / "out"
    path = card("m")
    stopped = run_suite(chart_suite, [path], data=chart_data, out=out).runs[0]
    (stopped.path / "record.json").unlink()
    with FolderLock(stopped.path), pytest.raises(StoreError, match=r"in use by process \d+ on "):
        run_suite(chart_suite, [path], data=chart_data, out=out)


def test_a_suite_that_needs_data_says_so(chart_suite: Path, card: Card, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="--data DIR"):
        run_suite(chart_suite, [card("m")], out=tmp_path / "out")


def test_missing_data_is_found_before_anything_is_run(chart_suite: Path, card: Card, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match="task chartqa"):
        run_suite(chart_suite, [card("m")], data=empty, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_record_says_everything_that_made_it(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path
) -> None:
    run = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "out").runs[0]
    record = json.loads((run.path / "record.json").read_text())
    assert record["schema_version"] == 1
    plan = record["tasks"][0]["plan"]
    assert plan["generation"]["num_beams"] == 1
    assert plan["prompt_text"].startswith("{{ question }}")
    assert plan["template"] == "Q: {{ text }}"
    assert record["provenance"]["packages"]["numpy"]
    assert record["identity"]["weights"] == "scripted"
    assert record["card"]["run"]["family"] == "scripted"
    assert {v["metric"] for v in record["efficiency"]} == {"latency", "throughput", "peak_memory"}
    assert read_run(run.path).record == run.record


def test_too_many_images_for_a_model_is_named_unless_the_task_joins_them(card: Card, tmp_path: Path) -> None:
    outcome = run_suite("mini", [card("two", max_images=1)], out=tmp_path / "out", subset=Subset(first=2))
    pairs = next(t for t in outcome.runs[0].record.tasks if t.plan.name == "nlvr2")
    assert pairs.n_answered == pairs.n_samples > 0


def repeated(root: Path) -> Path:
    """Four questions, of which the first, third and fourth are one."""
    folder = make_chart_data(root) / "chartqa" / "ChartQA Dataset" / "test"
    rows = json.loads((folder / "test_human.json").read_text())
    (folder / "test_human.json").write_text(json.dumps([rows[0], rows[1], rows[0], rows[0]]))
    (folder / "test_augmented.json").write_text("[]")
    return root


def test_equal_requests_are_asked_once_and_all_answered(chart_suite: Path, card: Card, tmp_path: Path) -> None:
    data = repeated(tmp_path / "data")
    log = tmp_path / "log"
    run = run_suite(chart_suite, [card("m", log=str(log))], data=data, out=tmp_path / "out", batch_size=1).runs[0]
    assert sum(asked(log).values()) == 2
    samples = run.samples()
    assert len(samples) == 4
    assert samples["text"][0] == samples["text"][2] == samples["text"][3] != samples["text"][1]
    assert list(samples["cached"]) == [False, False, True, True]
    assert run.record.timing["requests_asked"] == 2


def test_a_failure_is_shared_by_equal_requests(chart_suite: Path, card: Card, tmp_path: Path) -> None:
    data = repeated(tmp_path / "data")
    whole = run_suite(chart_suite, [card("m")], data=data, out=tmp_path / "whole").runs[0]
    broken = card("n", breaks_on=str(whole.samples()["sample_id"][0]))
    run = run_suite(chart_suite, [broken], data=data, out=tmp_path / "out").runs[0]
    assert run.record.tasks[0].unscored == {"model_error": 3}


def test_the_next_batch_is_prepared_while_one_is_generated(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    following = threading.Event()
    prepare, generate = Scripted.prepare, Scripted.generate

    def prepared(self: Scripted, batch: Sequence[ModelInput]) -> list[ModelInput]:
        calls.append("prepare")
        if len(calls) > 1:
            following.set()
        return prepare(self, batch)

    def generated(self: Scripted, batch: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        assert following.wait(20)
        calls.append("generate")
        return generate(self, batch, settings)

    monkeypatch.setattr(Scripted, "prepare", prepared)
    monkeypatch.setattr(Scripted, "generate", generated)
    run = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "out", batch_size=4).runs[0]
    assert run.record.tasks[0].n_answered == 8
    assert calls[:3] == ["prepare", "prepare", "generate"]


def test_a_fault_of_preparing_concerns_only_its_sample(
    chart_suite: Path, chart_data: Path, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_suite(chart_suite, [card("m")], data=chart_data, out=tmp_path / "whole").runs[0]
    victim = str(whole.samples()["sample_id"][2])

    def prepared(self: Scripted, batch: Sequence[ModelInput]) -> list[ModelInput]:
        if any(item.request.sample_id == victim for item in batch):
            raise ValueError("not a picture")
        return list(batch)

    monkeypatch.setattr(Scripted, "prepare", prepared)
    run = run_suite(chart_suite, [card("n")], data=chart_data, out=tmp_path / "out", batch_size=4).runs[0]
    assert run.record.tasks[0].unscored["model_error"] == 1
    assert run.record.tasks[0].n_answered == 7
