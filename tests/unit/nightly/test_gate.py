"""The gate end to end with the scripted model, night after night, and every kind of finding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.nightly.baselines import accept
from harness.nightly.findings import Night
from harness.nightly.gate import run_night
from harness.nightly.writing import summary, write_night
from tests.conftest import CHART_SUITE, make_chart_data

pytestmark = pytest.mark.usefixtures("scripted")
QUESTIONS = 40


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Charts that can all be read: 40 questions on 40 charts, each answered by `yes`."""
    from PIL import Image

    root = make_chart_data(tmp_path / "data")
    test = root / "chartqa" / "ChartQA Dataset" / "test"
    questions = []
    for number in range(QUESTIONS):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(test / "png" / f"c{number}.png")
        questions.append({"imgname": f"c{number}.png", "query": f"Question {number}?", "label": "yes"})
    (test / "test_human.json").write_text(json.dumps(questions))
    (test / "test_augmented.json").write_text("[]")
    return root


Config = Callable[..., Path]


@pytest.fixture
def config(tmp_path: Path, data: Path, chart_suite: Path) -> Config:
    """Writes a configuration: `config(models, **fields)`."""

    def write(models: list[Path], **fields: object) -> Path:
        path = tmp_path / "nightly.yaml"
        content = {
            "suites": [str(chart_suite)],
            "models": [str(model) for model in models],
            "data": str(data),
            "out": "results",
            **fields,
        }
        path.write_text(json.dumps(content))
        return path

    return write


def accepted(night: Night, tmp_path: Path) -> None:
    for run in night.runs:
        accept(tmp_path / "results" / "baselines", run, who="tester", why="first")


def asked(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_the_first_night_says_how_to_accept_a_baseline(card: Callable[..., Path], config: Config) -> None:
    night = run_night(config([card("m", says="yes")]))
    assert night.exit_code == 0
    assert night.findings == ()
    assert f"harness baseline accept {night.runs[0]}" in night.notes[0]


def test_an_unchanged_night_asks_nothing_and_finds_nothing(
    tmp_path: Path, card: Callable[..., Path], config: Config
) -> None:
    log = tmp_path / "log"
    gate = config([card("m", says="yes", log=str(log))])
    accepted(run_night(gate), tmp_path)
    assert asked(log) == QUESTIONS
    night = run_night(gate)
    assert asked(log) == QUESTIONS
    assert (night.exit_code, night.findings, night.notes) == (0, (), ())
    (judged,) = night.judged
    assert (judged.difference, judged.p_baseline, judged.nights, judged.alarm) == (0.0, 1.0, 2, False)


def test_new_weights_with_wrong_answers_are_found_with_cause_flips_and_night(
    tmp_path: Path, card: Callable[..., Path], config: Config
) -> None:
    gate = config([card("m", says="yes"), card("steady", says="yes")])
    accepted(run_night(gate), tmp_path)
    run_night(gate)
    card("m", says="no", weights="other")
    night = run_night(gate)
    assert night.exit_code == 1
    (finding,) = night.findings
    assert (finding.kind, finding.model, finding.better) == ("moved", "m", False)
    assert (finding.before, finding.after, finding.difference) == (1.0, 0.0, -1.0)
    assert finding.found_by == ("baseline", "history")
    # McNemar: 40 discordant answers, all lost: 2 / 2**40, times 2 halves and 2 cells
    assert finding.p_corrected is not None
    assert finding.p_corrected <= 1e-9
    assert [(c.kind, c.what, c.before, c.after) for c in finding.causes if c.kind == "weights"] == [
        ("weights", "weights", "scripted", "other")
    ]
    assert all(c.at_step for c in finding.causes if c.kind in ("weights", "card"))
    assert {(c.kind, c.what) for c in finding.causes} >= {("weights", "weights"), ("card", "options.says")}
    assert len(finding.flips) == QUESTIONS
    assert {(f.before, f.after, f.answer_after) for f in finding.flips} == {(1.0, 0.0, "no")}
    assert finding.since_run == Path(night.runs[0]).name
    text = summary(night)
    assert "worse by 100.0 points" in text
    assert "since tonight" in text
    assert "30 more are in findings.json" in text


def test_the_step_is_dated_to_its_first_night(tmp_path: Path, card: Callable[..., Path], config: Config) -> None:
    gate = config([card("m", says="yes")])
    accepted(run_night(gate), tmp_path)
    run_night(gate)
    card("m", says="no")
    first = run_night(gate)
    run_night(gate)
    night = run_night(gate)
    (finding,) = night.findings
    assert finding.since_run == Path(first.runs[0]).name
    assert finding.window_nights is not None
    assert "since the night of" in finding.sentence


def test_an_accepted_change_raises_no_further_alarm(tmp_path: Path, card: Callable[..., Path], config: Config) -> None:
    gate = config([card("m", says="yes")])
    accepted(run_night(gate), tmp_path)
    run_night(gate)
    card("m", says="no")
    changed = run_night(gate)
    assert changed.exit_code == 1
    accepted(changed, tmp_path)
    assert run_night(gate).exit_code == 0


@pytest.mark.parametrize("option", ["load_fails", "missing"])
def test_a_model_that_fails_to_load_does_not_stop_the_others(
    tmp_path: Path, card: Callable[..., Path], config: Config, option: str
) -> None:
    gate = config([card("m", says="yes"), card("z", says="yes")])
    accepted(run_night(gate), tmp_path)
    card("m", says="no", weights="broken", **{option: True})
    card("z", says="no")
    night = run_night(gate)
    assert night.exit_code == 2
    (failure,) = night.failures
    assert failure.model == "m"
    assert [finding.model for finding in night.findings] == ["z"]


def test_a_request_that_kills_its_model_is_a_finding_where_models_are_isolated(
    tmp_path: Path, card: Callable[..., Path], config: Config
) -> None:
    gate = config([card("m", says="yes"), card("z", says="yes")], isolate=True)
    night = run_night(gate)
    accepted(night, tmp_path)
    sample = json.loads(next(Path(night.runs[0]).glob("journal/*")).read_text().splitlines()[0])["sample_id"]
    card("m", says="yes", dies_on=sample)
    night = run_night(gate)
    assert [(finding.kind, finding.model) for finding in night.findings] == [("lost_answers", "m")]
    assert "worker_died" in night.findings[0].sentence
    assert night.failures == ()


def test_a_card_that_is_not_there_is_a_failure_and_the_others_are_judged(
    tmp_path: Path, card: Callable[..., Path], config: Config
) -> None:
    night = run_night(config([tmp_path / "none.yaml", card("m", says="yes")]))
    assert night.exit_code == 2
    assert "none.yaml" in night.failures[0].reason
    assert len(night.runs) == 1


def test_another_sample_set_is_a_finding_of_its_own(tmp_path: Path, card: Callable[..., Path], config: Config) -> None:
    model = card("m", says="yes")
    accepted(run_night(config([model])), tmp_path)
    night = run_night(config([model], subset={"first": 20}))
    assert night.exit_code == 1
    (finding,) = night.findings
    assert finding.kind == "unlike"
    assert "sample set differs" in finding.sentence
    assert "first 20" in finding.sentence


def test_lost_answers_are_a_finding_though_the_rest_scores_alike(
    tmp_path: Path, card: Callable[..., Path], config: Config
) -> None:
    gate = config([card("m", says="yes")])
    night = run_night(gate)
    accepted(night, tmp_path)
    sample = json.loads(next(Path(night.runs[0]).glob("journal/*")).read_text().splitlines()[0])["sample_id"]
    card("m", says="yes", silent_on=sample)
    night = run_night(gate)
    assert [finding.kind for finding in night.findings] == ["lost_answers"]
    assert "1 of 40 samples" in night.findings[0].sentence
    assert run_night(config([card("m", says="yes", silent_on=sample)], lost_answers=0.1)).exit_code == 0


def test_a_changed_scorer_is_split_off_from_the_model(
    tmp_path: Path, card: Callable[..., Path], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.metrics import charts

    gate = config([card("m", says="Yes.")])
    accepted(run_night(gate), tmp_path)
    original = charts.RelaxedAccuracy.score

    def lenient(self: charts.RelaxedAccuracy, cases: object, context: object) -> object:
        from dataclasses import replace

        return [
            score if score.value is None else replace(score, value=0.5, statistics=(0.5, 1.0))
            for score in original(self, cases, context)  # type: ignore[arg-type]
        ]

    monkeypatch.setattr(charts.RelaxedAccuracy, "score", lenient)
    night = run_night(gate)
    assert [finding.kind for finding in night.findings] == ["scorer"]
    (finding,) = night.findings
    assert finding.after == 0.5
    assert "raise the metric's version" in finding.sentence
    (judged,) = night.judged
    assert (judged.difference, judged.alarm) == (0.0, False)


def test_a_stopped_night_exits_2_and_the_next_one_goes_on(
    tmp_path: Path, card: Callable[..., Path], config: Config
) -> None:
    log = tmp_path / "log"
    gate = config([card("m", says="yes", log=str(log))], batch_size=4)
    night = run_night(gate, stop=lambda: asked(log) >= 8)
    assert night.exit_code == 2
    assert night.interrupted
    before = asked(log)
    assert 8 <= before < QUESTIONS
    night = run_night(gate)
    assert night.exit_code == 0
    assert asked(log) == QUESTIONS


def test_findings_are_written_for_programs_and_for_people(
    tmp_path: Path, card: Callable[..., Path], config: Config
) -> None:
    gate = config([card("m", says="yes")])
    accepted(run_night(gate), tmp_path)
    card("m", says="<script>| `x`")
    night = run_night(gate)
    place = write_night(night, tmp_path / "reports")
    content = json.loads((place / "findings.json").read_text())
    assert content["exit_code"] == 1
    assert len(content["findings"][0]["flips"]) == QUESTIONS
    assert (tmp_path / "reports" / "latest.json").read_text() == (place / "findings.json").read_text()
    text = (place / "summary.md").read_text()
    assert text.startswith("# Nightly gate: 1 finding\n")
    assert write_night(night, tmp_path / "reports") != place
    for line in text.splitlines():
        if line.startswith("| `"):
            assert line.count("|") == 6


def test_without_a_baseline_the_nights_alone_find_a_step(
    tmp_path: Path, card: Callable[..., Path], config: Config
) -> None:
    gate = config([card("m", says="yes")])
    run_night(gate)
    run_night(gate)
    card("m", says="no")
    night = run_night(gate)
    assert night.exit_code == 1
    (finding,) = night.findings
    assert finding.found_by == ("history",)
    assert (finding.difference, finding.better) == (-1.0, False)
    assert len(finding.flips) == QUESTIONS
    assert "tonight against the 2 before" in finding.sentence
    assert [cause.what for cause in finding.causes] == ["options.says"]


def test_scorer_and_model_that_change_in_one_night_are_told_apart(
    tmp_path: Path, card: Callable[..., Path], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from harness.metrics import charts

    gate = config([card("m", says="yes")])
    accepted(run_night(gate), tmp_path)
    original = charts.RelaxedAccuracy.score
    monkeypatch.setattr(
        charts.RelaxedAccuracy,
        "score",
        lambda self, cases, context: [
            replace(score, value=(score.value or 0) / 2, statistics=((score.value or 0) / 2, 1.0))
            for score in original(self, cases, context)
        ],
    )
    card("m", says="no")
    scorer, moved = run_night(gate).findings
    assert (scorer.kind, scorer.before, scorer.after) == ("scorer", 1.0, 0.5)
    assert (moved.kind, moved.before, moved.after) == ("moved", 0.5, 0.0)
    assert moved.since == ""


def test_another_prompt_is_refused_in_the_words_of_the_comparison(
    tmp_path: Path, card: Callable[..., Path], config: Config, chart_suite: Path
) -> None:
    gate = config([card("m", says="yes")])
    accepted(run_night(gate), tmp_path)
    chart_suite.write_text(CHART_SUITE.replace("[chartqa]", "[{task: chartqa, prompt: chartqa-terse}]"))
    (finding,) = run_night(gate).findings
    assert finding.kind == "unlike"
    assert "prompt differs" in finding.sentence
    assert "accept a new baseline" in finding.sentence


def test_a_corpus_metric_is_judged_by_its_clusters(tmp_path: Path) -> None:
    # CIDEr over the bundled captions: the most frequent answer for every picture, then one drawn at random
    suite, model, gate = tmp_path / "captions.yaml", tmp_path / "m.yaml", tmp_path / "gate.yaml"
    suite.write_text(
        "name: captions\nversion: 1\ndescription: d\ndata: bundled\n"
        "tasks: [{task: coco-captions, metrics: [cider@subset-idf]}]\n"
    )
    gate.write_text("suites: [captions.yaml]\nmodels: [m.yaml]\n")
    model.write_text("name: m\nrun: {family: random-choice}\n")
    accepted(run_night(gate), tmp_path)
    for _ in range(2):
        assert run_night(gate).exit_code == 0
    model.write_text("name: m\nrun: {family: random-choice, options: {seed: 3}}\n")
    night = run_night(gate)
    (judged,) = night.judged
    assert judged.test.startswith("permutations=10000|cluster_t=")
    assert judged.difference is not None
    assert judged.low is not None
    assert judged.high is not None
    assert judged.low < judged.difference < judged.high
    assert (judged.nights, judged.unit) == (4, "score")
    assert judged.after is not None
    assert judged.before is not None
    assert judged.difference == pytest.approx(judged.after - judged.before)
