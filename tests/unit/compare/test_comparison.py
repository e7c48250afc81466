"""Comparison of runs of the scripted model: worked examples whose difference is known, and every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from harness.compare.align import align, generation_class
from harness.compare.comparison import compare
from harness.compare.words import leader
from harness.engine.run import run_suite
from harness.errors import CompareError
from harness.records import GenerationSettings
from harness.store.runs import Run
from harness.tasks.schema import Subset
from tests.conftest import make_chart_data

pytestmark = pytest.mark.usefixtures("scripted")
Go = Callable[..., Run]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Charts that can all be read: 60 questions on 60 charts."""
    from PIL import Image

    root = make_chart_data(tmp_path / "data")
    test = root / "chartqa" / "ChartQA Dataset" / "test"
    questions = []
    for number in range(60):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(test / "png" / f"c{number}.png")
        questions.append({"imgname": f"c{number}.png", "query": f"Question {number}?", "label": str(number % 3)})
    (test / "test_human.json").write_text(json.dumps(questions))
    (test / "test_augmented.json").write_text("[]")
    return root


@pytest.fixture
def go(tmp_path: Path, card: Callable[..., Path], data: Path) -> Go:
    """Runs the scripted model: `go("name", suite="tasks: …", folder=…, subset=…, **options)`."""

    def run(
        name: str,
        *,
        tasks: str = "[chartqa]",
        folder: Path | None = None,
        subset: Subset | None = None,
        **options: object,
    ) -> Run:
        suite = tmp_path / "s.yaml"
        suite.write_text(f"name: s\nversion: 1\ndescription: d\ndata: folder\ntasks: {tasks}\n")
        outcome = run_suite(suite, [card(name, **options)], data=folder or data, out=tmp_path / "out", subset=subset)
        assert outcome.failures == ()
        return outcome.runs[0]

    return run


def test_a_known_difference_is_found_with_its_size_and_its_flips(go: Go) -> None:
    zeros, ones = go("zeros", says="0"), go("nothing", says="7")
    found = compare([zeros, ones])
    (pair,) = [p for p in found.pairs if p.metric == "relaxed_accuracy@pix2struct"]
    assert pair.difference == pytest.approx(20 / 60)
    assert (pair.only_first, pair.only_second, pair.n_units) == (20, 0, 60)
    assert pair.low < 20 / 60 < pair.high
    assert pair.mcnemar_p == pytest.approx(binomtest(20, 20).pvalue)
    assert pair.differs
    letters = {s.model: s.letters for s in found.standings if s.metric == "relaxed_accuracy@pix2struct"}
    assert letters == {"zeros": "a", "nothing": "b"}


def test_models_that_say_the_same_cannot_be_told_apart(go: Go) -> None:
    found = compare([go("a", says="1"), go("b", says="1"), go("c", says="1")])
    assert all(pair.difference == 0 and not pair.differs and pair.p_holm == 1.0 for pair in found.pairs)
    assert {s.letters for s in found.standings} == {"a"}
    assert len([p for p in found.pairs if p.main]) == 3


def test_a_model_without_any_answer_leaves_the_others_comparable(go: Go) -> None:
    mute = go("mute", says="0", max_images=0)
    found = compare([mute, go("zeros", says="0"), go("nothing", says="7")])
    assert {(pair.first, pair.second) for pair in found.pairs} == {("zeros", "nothing")}
    (line,) = found.missing
    assert line.startswith("task chartqa: relaxed_accuracy@pix2struct")
    assert "not computed for mute (nothing scored: " in line
    assert leader(found, "chartqa", "relaxed_accuracy@pix2struct").startswith("First: zeros, 33.3 % [")
    assert leader(found, "chartqa", "relaxed_accuracy@pix2struct").endswith("; every other model differs from it.")


def test_the_leader_names_whom_it_cannot_be_told_apart_from(go: Go) -> None:
    found = compare([go("a", says="1"), go("b", says="1"), go("nothing", says="7")])
    said = leader(found, "chartqa", "relaxed_accuracy@pix2struct")
    assert "not told apart from it: b." in said or "not told apart from it: a." in said
    against = compare([go("a", says="1"), go("b", says="1")], baseline=go("nothing", says="7"))
    assert leader(against, "chartqa", "relaxed_accuracy@pix2struct") == "", "pairs without the baseline are not tested"


def test_only_units_that_both_have_scored_are_compared(go: Go) -> None:
    whole = go("a", says="0")
    victim = str(whole.samples()["sample_id"][0])
    found = compare([whole, go("b", says="0", silent_on=victim)])
    assert {pair.n_units for pair in found.pairs} == {59}
    assert all(pair.difference == 0 for pair in found.pairs)


def test_main_metrics_and_others_are_two_families(go: Go) -> None:
    found = compare([go("a", says="0"), go("b", says="7")])
    main = next(p for p in found.pairs if p.main)
    other = [p for p in found.pairs if not p.main]
    assert main.p_holm == main.p_value
    assert len(other) == 3
    assert other[0].p_holm == pytest.approx(min(1.0, 3 * other[0].p_value))


def test_with_a_baseline_only_its_pairs_are_tested(go: Go) -> None:
    base, b, c = go("base", says="0"), go("b", says="1"), go("c", says="2")
    found = compare([b, c], baseline=base)
    assert {frozenset((p.first, p.second)) for p in found.pairs} == {frozenset(("base", "b")), frozenset(("base", "c"))}
    assert found.baseline == "base"


REFUSALS: dict[str, tuple[dict[str, object], str]] = {
    "subset": ({"subset": Subset(first=10)}, r"task chartqa: sample set differs: .*10 samples.*first 10.*60 samples"),
    "prompt": (
        {"tasks": "[{task: chartqa, prompt: true-false}]"},
        r"prompt differs: .*true-false v1.*chartqa-short v1",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_unlike_runs_are_refused_and_the_refusal_says_what_differs(go: Go, what: str) -> None:
    changes, message = REFUSALS[what]
    a = go("a", says="0", **changes)  # type: ignore[arg-type]
    b = go("b", says="0")
    with pytest.raises(CompareError, match=message) as caught:
        compare([a, b])
    assert a.record.run_id in str(caught.value)
    assert b.record.run_id in str(caught.value)
    marked = compare([a, b], allow=True)
    assert marked.mismatches
    assert all(standing.marks for standing in marked.standings)


def test_another_revision_of_the_data_is_refused(go: Go, data: Path) -> None:
    a = go("a", says="0")
    file = data / "chartqa" / "ChartQA Dataset" / "test" / "test_human.json"
    rows = json.loads(file.read_text())
    rows[0]["label"] = "another"
    file.write_text(json.dumps(rows))
    with pytest.raises(CompareError) as caught:
        compare([a, go("b", says="0")])
    assert "data revision differs" in str(caught.value)
    assert "sample set differs" in str(caught.value)


def test_another_way_of_generating_is_refused(go: Go, card: Callable[..., Path], tmp_path: Path, data: Path) -> None:
    a = go("a", says="0")
    path = tmp_path / "cards" / "beam.yaml"
    run = {"family": "scripted", "options": {"says": "0"}, "generation": {"*": {"num_beams": 5}}}
    path.write_text(json.dumps({"name": "beam", "run": run}))
    b = run_suite(tmp_path / "s.yaml", [path], data=data, out=tmp_path / "out").runs[0]
    with pytest.raises(CompareError, match=r"generation differs: .*: greedy; .*: beam 5"):
        compare([a, b])


def test_another_version_of_a_metric_is_refused(go: Go) -> None:
    a, b = go("a", says="0"), go("b", says="0")
    file = b.path / "record.json"
    file.write_text(file.read_text().replace("zero=text|v1", "zero=text|v0"))
    from harness.store.runs import read_run

    with pytest.raises(CompareError, match=r"metric signature of relaxed_accuracy@pix2struct differs: .*\|v1; .*\|v0"):
        compare([a, read_run(b.path)])


def test_a_run_is_not_compared_with_itself_or_alone(go: Go) -> None:
    a = go("a", says="0")
    with pytest.raises(CompareError, match="at least two"):
        compare([a])
    with pytest.raises(CompareError, match="given twice"):
        compare([a, a])


def test_runs_without_a_common_task_are_refused(go: Go) -> None:
    a = go("a", says="0")
    b = go("b", says="0", tasks="[{task: chartqa, name: other}]")
    with pytest.raises(CompareError, match="no task in common"):
        compare([a, b])


def test_statistics_stand_in_the_order_of_the_units(go: Go) -> None:
    a, b = go("a", says="0"), go("b", says="1")
    column = align([a, b]).columns[0]
    assert column.statistics.shape == (2, 60, 2)
    for row, run in enumerate((a, b)):
        scores = run.scores()
        held = scores[scores["signature"] == column.signature].set_index("unit")["value"]
        np.testing.assert_array_equal(column.statistics[row, :, 0], held.loc[list(column.units)])


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (GenerationSettings(), "greedy"),
        (GenerationSettings(num_beams=5), "beam 5"),
        (GenerationSettings(do_sample=True, temperature=0.7), "sampling, temperature 0.7, top-p 1"),
    ],
)
def test_generation_classes(settings: GenerationSettings, name: str) -> None:
    assert generation_class(settings) == name


def test_models_that_agree_are_as_good_as_each_other_within_a_margin(go: Go) -> None:
    from harness.compare.words import sentence

    one, same, other = go("one", says="0"), go("same", says="0"), go("other", says="1")
    pairs = {(p.first, p.second): p for p in compare([one, same, other], margin=0.05).pairs if p.main}
    assert pairs["one", "same"].equivalent
    assert not pairs["one", "other"].equivalent
    wide = next(p for p in compare([one, other], margin=0.5).pairs if p.main)
    assert wide.equivalent
    assert sentence(wide).startswith("one and other are as good as each other within 50.0 points: +0.0 points")
    assert next(p for p in compare([one, same]).pairs if p.main).p_equivalent is None
