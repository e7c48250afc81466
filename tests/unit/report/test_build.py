"""What a report's files hold, without a browser: worked examples on sixty questions, and hostile answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.errors import CompareError, StoreError
from harness.report.build import build_report
from harness.report.figures import frontier, plain
from harness.store.runs import Run, read_run
from tests.report.making import FIRST, HOSTILE, make_runs

pytest.importorskip("seaborn", reason="the report extra is not installed")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def report(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report(runs, tmp_path_factory.mktemp("out") / "report").parent


def data_of(path: Path) -> Any:
    """The value that a data script hands over."""
    found = re.fullmatch(r"harnessReport\.(?:index\(|chunk\(\d+,\d+,)(.*)\);\n", path.read_text(encoding="utf-8"), re.S)
    assert found
    return json.loads(found[1])


def test_index_has_every_sample_of_every_task_with_one_verdict_for_each_model(report: Path, runs: list[Run]) -> None:
    index = data_of(report / "data" / "index.js")
    assert index["models"] == ["exact", "hostile", "patchy"]
    assert [task["name"] for task in index["tasks"]] == ["chartqa", "scienceqa"]
    for task in index["tasks"]:
        assert len(task["ids"]) == len(set(task["ids"])) == FIRST
        assert all(len(verdict) == 3 for verdict in task["verdicts"])
        held = next(t for t in runs[0].record.tasks if t.plan.name == task["name"])
        for place, run in enumerate(runs):
            value = next(t for t in run.record.tasks if t.plan.name == task["name"]).values[0]
            letters = [verdict[place] for verdict in task["verdicts"]]
            assert letters.count("r") == round((value.estimate or 0) * value.n_scored)
            assert letters.count("u") == value.n_total - value.n_scored
        assert len(task["ids"]) == held.n_samples


def test_filters_disagree_and_only_right_follow_from_the_verdicts(report: Path) -> None:
    task = data_of(report / "data" / "index.js")["tasks"][0]
    for verdict, disagree, best in zip(task["verdicts"], task["disagree"], task["best"], strict=True):
        scored = verdict.replace("u", "")
        assert disagree == ("1" if len(set(scored)) > 1 else "0"), verdict
        alone = verdict.index("r") if verdict.count("r") == 1 and len(scored) > 1 else -1
        assert best == alone, verdict


def test_unscored_is_a_letter_of_its_own_and_never_wrong(report: Path) -> None:
    task = data_of(report / "data" / "index.js")["tasks"][0]
    missing = [n for n, verdict in enumerate(task["verdicts"]) if verdict[2] == "u"]
    assert missing == list(range(0, FIRST, 5))
    chunk = data_of(report / "data" / "0-0.js")
    assert "text" not in chunk[0]["answers"][2]
    assert chunk[0]["answers"][2]["failure"].startswith("no_prediction: ")


def test_hostile_answers_are_whole_in_the_data_and_cannot_end_a_script(report: Path) -> None:
    chunk = data_of(report / "data" / "0-0.js")
    assert tuple(row["answers"][1]["text"] for row in chunk[: len(HOSTILE)]) == HOSTILE
    for path in (report / "data").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "<" not in text
        assert "\u2028" not in text


def test_a_hostile_model_name_is_escaped_on_the_pages(runs: list[Run], tmp_path: Path) -> None:
    from dataclasses import replace

    bad = "<script>alert(1)</script>$x^"
    named = [Run(runs[0].path, replace(runs[0].record, model=bad)), runs[1]]
    page = build_report(named, tmp_path / "r").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;$x^" in page
    assert "<script>alert" not in page


def test_pages_name_nothing_beyond_the_folder_and_no_path_of_this_machine(report: Path, runs: list[Run]) -> None:
    for path in [*report.glob("*.html"), *report.glob("assets/*"), *report.glob("data/*"), report / "report.json"]:
        text = path.read_text(encoding="utf-8")
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert str(runs[0].path.parent.parent) not in text, path
    page = (report / "index.html").read_text(encoding="utf-8")
    for target in re.findall(r'(?:src|href|srcset)="([^"#]+)', page):
        assert (report / target).is_file(), target


def test_policy_lets_no_inline_script_run_and_the_pages_have_none(report: Path) -> None:
    for path in report.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "default-src &#39;none&#39;; script-src &#39;self&#39;; style-src &#39;self&#39;" in text
        assert "unsafe" not in text
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", text)


def test_every_figure_has_words_and_stands_for_light_and_dark(report: Path) -> None:
    page = (report / "index.html").read_text(encoding="utf-8")
    names = re.findall(r'src="figures/(\w+)-light.svg" alt="([^"]{20,})"', page)
    assert {name for name, _ in names} == {"intervals", "forest", "frontier", "categories", "ranks"}
    light, dark = ((report / "figures" / f"forest-{theme}.svg").read_text() for theme in ("light", "dark"))
    assert "#1b1b1b" in light
    assert "#e8e8e8" not in light
    assert "#e8e8e8" in dark


def test_images_are_small_copies_and_each_is_written_once(report: Path) -> None:
    from PIL import Image

    rows = data_of(report / "data" / "0-0.js") + data_of(report / "data" / "1-0.js")
    named = {file for row in rows for file, _ in row.get("images", [])}
    assert named == {path.name for path in (report / "images").iterdir()}
    for name in named:
        with Image.open(report / "images" / name) as image:
            assert max(image.size) <= 360


def test_one_report_made_twice_is_the_same_files(report: Path, runs: list[Run], tmp_path: Path) -> None:
    again = build_report(runs, tmp_path / "again").parent
    for path in sorted(p for p in report.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again / path.relative_to(report)).read_bytes(), path


def test_a_report_is_replaced_but_other_files_are_not(runs: list[Run], report: Path, tmp_path: Path) -> None:
    stale = report / "data" / "99-0.js"
    stale.write_text("old")
    build_report(runs, report)
    assert not stale.exists()
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"holds files that are no report; give a new or empty folder"):
        build_report(runs, tmp_path)
    with pytest.raises(StoreError, match=r"is a file; give a folder"):
        build_report(runs, tmp_path / "thesis.tex")


def test_one_run_is_refused_before_anything_is_written(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="at least two runs"):
        build_report(runs[:1], tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_images_that_are_not_at_hand_are_said(runs: list[Run], tmp_path: Path) -> None:
    from dataclasses import replace

    elsewhere = []
    for run in runs:
        tasks = tuple(replace(t, plan=replace(t.plan, data="benchmarks")) for t in run.record.tasks)
        elsewhere.append(Run(run.path, replace(run.record, tasks=tasks)))
    folder = build_report(elsewhere, tmp_path / "r").parent
    assert not list((folder / "images").iterdir())
    file, reason = data_of(folder / "data" / "0-0.js")[0]["images"][0]
    assert file == ""
    assert reason == "images of chartqa are not in this report; build it with --data FOLDER to include them"


def test_runs_read_again_from_disk_make_a_report(runs: list[Run], tmp_path: Path) -> None:
    page = build_report([read_run(run.path) for run in runs], tmp_path / "r", baseline=runs[2]).read_text("utf-8")
    assert "Every model is compared with patchy." in " ".join(page.split())
    assert "exact and hostile" not in page


def test_frontier_keeps_what_nothing_beats_in_both() -> None:
    assert frontier([(1.0, 5.0), (2.0, 4.0), (3.0, 9.0), (1.0, 3.0)]) == [(1.0, 5.0), (3.0, 9.0)]


def test_figure_text_shows_characters_without_a_glyph_by_their_number() -> None:
    assert plain("modèle\n漢") == "modèle[U+000A][U+6F22]"
