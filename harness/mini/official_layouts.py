"""Writers of each mini benchmark in its official layout on disk.

Each takes a folder to make, a generator and a number of pictures and returns how many of what it wrote. No picture
occurs twice within one benchmark (in NLVR2, no pair of pictures within one set).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness.mini import chart_questions, charts, formulas, questions, scenes, science, statements, tones
from harness.mini.canvas import Pixels, png
from harness.mini.streams import Dice

T = TypeVar("T")
Counts = dict[str, int]
Writer = Callable[[Path, np.random.Generator, int], Counts]


def save(path: Path, content: bytes | str) -> None:
    """Write a file and the folders above it; text as UTF-8 with the line ends it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON with sorted keys and a line end."""
    return json.dumps(value, sort_keys=True, indent=indent) + "\n"


def _distinct(n: int, make: Callable[[], T], picture: Callable[[T], Pixels]) -> list[T]:
    """`n` results of `make` whose pictures all differ."""
    kept: list[T] = []
    seen: set[bytes] = set()
    while len(kept) < n:
        item = make()
        key = picture(item).tobytes()
        if key not in seen:
            seen.add(key)
            kept.append(item)
    return kept


def write_coco(folder: Path, rng: np.random.Generator, n: int) -> Counts:
    """COCO captions: `annotations/captions_val2017.json`, `val2017/000000000001.png`."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(_distinct(n, lambda: scenes.draw(rng), lambda s: s.image), start=1):
        name = f"{number:012d}.png"
        save(folder / "val2017" / name, png(scene.image))
        side = scenes.SIZE_PX
        images.append({"id": number, "file_name": name, "height": side, "width": side, "license": 1})
        for caption in scene.captions:
            annotations.append({"image_id": number, "id": len(annotations) + 1, "caption": caption})
    document = {
        "info": {"description": "Mini scenes in the layout of COCO 2017 captions", "version": "1.0", "year": 2026},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "images": images,
        "annotations": annotations,
    }
    save(folder / "annotations" / "captions_val2017.json", as_json(document))
    return {"images": n, "captions": len(annotations)}


def write_chartqa(folder: Path, rng: np.random.Generator, n: int) -> Counts:
    """ChartQA: `ChartQA Dataset/test/{png,tables,test_human.json,test_augmented.json}`; each chart has a table.

    The header of a table is `Entity` and the chart's title; line ends are CRLF, as in the published tables.
    """
    test = folder / "ChartQA Dataset" / "test"
    asked: dict[chart_questions.Subset, list[dict[str, str]]] = {"human": [], "augmented": []}
    for number, chart in enumerate(_distinct(n, lambda: charts.draw(rng), lambda c: c.image), start=1):
        name = f"mini_{number:04d}"
        save(test / "png" / f"{name}.png", png(chart.image))
        save(test / "tables" / f"{name}.csv", "".join(f"{a},{b}\r\n" for a, b in charts.table(chart.plan)))
        dice = Dice(rng)
        subsets: list[chart_questions.Subset] = ["human", "augmented"]
        if dice.chance(0.5):
            subsets.append("human" if dice.chance(0.5) else "augmented")
        queries: set[str] = set()
        for subset in subsets:
            question = chart_questions.ask(dice, chart.plan, subset)
            while question.query in queries:
                question = chart_questions.ask(dice, chart.plan, subset)
            queries.add(question.query)
            asked[subset].append({"imgname": f"{name}.png", "query": question.query, "label": question.label})
    for subset, rows_asked in asked.items():
        save(test / f"test_{subset}.json", json.dumps(rows_asked, indent=1) + "\n")
    return {"charts": n, **{f"{subset} questions": len(rows_asked) for subset, rows_asked in asked.items()}}


_MMBENCH_COLUMNS = (
    *("index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image"),
    *("source", "l2-category", "comment", "split"),
)


def write_mmbench(folder: Path, rng: np.random.Generator, n: int) -> Counts:
    """MMBench: `mmbench_dev_mini.tsv` with base passes only, pictures as base64 in the column `image`."""
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, _MMBENCH_COLUMNS, delimiter="\t", lineterminator="\n", restval="")
    table.writeheader()
    options: Counter[str] = Counter()
    for index, item in enumerate(_distinct(n, lambda: questions.draw(rng), lambda q: q.image), start=1):
        asked = item.question
        options[f"with {len(asked.options)} options"] += 1
        table.writerow(
            {
                "index": index,
                "question": asked.question,
                "hint": asked.hint,
                **dict(zip(questions.LETTERS, asked.options, strict=False)),
                "answer": questions.LETTERS[asked.answer],
                "category": asked.category,
                "image": base64.b64encode(png(item.image)).decode(),
                "source": "harness-mini",
                "l2-category": questions.CATEGORIES[asked.category],
                "split": "dev",
            }
        )
    save(folder / "mmbench_dev_mini.tsv", buffer.getvalue())
    return {"questions": n, **dict(sorted(options.items()))}


def write_scienceqa(folder: Path, rng: np.random.Generator, n: int) -> Counts:
    """ScienceQA: `problems.json`, `pid_splits.json`, `captions.json`, `images/test/<pid>/image.png`.

    Three of every five problems have a picture; `minitest` is the first quarter of `test`.
    """
    pictured = [i % 5 in (0, 2, 4) for i in range(n)]
    with_image = _distinct(sum(pictured), lambda: science.draw(rng, with_image=True), _picture)
    problems: dict[str, dict[str, Any]] = {}
    captions: dict[str, str] = {}
    for number, has_image in enumerate(pictured, start=1):
        problem = with_image.pop(0) if has_image else _new_text_problem(rng, problems)
        pid = str(number)
        if problem.image is not None:
            save(folder / "images" / "test" / pid / "image.png", png(problem.image))
            captions[pid] = problem.caption
        problems[pid] = {
            "question": problem.question,
            "choices": list(problem.choices),
            "answer": problem.answer,
            "hint": problem.hint,
            "image": "image.png" if has_image else None,
            "task": "closed choice",
            "grade": problem.grade,
            "subject": problem.subject,
            "topic": problem.topic,
            "category": problem.category,
            "skill": problem.skill,
            "lecture": problem.lecture,
            "solution": problem.solution,
            "split": "test",
        }
    save(folder / "problems.json", as_json(problems, indent=1))
    pids = list(problems)
    save(folder / "pid_splits.json", as_json({"test": pids, "minitest": pids[: n // 4]}))
    save(folder / "captions.json", as_json({"captions": captions}, indent=1))
    return {"problems": n, "with image": len(captions), "text only": n - len(captions)}


def _picture(problem: science.Problem) -> Pixels:
    assert problem.image is not None
    return problem.image


def _new_text_problem(rng: np.random.Generator, problems: dict[str, dict[str, Any]]) -> science.Problem:
    """A problem of text alone whose hint, question and choices (in any order) are not there yet."""
    seen = {(p["hint"], p["question"], *sorted(p["choices"])) for p in problems.values()}
    while True:
        problem = science.draw(rng, with_image=False)
        if (problem.hint, problem.question, *sorted(problem.choices)) not in seen:
            return problem


def write_nlvr2(folder: Path, rng: np.random.Generator, n: int) -> Counts:
    """NLVR2: `data/dev.json` as JSON lines, `images/dev/dev-<set>-<pair>-img0.png` (left) and `-img1.png` (right).

    `n` counts pairs of pictures; four pairs are a set with two sentences.
    """
    lines, sentences = [], 0
    for number in range(n // statements.PAIRS):
        made = statements.group(Dice(rng))
        for pair, layouts in enumerate(made.pairs):
            for side, layout in enumerate(layouts):
                name = f"dev-{number}-{pair}-img{side}.png"
                save(folder / "images" / "dev" / name, png(scenes.render(layout)))
        for k, (sentence, truth) in enumerate(zip(made.sentences, made.truth, strict=True)):
            sentences += 1
            for pair, value in enumerate(truth):
                row = {"sentence": sentence, "label": str(value), "identifier": f"dev-{number}-{pair}-{k}"}
                urls = {"left_url": "", "right_url": ""}
                lines.append({**row, **urls, "synset": "shape", "query": "", "writer": "0", "validation": {}})
    save(folder / "data" / "dev.json", "".join(as_json(line) for line in lines))
    return {"examples": len(lines), "sentences": sentences, "pairs": n}


def write_latex(folder: Path, rng: np.random.Generator, n: int) -> Counts:
    """im2latex: `im2latex_mini/formulas.lst`, `test.lst` (line, picture, render type) and `images/`."""
    root = folder / "im2latex_mini"
    made: dict[str, formulas.Formula] = {}
    while len(made) < n:
        formula = formulas.draw(rng, "test")
        made.setdefault(formula.latex, formula)
    entries = []
    for line, (latex, formula) in enumerate(made.items()):
        name = hashlib.sha256(latex.encode()).hexdigest()[:10]
        save(root / "images" / f"{name}.png", png(formula.image))
        entries.append(f"{line} {name} basic\n")
    save(root / "formulas.lst", "".join(f"{latex}\n" for latex in made))
    save(root / "test.lst", "".join(entries))
    return {"formulas": n}


def write_librispeech(folder: Path, rng: np.random.Generator, n: int) -> Counts:
    """LibriSpeech: `LibriSpeech/mini/<speaker>/<chapter>/`, a transcript file and a WAV file for each of its lines.

    One utterance for every sixteen of `n`, and at least four; three speakers take turns.
    """
    dice, pitches = Dice(rng), {"11": 0.9, "12": 1.0, "13": 1.1}
    lines: dict[str, list[str]] = {speaker: [] for speaker in pitches}
    seen: set[str] = set()
    count = max(4, n // 16)
    while len(seen) < count:
        speaker = list(pitches)[len(seen) % len(pitches)]
        utterance = tones.draw(dice, pitches[speaker])
        if utterance.text not in seen:
            seen.add(utterance.text)
            name = f"{speaker}-100-{len(lines[speaker]):04d}"
            lines[speaker].append(f"{name} {utterance.text}\n")
            save(folder / "LibriSpeech" / "mini" / speaker / "100" / f"{name}.wav", tones.wav(utterance.samples))
    for speaker, written in lines.items():
        save(folder / "LibriSpeech" / "mini" / speaker / "100" / f"{speaker}-100.trans.txt", "".join(written))
    return {"utterances of tones": count, "speakers": len(pitches)}


WRITERS: dict[str, Writer] = {
    "coco": write_coco,
    "chartqa": write_chartqa,
    "mmbench": write_mmbench,
    "scienceqa": write_scienceqa,
    "nlvr2": write_nlvr2,
    "latex": write_latex,
    "librispeech": write_librispeech,
}
"""Benchmark → its writer; the name is the folder's name."""
