"""The report: `index.html` (opens from disk, nothing fetched), `README.md` with the same tables, `results.json`."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import Analysis, Frames, analyse, label, read_frames
from arms import FRONT_ENDS, TASKS, recipe_of
from figures import Figure, curves_figure, scores_figure
from testing import questions, sealed
from wording import (
    Table,
    arms_table,
    conclusions,
    drop_table,
    frozen_conclusions,
    frozen_tables,
    listed,
    main_table,
    missing_table,
    reach_table,
)

from harness.datasets.images import decode
from harness.datasets.opening import open_dataset
from harness.errors import StoreError
from harness.records import ImageRef
from harness.store.files import read_json, write_json
from harness.store.runs import Run

if TYPE_CHECKING:
    from run import Training

_HERE = Path(__file__).resolve().parent
_SHOWN = ("blind", "v1-frozen", "haar-block-diagonal-frozen", "v1", "haar-block-diagonal", "patches")
_EXAMPLES = 6
TITLE = "Wavelets or patches before a language model"
QUESTION = (
    "Does a wavelet front end serve a language model as well as ViT patches of pixels do, and did the published "
    "wavelet captioner fail because of the wavelets?"
)
_WHY = (
    "The published v1 gives each token's coefficients to a language model that never saw a picture and is not trained. "
    "The mapping works on one token at a time, and a shape spans several tokens: nobody is left to put them together. "
    "All that such a mapping can learn is a fixed prompt that makes average captions likely.",
    "The coefficients of a token do not belong to one place: the flat reshape gives it a comb of columns (v1) or "
    "whole rows (v3) of the "
    "fine levels, beside a coarse coefficient from somewhere else. Our front ends take the square under the token's "
    "cell at every level.",
    "Scales are far apart. Smooth areas double with every level, so the coarse numbers drown the fine ones; in v3 the "
    "uncentred brightness makes most of every token one constant. Our front ends centre, and bring each coefficient "
    "to unit deviation.",
    "v3 shares the width by the inverse of each level's size, so strokes and edges get a handful of dimensions.",
    "Published training also used learning rates far above the usual ones, other prompts in training than in use, "
    "for v3 other language model weights in use than in training, and no held-out score. These are not repeated here: "
    "every arm has "
    "the same sound schedule, so v1 and v3 as trained here are already partly repaired.",
)  # fmt: skip
_LIMITS = (
    "Small drawn pictures, about a million parameters, a short schedule: the order of arms at a fixed number of steps "
    "need not hold at convergence, on photographs, or with a large language model.",
    "Hyperparameters are the same for every arm and were not tuned for any of them.",
    "No margin of equality was set beforehand: arms that are not told apart are not thereby shown to be equal.",
    "The arms differ from patches in more than one thing at a time: a Haar transform of a cell is a rotation of its "
    "pixels, so what can "
    "matter is how features are scaled, which weights share them and how fast each is learned. patches-standardised "
    "and patches-zca "
    "separate scale from the rest; layout, positions and encoder of v1 and v3 were not separated.",
    "Multiply-adds are torch's count of matrix products and convolutions, forward and backward; sums such as the Haar "
    "transform and the filling of features are not in it. CPU seconds are of a shared machine.",
)  # fmt: skip
_METHOD = (
    "Every mean carries the chance of the pictures and of the seeds: two-way random effects of pictures and seeds, t "
    "with Satterthwaite's degrees of freedom. With one seed the interval is over pictures alone. p-values exchange "
    "the two arms' scores "
    "picture by picture (10,000 times) on means over seeds and are corrected by Holm over their whole table. They "
    "speak of these "
    "networks on new pictures; the interval also speaks of new seeds. A difference is called supported where both "
    "agree."
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What one network says to a picture."""

    arm: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A test picture with its answers."""

    sample: str
    picture: str
    """PNG as a data URI."""
    reference: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    title: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    examples: tuple[Example, ...] = ()


def write_report(trainings: Sequence[Training], out: Path, report: Path) -> None:
    """Write the report on the trainings that are finished and tested; the others are listed as missing.

    Args:
        trainings: all trainings of the experiment.
        out: folder of the experiment.
        report: folder to write; an earlier report of this experiment in it is replaced.

    Raises:
        StoreError: `report` holds something else.
    """
    mark = report / "results.json"
    if report.is_dir() and any(report.iterdir()) and not mark.exists():
        raise StoreError(f"{report}: holds files that are no report; give a new or empty folder with --report")
    frames = read_frames(trainings, out)
    found = analyse(frames)
    report.mkdir(parents=True, exist_ok=True)
    sections = page(frames, found, trainings, out)
    write_json(mark, results(frames, found))
    (report / "index.html").write_text(_html(sections), encoding="utf-8", newline="\n")
    (report / "README.md").write_text(markdown(sections), encoding="utf-8", newline="\n")


def page(frames: Frames, found: Analysis, trainings: Sequence[Training], out: Path) -> list[Section]:
    """The report's sections in order."""
    tasks = [task for task in TASKS if any(row.task == task for row in found.rows)]
    overview = scores_figure(found)
    sections = [
        Section("Question", (QUESTION,)),
        *(Section(f"Conclusion, {task}", points=tuple(conclusions(found, task))) for task in tasks),
        _set_up(frames, trainings, out),
        Section(
            "Results",
            tables=tuple(main_table(found, task) for task in tasks),
            figures=(overview,) if overview else (),
        ),
        Section(
            "Learning",
            tables=tuple(t for task in tasks if (t := reach_table(found, task))),
            figures=tuple(f for task in tasks if (f := curves_figure(frames.curves, task))),
        ),
        Section("Pictures made worse", tables=tuple(t for task in tasks if (t := drop_table(found, task)))),
        Section(
            "The failure reproduced",
            (
                "A language model learns captions without pictures, is frozen, and only the front end and encoder "
                "before it "
                "are trained: v1 as published, and a repaired design. Pictures are the first of the test set.",
            ),
            tuple(frozen_conclusions(found)),
            frozen_tables(found),
            examples=examples(trainings, out),
        ),
        Section("Why", (_why_intro(found),), _WHY),
        Section("What this does not show", points=_LIMITS),
    ]
    if found.missing:
        sections.insert(1 + len(tasks), Section("Missing", tables=(missing_table(found.missing),)))
    return sections


def _why_intro(found: Analysis) -> str:
    """Which of the reasons the numbers bear on, task by task."""
    text = "Likely reasons of the published result, from reading its code. "
    measured = {task: [d for arm in ("v1", "v3") if (d := found.difference(task, arm, "patches"))] for task in TASKS}
    if not any(measured.values()):
        return text + "None of them is measured here yet."
    for task, differences in measured.items():
        weak = [d.arm for d in differences if d.supported and d.estimate.value < 0 and d.estimate.n_seeds > 1]
        others = [d.arm for d in differences if d.arm not in weak]
        if weak:
            text += (
                f"Measured on {task}: with a sound schedule and a trained decoder, {listed(weak)} still "
                f"{'falls' if len(weak) == 1 else 'fall'} behind patches, so the frozen decoder is not the whole of "
                "it; which of the other reasons counts how much is not measured. "
            )
        if others:
            text += (
                f"On {task} these numbers do not firmly show {listed(others)} below patches once the decoder is "
                "trained, so they do not support blaming layout and scale there. "
            )
    return text.strip()


def _set_up(frames: Frames, trainings: Sequence[Training], out: Path) -> Section:
    """Counts as they are in recipes, cards and test set."""
    rows = []
    for name, task in TASKS.items():
        recipe = recipe_of(name, next(iter(FRONT_ENDS)), 0)
        done = frames.trainings[frames.trainings["task"] == name] if len(frames.trainings) else frames.trainings
        tested = frames.scores[frames.scores["task"] == name]["sample"].nunique()
        rows.append(
            (
                name,
                f"{task.network['height']} x {task.network['width_px']}",
                f"{recipe.optimiser.steps:,} x {recipe.optimiser.batch}",
                f"{recipe.optimiser.steps * recipe.optimiser.batch:,}",
                f"{recipe.optimiser.learning_rate:g}",
                f"every {recipe.validation.every} steps on {recipe.validation.examples}",
                f"{tested}",
                f"{len(done)} of {sum(t.task == name for t in trainings)}",
            )
        )
    manifest = out / "data" / "manifest.json"
    seed = f" (seed {read_json(manifest)['seed']} of the generator)" if manifest.is_file() else ""
    table = Table(
        "The trainings",
        (
            "task", "pixels, height x width", "steps x batch", "training pictures", "learning rate", "validation",
            "test pictures", "finished and tested",
        ),
        tuple(rows),
    )  # fmt: skip
    return Section(
        "Set-up",
        (
            "One network and schedule for every arm: width 128, a front end, an encoder of two layers where the "
            "design has one, a small "
            "causal decoder; only the front end differs. Training pictures are drawn without end and never repeat; "
            f"the test pictures are drawn from a stream of their own{seed}. The weights kept are those of the best "
            "validation. "
            "Answers are greedy.",
            _METHOD,
        ),
        tables=(table, arms_table()),
    )  # fmt: skip


def examples(trainings: Sequence[Training], out: Path) -> tuple[Example, ...]:
    """The first pictures of the test set with the first seed's answers; unpicked."""
    runs: dict[str, Run] = {}
    for training in trainings:
        name = label(training)
        if training.task != "scenes" or training.seed != 0 or name not in _SHOWN:
            continue
        asked = questions(training, out)
        run = sealed(*asked[0], out) if asked else None
        if run is not None:
            runs[name] = run
    if not runs:
        return ()
    tables = {name: _captioned(runs[name]) for name in _SHOWN if name in runs}
    first = next(iter(tables.values()))
    reader = open_dataset("coco", out / "data", {})
    made = []
    for sample in list(first)[:_EXAMPLES]:
        row = first[sample]
        image = ImageRef(row["image_locators"][0], row["image_keys"][0])
        picture = io.BytesIO()
        decode(reader.image_bytes(image), image.locator).save(picture, "PNG")
        uri = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode("ascii")
        answers = tuple(
            Answer(arm, str(table[sample]["text"]), bool(table[sample]["value"] == 1)) for arm, table in tables.items()
        )
        made.append(Example(str(sample), uri, str(row["references"][0]), answers))
    return tuple(made)


def _captioned(run: Run) -> dict[str, dict[str, Any]]:
    """Sample → its row with the exact-match value, clean pictures alone."""
    rows, scores = run.samples(), run.scores()
    scores = scores[(scores["task"] == "scenes") & scores["signature"].str.startswith("exact_match|")]
    joined = rows[rows["task"] == "scenes"].merge(scores[["sample_id", "value"]], on="sample_id")
    return {str(row["sample_id"]): row for row in joined.to_dict("records")}


def results(frames: Frames, found: Analysis) -> dict[str, Any]:
    """All numbers as JSON types."""
    return {
        "schema_version": 1,
        "question": QUESTION,
        "metrics": {name: task.metric for name, task in TASKS.items()},
        "trainings": frames.trainings.to_dict("records"),
        "curves": frames.curves.to_dict("records"),
        "conclusions": {task: conclusions(found, task) for task in TASKS if any(r.task == task for r in found.rows)},
        "frozen_conclusions": frozen_conclusions(found),
        **{
            name: [asdict(item) for item in getattr(found, name)]
            for name in ("rows", "differences", "frozen", "frozen_differences", "drops", "reach", "missing")
        },
    }


def _html(sections: Sequence[Section]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html").render(title=TITLE, sections=sections, safe=Markup) + "\n"


def markdown(sections: Sequence[Section]) -> str:
    """The page as Markdown; figures and pictures are in `index.html` alone."""
    parts = [f"# {TITLE}\n", "Figures and pictures: `index.html`. All numbers: `results.json`.\n"]
    for section in sections:
        parts.append(f"## {section.title}\n")
        parts += [f"{text}\n" for text in section.paragraphs]
        if section.points:
            parts.append("\n".join(f"- {text}" for text in section.points) + "\n")
        for table in section.tables:
            parts.append(f"### {table.title}\n\n{_markdown_table(table.columns, table.rows)}")
            parts += [f"{table.note}\n"] if table.note else []
        for example in section.examples:
            rows = [("reference", example.reference, "")]
            rows += [(a.arm, a.text, "right" if a.right else "wrong") for a in example.answers]
            parts.append(f"### Sample {example.sample}\n\n{_markdown_table(('', 'caption', ''), rows)}")
    return "\n".join(parts)


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        kept = (" ".join(c.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").split()) for c in cells)
        return f"| {' | '.join(kept)} |"

    return "\n".join([line(columns), "|" + " --- |" * len(columns), *map(line, rows)]) + "\n"
