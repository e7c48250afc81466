"""The committed mini benchmarks: written again byte for byte, in the official layouts, with right answers.

Equal bytes are expected where Pillow and its compression library, and numpy, are the ones of the manifest. Everywhere,
text files must be equal and pictures must decode to the same pixels; with another FreeType, edges of letters may differ
by a little.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import DatasetError
from harness.mini import bundled_data, formulas, scenes
from harness.mini.canvas import png
from harness.mini.fonts import dejavu_sans, math_italic, math_regular
from harness.mini.write import BUNDLED_N, BUNDLED_SEED, GENERATOR_VERSION, versions, write_mini
from tests.unit.mini.reading import answer, decode, judge, see
from tests.unit.mini.test_charts import answer_from_table

DATA = Path(scenes.__file__).parent / "data"
PACKAGE = Path(scenes.__file__).parent


@pytest.fixture(scope="module")
def again(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "out"
    write_mini(folder, seed=BUNDLED_SEED, n=BUNDLED_N)
    return folder


def listing(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def manifest() -> dict:
    return json.loads((DATA / "manifest.json").read_text())


def test_committed_files_are_those_the_generator_writes(again):
    assert listing(DATA) == listing(again)
    assert manifest()["generator_version"] == GENERATOR_VERSION


def test_committed_files_have_the_checksums_of_their_manifest():
    sums = manifest()["sha256"]
    assert set(sums) | {"manifest.json"} == listing(DATA)
    for name, digest in sums.items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest, name


def test_written_again_text_and_pixels_are_equal_and_bytes_too_with_the_same_libraries(again):
    same = manifest()["versions"] == versions()
    # Letters may be shaded a little differently by another FreeType; shapes and layout may not move.
    tolerance = 0 if manifest()["versions"]["freetype2"] == versions()["freetype2"] else 2.0
    for name in sorted(manifest()["sha256"]):
        ours, theirs = (again / name).read_bytes(), (DATA / name).read_bytes()
        if same:
            assert ours == theirs, name
        if name.endswith(".png"):
            assert difference(ours, theirs) <= tolerance, name
        elif name.endswith(".tsv"):
            for row, other in zip(rows_of(ours), rows_of(theirs), strict=True):
                images = [base64.b64decode(r.pop("image")) for r in (row, other)]
                assert row == other
                assert difference(*images) <= tolerance, row["index"]
        elif name != "README.md":
            assert ours == theirs, name


def difference(one: bytes, other: bytes) -> float:
    """Mean absolute difference of two pictures, in grey levels."""
    return float(np.abs(decode(one).astype(int) - decode(other)).mean())


def test_two_seeds_share_no_scene(tmp_path):
    write_mini(tmp_path / "a", seed=1, n=8)
    write_mini(tmp_path / "b", seed=2, n=8)
    pictures = [{p.read_bytes() for p in (tmp_path / side / "coco").rglob("*.png")} for side in "ab"]
    assert not pictures[0] & pictures[1]


@pytest.mark.parametrize(("seed", "n", "message"), [(0, 7, "n is 7"), (0, 0, "n is 0"), (-1, 4, "seed is -1")])
def test_numbers_out_of_range_are_refused(tmp_path, seed, n, message):
    with pytest.raises(DatasetError, match=message):
        write_mini(tmp_path / "out", seed=seed, n=n)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="is not an empty folder"):
        write_mini(tmp_path, seed=0, n=4)
    assert listing(tmp_path) == {"mine.txt"}


def test_report_counts_what_is_on_disk(tmp_path):
    report = write_mini(tmp_path / "out", seed=3, n=8)
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert report.n_files == len(files)
    assert report.size_bytes == sum(p.stat().st_size for p in files)
    assert report.counts["coco"] == {"images": 8, "captions": 40}


def test_bundled_data_is_the_committed_folder():
    assert bundled_data() == DATA


def test_data_stay_below_two_megabytes_and_fonts_below_one():
    assert sum((DATA / name).stat().st_size for name in listing(DATA)) < 2_000_000
    assert sum(p.stat().st_size for p in (PACKAGE / "fonts").iterdir()) < 1_000_000


def test_fonts_come_with_their_licences_and_changed_ones_without_the_reserved_name():
    licences = {p.name for p in (PACKAGE / "fonts").iterdir() if p.name.startswith("LICENSE")}
    assert licences == {"LICENSE_DEJAVU", "LICENSE_STIX"}
    assert dejavu_sans().stat().st_size > 700_000
    for path in (math_regular(), math_italic()):
        assert "STIX" not in path.name


def test_each_coco_image_has_five_different_captions_true_of_its_pixels():
    document = json.loads((DATA / "coco/annotations/captions_val2017.json").read_text())
    captions = defaultdict(list)
    for row in document["annotations"]:
        captions[row["image_id"]].append(row["caption"])
    assert len({row["id"] for row in document["annotations"]}) == len(document["annotations"])
    assert len(document["images"]) == BUNDLED_N
    for image in document["images"]:
        seen = see(decode((DATA / "coco/val2017" / image["file_name"]).read_bytes()))
        assert captions[image["id"]][0] == scenes.listing([f"a {s.size} {s.colour} {s.shape}" for s in seen])
        assert len(set(captions[image["id"]])) == 5
        for caption in captions[image["id"]]:
            named = re.findall(r"(\w+) (circle|square|triangle|cross)", caption)
            assert named == [(s.colour, s.shape) for s in seen]


@pytest.mark.parametrize("subset", ["human", "augmented"])
def test_chart_labels_follow_from_the_committed_tables(subset):
    test = DATA / "chartqa/ChartQA Dataset/test"
    rows = json.loads((test / f"test_{subset}.json").read_text())
    assert len(rows) >= BUNDLED_N
    assert len({(r["imgname"], r["query"]) for r in rows}) == len(rows)
    for row in rows:
        assert set(row) == {"imgname", "query", "label"}
        assert (test / "png" / row["imgname"]).is_file()
        table = (test / "tables" / row["imgname"].replace(".png", ".csv")).read_bytes().decode()
        header, *lines = list(csv.reader(io.StringIO(table, newline="")))
        assert table.count("\r\n") == len(lines) + 1
        assert header[0] == "Entity"
        expected = answer_from_table(row["query"], header[1], {a: int(b) for a, b in lines}, None)
        # Questions about a colour need the picture; test_charts answers them from the drawing.
        assert row["label"] == expected or (expected == "" and row["label"] in {b for _, b in lines}), row


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), delimiter="\t"))


def test_mmbench_answers_are_seen_in_the_committed_pictures():
    rows = rows_of((DATA / "mmbench/mmbench_dev_mini.tsv").read_bytes())
    assert len(rows) == BUNDLED_N
    columns = "index question hint A B C D answer category image source l2-category comment split"
    assert " ".join(rows[0]) == columns
    for row in rows:
        options = [row[letter] for letter in "ABCD" if row[letter]]
        seen = see(decode(base64.b64decode(row["image"])))
        assert row[row["answer"]] == answer(row["question"], seen), row["index"]
        assert len(set(options)) == len(options)
        assert row["split"] == "dev"
        assert int(row["index"]) < 1_000_000
    assert {sum(1 for letter in "ABCD" if row[letter]) for row in rows} == {2, 3, 4}
    assert any("\n" in row["hint"] for row in rows)


def test_scienceqa_files_agree_with_each_other():
    root = DATA / "scienceqa"
    problems = json.loads((root / "problems.json").read_text())
    splits = json.loads((root / "pid_splits.json").read_text())
    captions = json.loads((root / "captions.json").read_text())["captions"]
    assert set(splits["test"]) == set(problems)
    assert set(splits["minitest"]) < set(splits["test"])
    pictured = {pid for pid, problem in problems.items() if problem["image"]}
    assert len(pictured) == 0.6 * BUNDLED_N
    assert pictured == set(captions) == {p.name for p in (root / "images/test").iterdir()}
    fields = "answer category choices grade hint image lecture question skill solution split subject task topic"
    for problem in problems.values():
        assert 0 <= problem["answer"] < len(problem["choices"])
        assert " ".join(sorted(problem)) == fields
    assert {p["subject"] for p in problems.values()} == {"natural science", "language science"}


def test_scienceqa_questions_on_scenes_are_answered_by_the_pictures():
    root = DATA / "scienceqa"
    checked = 0
    for pid, problem in json.loads((root / "problems.json").read_text()).items():
        if problem["category"] == "Observing":
            seen = see(decode((root / "images/test" / pid / "image.png").read_bytes()))
            assert problem["choices"][problem["answer"]] == answer(problem["question"], seen), pid
            checked += 1
    assert checked > 20


def test_each_nlvr2_sentence_is_true_of_two_of_its_four_pairs_as_seen():
    lines = [json.loads(line) for line in (DATA / "nlvr2/data/dev.json").read_text().splitlines()]
    assert len({line["identifier"] for line in lines}) == len(lines) == 2 * BUNDLED_N
    groups = defaultdict(list)
    for line in lines:
        match = re.fullmatch(r"dev-(\d+)-(\d+)-(\d+)", line["identifier"])
        assert match is not None
        folder = DATA / "nlvr2/images/dev"
        pair = [see(decode((folder / f"dev-{match[1]}-{match[2]}-img{k}.png").read_bytes())) for k in (0, 1)]
        assert str(judge(line["sentence"], *pair)) == line["label"], line
        groups[match[1], match[3], line["sentence"]].append(line["label"])
    assert len(groups) == BUNDLED_N // 2
    assert all(Counter(labels) == {"True": 2, "False": 2} for labels in groups.values())


def test_latex_list_names_a_picture_of_each_formula_and_none_is_drawn_for_training():
    root = DATA / "latex/im2latex_mini"
    lines = (root / "formulas.lst").read_text().splitlines()
    entries = [line.split(" ") for line in (root / "test.lst").read_text().splitlines()]
    assert len(set(lines)) == len(lines) == len(entries) == BUNDLED_N
    assert {f"{name}.png" for _, name, _ in entries} == {p.name for p in (root / "images").iterdir()}
    pictures = set()
    for number, name, kind in entries:
        assert kind == "basic"
        with Image.open(root / "images" / f"{name}.png") as image:
            assert (image.mode, image.size) == ("L", (128, 48))
            pictures.add(image.tobytes())
        assert formulas.fold_of(lines[int(number)]) == "test"
    assert len(pictures) == len(lines)


def test_png_is_lossless_with_few_and_with_many_colours():
    few = np.zeros((8, 8, 3), np.uint8)
    few[2:4] = (250, 3, 77)
    many = np.arange(20 * 20 * 3, dtype=np.uint32).reshape(20, 20, 3).astype(np.uint8)
    many[..., 0] = np.arange(400).reshape(20, 20) // 2
    assert Image.open(io.BytesIO(png(few))).mode == "P"
    for pixels in (few, many):
        assert (decode(png(pixels)) == pixels).all()
