"""Readers of real training data: both forms, the held-out share, and damaged rows.

Evidence: small data sets in the on-disk format of the published ones, written for each test.
"""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import DatasetError, TrainingError
from harness.training.files import Captions, Files, LatexFormulas, Recaptions, is_held_out
from harness.training.recipe import Recipe
from harness.training.sources import SOURCES, mixture_of, source_class

ROWS = 40


def png(number: int) -> bytes:
    """A picture whose colour tells its number."""
    file = io.BytesIO()
    Image.new("RGB", (9, 7), (number, 255 - number, 0)).save(file, "PNG")
    return file.getvalue()


def shards(folder: Path, rows: list[dict[str, Any]], split: str = "train") -> Path:
    """Two parquet shards in row groups of seven."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        path = folder / f"{split}-{number:05d}-of-00002.parquet"
        pq.write_table(pa.Table.from_pylist(part), path, row_group_size=7)
    return folder


def recap_rows() -> list[dict[str, Any]]:
    return [
        {
            "id": f"{n:09d}",
            "image": {"bytes": png(n), "path": f"{n}.png"},
            "conversations": [
                {"from": "human", "value": "<image>\nDescribe this image."},
                {"from": "gpt", "value": f"colour {n}"},
            ],
        }
        for n in range(ROWS)
    ]


def recap(folder: Path, rows: list[dict[str, Any]] | None = None, **options: Any) -> Recaptions:
    shards(folder / "data", rows if rows is not None else recap_rows())
    return Recaptions(str(folder), **{"held_out_share": 0.3, **options})


def latex(folder: Path, **options: Any) -> LatexFormulas:
    rows = [{"image": {"bytes": png(n), "path": None}, "latex_formula": f"x_{{{n // 2}}} "} for n in range(ROWS)]
    return LatexFormulas(str(shards(folder / "cleaned_formulas", rows)), **{"held_out_share": 0.3, **options})


def official(folder: Path, **options: Any) -> Captions:
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    listed = [{"id": n, "file_name": f"{n:012d}.png"} for n in range(ROWS)]
    told = [{"id": 2 * n + k, "image_id": n, "caption": f"colour {n} {k}"} for k in (0, 1) for n in range(ROWS)]
    content = json.dumps({"images": listed, "annotations": told})
    (folder / "annotations" / "captions_train2017.json").write_text(content)
    for n in range(ROWS):
        (folder / "train2017" / f"{n:012d}.png").write_bytes(png(n))
    return Captions(str(folder), **{"held_out_share": 0.3, **options})


def hub_captions(folder: Path, **options: Any) -> Captions:
    rows = [{"image": {"bytes": png(n)}, "answer": [f"colour {n} 0", f"colour {n} 1"]} for n in range(ROWS)]
    return Captions(str(shards(folder / "data", rows).parent), **{"held_out_share": 0.3, **options})


MAKERS: dict[str, Any] = {"recap": recap, "latex": latex, "official": official, "hub": hub_captions}


def seen(source: Files, draws: int = 200) -> tuple[set[int], set[int]]:
    """Numbers of the pictures on both sides."""
    rng = np.random.default_rng(0)
    training = {int(source.draw(rng, 0.5).images[0][0, 0, 0]) for _ in range(draws)}
    return training, {int(source.held_out(rng).images[0][0, 0, 0]) for _ in range(draws)}


@pytest.mark.parametrize("name", MAKERS)
def test_every_row_is_on_one_side_and_reachable(name: str, tmp_path: Path) -> None:
    training, held_out = seen(MAKERS[name](tmp_path))
    assert not training & held_out
    assert training | held_out == set(range(ROWS))
    assert 3 <= len(held_out) <= 22


@pytest.mark.parametrize("name", MAKERS)
def test_pictures_and_texts_belong_together(name: str, tmp_path: Path) -> None:
    source = MAKERS[name](tmp_path)
    rng = np.random.default_rng(1)
    for example in [source.draw(rng, 0.0), source.draw(rng, 1.0), source.held_out(rng)]:
        (picture,), (turn,) = example.images, example.turns
        number = int(picture[0, 0, 0])
        assert picture.shape == (7, 9, 3)
        assert picture.dtype == np.uint8
        assert f"{{{number // 2}}}" in turn.answer or turn.answer.startswith(f"colour {number}")
        assert turn.answer == turn.answer.strip()


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_drawn_depends_on_the_generator_alone(name: str, tmp_path: Path) -> None:
    one = MAKERS[name](tmp_path)
    two = type(one)(one.path, held_out_share=0.3)
    one.draw(np.random.default_rng(9), 0.2)
    for number in range(3):
        first = one.draw(np.random.default_rng(number), 0.1)
        second = two.draw(np.random.default_rng(number), 0.9)
        assert (first.turns, first.images[0].tobytes()) == (second.turns, second.images[0].tobytes())


@pytest.mark.parametrize("name", MAKERS)
def test_texts_are_those_of_training_rows(name: str, tmp_path: Path) -> None:
    source = MAKERS[name](tmp_path)
    texts = source.texts()
    answers = {source.example(int(n)).turns[0].answer for n in source._opened().training}
    assert {t.split("Describe this image. ")[-1] for t in texts} == answers


def test_the_place_of_the_image_is_taken_out_of_a_question(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = recap(tmp_path)
    assert source.draw(rng, 0.0).turns[0].prompt == "Describe this image."
    assert Recaptions(source.path, prompt="describe it").draw(rng, 0.0).turns[0].prompt == "describe it"


def test_a_held_out_picture_accepts_all_its_captions(tmp_path: Path) -> None:
    turn = official(tmp_path).held_out(np.random.default_rng(0)).turns[0]
    assert {turn.answer.split()[-1], *(a.split()[-1] for a in turn.accepted)} == {"0", "1"}


def test_equal_formulas_are_on_one_side(tmp_path: Path) -> None:
    training, held_out = seen(latex(tmp_path))
    assert not {n // 2 for n in training} & {n // 2 for n in held_out}


def test_the_first_rows_alone_are_used_where_that_is_asked(tmp_path: Path) -> None:
    training, held_out = seen(latex(tmp_path, first=20))
    assert training | held_out == set(range(20))


def test_folders_of_save_to_disk_are_read_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = recap_rows()
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image(decode=False))
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "saved"))
    training, held_out = seen(Recaptions(str(tmp_path / "saved"), held_out_share=0.3), 150)
    assert not training & held_out


def test_damaged_rows_are_named_once_and_others_drawn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = recap_rows()
    rows[3]["image"]["bytes"] = png(3)[:40]
    rows[4]["conversations"] = [{"from": "gpt", "value": "a"}, {"from": "human", "value": "b"}]
    rows[5]["image"] = None
    rows[6]["conversations"][1]["value"] = " "
    source = recap(tmp_path, rows)
    with caplog.at_level(logging.WARNING):
        training, held_out = seen(source)
    assert training | held_out == set(range(ROWS)) - {3, 4, 5, 6}
    assert set(source.faults) == {3, 4, 5, 6}
    assert len(caplog.messages) == 4
    for number, words in ((3, "row 4 image"), (4, "turns of human and gpt"), (5, "no picture"), (6, "answer is empty")):
        (line,) = [m for m in caplog.messages if f"train row {number + 1}" in m]
        assert words in line
        assert str(tmp_path) in line


def test_damaged_rows_are_refused_where_that_is_asked(tmp_path: Path) -> None:
    rows = recap_rows()
    for row in rows:
        row["image"]["bytes"] = b"no picture"
    source = recap(tmp_path, rows, damaged="refuse")
    with pytest.raises(DatasetError, match=r"train row \d+ image.*set damaged: skip"):
        source.draw(np.random.default_rng(0), 0.0)
    source.damaged = "skip"
    with pytest.raises(DatasetError, match="32 rows in a row are damaged"):
        source.draw(np.random.default_rng(0), 0.0)


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = official(tmp_path, damaged="refuse")
    for file in (tmp_path / "train2017").iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match=r"train2017/\d+\.png is not there"):
        source.draw(np.random.default_rng(0), 0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"path": "nowhere"}, "no such folder"), ({"split": "test"}, "has no split test; it has train, other")],
)
def test_data_that_is_not_there_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = recap(tmp_path).path
    shards(tmp_path / "data", recap_rows(), "other")
    with pytest.raises(DatasetError, match=words.replace("train, other", "other, train")):
        Recaptions(**{"path": path, **change}).draw(np.random.default_rng(0), 0.0)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no column latex_formula or .*it has id, image, conversations"):
        LatexFormulas(recap(tmp_path).path).texts()


def test_one_side_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="40 rows for training and 0 held out"):
        recap(tmp_path, held_out_share=1e-9).draw(np.random.default_rng(0), 0.0)


def test_the_held_out_share_is_what_was_asked() -> None:
    # 4 standard deviations of 20,000 draws at 0.1.
    share = sum(is_held_out(str(n), 0.1) for n in range(20_000)) / 20_000
    assert share == pytest.approx(0.1, abs=0.0085)


@pytest.mark.parametrize("options", [{"path": "a", "damaged": "no"}, {"path": "a", "held_out_share": 1}, {"pth": "a"}])
def test_wrong_options_of_a_recipe_are_refused(options: dict[str, Any]) -> None:
    data = [{"source": "llava-recap", "options": options}]
    recipe = Recipe.model_validate(
        {
            "name": "a",
            "description": "d",
            "trainee": "wavelet",
            "data": data,
            "optimiser": {"learning_rate": 1, "steps": 1},
        }
    )
    with pytest.raises(TrainingError, match=r"data\.0\.options"):
        mixture_of(recipe, "recipe")


def test_procedural_recipes_import_no_readers() -> None:
    code = (
        "import sys; import harness.training.sources; "
        "assert not {'harness.training.files', 'pyarrow'} & sys.modules.keys(), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_source_has_a_class() -> None:
    assert all(hasattr(source_class(name), "draw") for name in SOURCES)
