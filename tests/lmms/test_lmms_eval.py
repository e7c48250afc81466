"""lmms-eval both ways on a local task in ChartQA's form: equal prompts, equal answers, equal scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.opening import open_dataset
from harness.engine.run import run_suite
from harness.errors import ModelError
from harness.interop import InteropError
from harness.interop.lmms.logs import import_lmms_eval
from harness.interop.lmms.suites import write_suite
from harness.interop.lmms.tasks import open_task
from harness.mini import bundled_data
from harness.store.runs import Run
from tests.conftest import Command

lmms_eval = pytest.importorskip("lmms_eval", reason="lmms-eval is not installed; `tox run -e lmms` installs it")
pytestmark = pytest.mark.filterwarnings("default")
N = 24
"""Documents of the local task."""
CARD = "nano-deplot-rules"
SPLITS = ("relaxed_overall", "relaxed_human_split", "relaxed_augmented_split")


def write_task(folder: Path, name: str, **changes: Any) -> None:
    """A task like lmms-eval's own ChartQA on the local table."""
    own = Path(lmms_eval.__path__[0]) / "tasks" / "chartqa" / "chartqa.yaml"
    content = {
        "include": str(own),
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": "charts.parquet"}},
        **changes,
    }
    (folder / f"{name}.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in content.items()))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Task definitions and their table, made of the bundled charts."""
    import datasets

    folder = tmp_path_factory.mktemp("tasks")
    reader = open_dataset("chartqa", bundled_data())
    samples = list(reader.samples("test"))
    rows = [
        {
            "image": {"bytes": reader.image_bytes(sample.images[0]), "path": None},
            "question": sample.question,
            "answer": sample.references[0],
            "type": f"{sample.metadata['subset']}_test",
        }
        for sample in samples[: N // 2] + samples[-N // 2 :]
    ]
    features = datasets.Features(
        {"image": datasets.Image(), **{n: datasets.Value("string") for n in list(rows[0])[1:]}}
    )
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "charts.parquet")
    write_task(folder, "charts")
    return folder


def evaluated(tasks: Path, out: Path, card: str) -> dict[str, Any]:
    """What lmms-eval's own command reports for a card of ours; its logs are in `out`."""
    arguments = [
        "--model",
        "harness",
        "--model_args",
        f"card={card}",
        "--tasks",
        "charts",
        "--include_path",
        str(tasks),
    ]
    arguments += ["--batch_size", "auto", "--log_samples", "--output_path", str(out)]
    subprocess.run([sys.executable, "-m", "lmms_eval", *arguments], check=True, timeout=300, cwd=out.parent)
    (results,) = out.glob("*_results.json")
    return dict(json.loads(results.read_text())["results"]["charts"])


def logged(out: Path) -> list[dict[str, Any]]:
    (samples,) = out.glob("*_samples_charts.jsonl")
    return [json.loads(line) for line in samples.read_text().splitlines()]


def our_run(tasks: Path, folder: Path, models: Sequence[str | Path] = (CARD,)) -> Run:
    write_suite(tasks, ["charts"], folder / "suites", suite="theirs", kind="chart-qa")
    outcome = run_suite(folder / "suites" / "theirs.yaml", models, data=tasks, out=folder / "results")
    assert not outcome.failures
    return outcome.runs[0]


@pytest.fixture(scope="module")
def both(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Any], Path]:
    """A run of ours on their task, and their evaluation of our card."""
    folder = tmp_path_factory.mktemp("both")
    return our_run(tasks, folder), evaluated(tasks, folder / "log", CARD), folder / "log"


def test_prompts_answers_and_scores_are_equal(both: tuple[Run, dict[str, Any], Path]) -> None:
    run, theirs, log = both
    ours = run.samples()
    rows = logged(log)
    assert [str(prompt) for prompt in ours["prompt"]] == [row["input"] for row in rows]
    assert [str(text).strip() for text in ours["text"]] == [row["filtered_resps"] for row in rows]
    scores = run.scores()
    for name in SPLITS:
        mine = scores[scores["signature"].str.startswith(f"lmms-eval|{name}|")]
        assert dict(zip(mine["sample_id"], mine["value"], strict=True)) == {
            f"charts:{row['doc_id']}": row[name] for row in rows if name in row
        }
        value = next(v for v in run.record.tasks[0].values if v.variant == name)
        assert value.estimate == pytest.approx(theirs[f"{name},none"], abs=1e-12)
        assert value.low is not None
        assert value.high is not None
        assert value.n_scored == sum(name in row for row in rows)
    assert 0 < theirs["relaxed_overall,none"] <= 1


def test_questions_about_one_picture_share_a_cluster(both: tuple[Run, dict[str, Any], Path]) -> None:
    run, _, _ = both
    reader = open_dataset("chartqa", bundled_data())
    samples = list(reader.samples("test"))
    shown = [sample.images[0].key for sample in samples[: N // 2] + samples[-N // 2 :]]
    clusters = list(
        run.scores().drop_duplicates("sample_id").sort_values("sample_id", key=lambda s: s.str[7:].map(int))["cluster"]
    )
    assert len(set(clusters)) == len(set(shown)) < N
    assert len(set(zip(clusters, shown, strict=True))) == len(set(shown))


def test_log_becomes_a_marked_run(both: tuple[Run, dict[str, Any], Path], tmp_path: Path) -> None:
    _, theirs, log = both
    (made,) = import_lmms_eval([log], tmp_path, model="Theirs", metrics=["relaxed_accuracy@pix2struct"])
    (task,) = made.run.record.tasks
    estimates = {value.name: value.estimate for value in task.values}
    assert estimates["lmms-eval@relaxed_overall"] == pytest.approx(theirs["relaxed_overall,none"], abs=1e-12)
    assert estimates["relaxed_accuracy@pix2struct"] == estimates["lmms-eval@relaxed_overall"]
    assert task.plan.prompt_name == "not known (lmms-eval)"
    assert task.plan.generation.max_new_tokens == 16
    assert "template" in made.run.record.identity.warnings[0]


def test_card_is_found_by_its_entry_point() -> None:
    from lmms_eval.models import MODEL_REGISTRY_V2

    assert MODEL_REGISTRY_V2.resolve("harness").class_path == "harness.interop.lmms.plugin.HarnessModel"


@pytest.mark.usefixtures("scripted")
def test_answer_that_never_came_is_no_wrong_answer(tasks: Path, card: Callable[..., Path]) -> None:
    from lmms_eval.models import get_model

    opened = open_task(tasks, "charts", "default")
    model = get_model("harness")(card=str(card("broken", breaks_on="3")))
    model.task_dict = {"charts": opened.task.dataset}
    with pytest.raises(ModelError, match=r"1 of 24 answers never came.*doc 3: ValueError: cannot answer 3"):
        model.generate_until(opened.task.instances)
    answers = model.generate_until(opened.task.instances[:3])
    assert len({answer.text for answer in answers}) == 3


def test_what_cannot_be_read_is_refused_by_name(tasks: Path, tmp_path: Path) -> None:
    from lmms_eval.models import get_model

    with pytest.raises(InteropError, match="no task of lmms-eval named 'chart' here; there: charts"):
        open_task(tasks, "chart", "default")
    write_task(tmp_path, "several", output_type="multiple_choice", doc_to_choice=["a", "b"])
    write_task(tmp_path, "lost", dataset_kwargs={"data_files": {"test": "nowhere.parquet"}})
    (tmp_path / "charts.parquet").write_bytes((tasks / "charts.parquet").read_bytes())
    with pytest.raises(InteropError, match="task several is multiple_choice"):
        open_task(tmp_path, "several", "default")
    with pytest.raises(InteropError, match="task lost cannot be opened: FileNotFoundError"):
        open_task(tmp_path, "lost", "default")
    with pytest.raises(ModelError, match="other samples of a task"):
        get_model("harness")(card="majority-answer")


def test_suite_says_what_it_leaves_out(tasks: Path, tmp_path: Path, harness: Command) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "charts.parquet").write_bytes((tasks / "charts.parquet").read_bytes())
    metrics = [
        {"metric": "relaxed_overall", "aggregation": "mean"},
        {"metric": "relaxed_human_split", "aggregation": "median"},
    ]
    write_task(
        folder, "mixed", metric_list=metrics, generation_kwargs={"max_new_tokens": 7, "image_aspect_ratio": "pad"}
    )
    code, out, _ = harness("lmms-suite", folder, "mixed", "--out", tmp_path / "s", "--json")
    assert code == 0
    notes = json.loads(out)["notes"]
    assert "image_aspect_ratio" in notes[0]
    assert "relaxed_human_split" in notes[1]
    text = (tmp_path / "s" / "tasks" / "mixed.yaml").read_text()
    assert "max_new_tokens: 7" in text
    assert "relaxed_human_split" not in text
    code, _, err = harness("lmms-suite", folder, "mixed", "--out", tmp_path / "s")
    assert code == 2
    assert "is there already" in err


def test_document_without_a_picture_is_counted_and_unscored(tasks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "charts.parquet").write_bytes((tasks / "charts.parquet").read_bytes())
    (folder / "film.py").write_text(
        "def visual(doc):\n    return ['film.mp4'] if doc['answer'] == 'Yes' else [doc['image']]\n"
    )
    write_task(folder, "charts")
    with (folder / "charts.yaml").open("a") as file:
        file.write("doc_to_visual: !function film.visual\n")
    run = our_run(folder, tmp_path)
    (task,) = run.record.tasks
    films = int((run.samples()["text"].isna()).sum())
    assert films > 0
    assert task.unscored == {"unsupported_input": films}
    assert next(v for v in task.values if v.variant == "relaxed_overall").n_scored == N - films
