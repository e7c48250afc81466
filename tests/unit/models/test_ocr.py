"""Text recognition with the package's own weights: read words drawn here, and never fail on a picture without any."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("rapidocr", reason="the ocr extra is not installed")
pytest.importorskip("onnxruntime", reason="the ocr extra is not installed")

from harness.errors import ModelError
from harness.fingerprint import file_sha256, fingerprint
from harness.models.base import Generation, ModelInput
from harness.models.ocr import Ocr
from harness.records import GenerationSettings, ModelSettings, Problem
from tests.model_inputs import GREEDY, item, written

PLAIN = ModelSettings("reader", "ocr")


@pytest.fixture(scope="module")
def model() -> Ocr:
    return Ocr.load(PLAIN)


def page(*lines: str) -> Image.Image:
    pieces = [written(line) for line in lines]
    sheet = Image.new("RGB", (max(p.width for p in pieces), sum(p.height for p in pieces)), "white")
    for row, piece in enumerate(pieces):
        sheet.paste(piece, (0, 80 * row))
    return sheet


def answer(model: Ocr, image: Image.Image, settings: GenerationSettings = GREEDY) -> str:
    (found,) = model.generate(model.prepare([item(0, pictures=(image,))]), settings)
    assert isinstance(found, Generation)
    return found.text


def test_lines_are_read_from_top_to_bottom(model: Ocr) -> None:
    assert answer(model, page("Sales in Norway", "1,250", "1980")).split("\n") == ["Sales in Norway", "1,250", "1980"]


def test_words_of_one_height_are_read_from_left_to_right(model: Ocr) -> None:
    left, right = written("Alpha"), written("Omega")
    sheet = Image.new("RGB", (900, 80), "white")
    sheet.paste(right, (700, 0))
    sheet.paste(left, (0, 0))
    assert answer(model, sheet).split("\n") == ["Alpha", "Omega"]


@pytest.mark.parametrize("size", [(300, 200), (3, 2), (1, 1), (2500, 40)])
def test_a_picture_without_text_has_an_empty_answer(model: Ocr, size: tuple[int, int]) -> None:
    assert answer(model, Image.new("RGB", size, "white")) == ""


def test_an_equal_picture_is_read_once_and_an_unlike_one_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Ocr.load(PLAIN)
    seen = []
    monkeypatch.setattr(model, "read", lambda image: seen.append(image.size) or f"text {len(seen)}")
    texts = [answer(model, image) for image in (written("one"), written("two"), written("one"))]
    assert texts == ["text 1", "text 2", "text 1"]
    assert len(seen) == 2


def test_an_answer_is_cut_at_a_stop_string(model: Ocr) -> None:
    assert answer(model, page("First", "Second"), GenerationSettings(stop=("\n",))) == "First"


def test_another_number_of_images_is_a_problem_of_that_input(model: Ocr) -> None:
    inputs = [ModelInput(item(0).request, ()), item(1, pictures=(written("word"),))]
    none, one = model.generate(inputs, GREEDY)
    assert isinstance(none, Problem)
    assert none.kind == "unsupported_input"
    assert isinstance(one, Generation)


def test_identity_names_the_files_by_the_hashes_that_the_package_publishes() -> None:
    identity = Ocr.identify(PLAIN)
    published = {
        "PP-OCRv6_det_small.onnx": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        "PP-OCRv6_rec_small.onnx": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        "ch_ppocr_mobile_v2.0_cls_mobile.onnx": "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    }
    assert identity.processing["files"] == published


def test_every_option_is_part_of_the_identity() -> None:
    plain = fingerprint(Ocr.identify(PLAIN).processing)
    changes = {"min_score": 0.9, "box_threshold": 0.6, "upside_down": False, "max_side_px": 1000, "threads": 2}
    others = [Ocr.identify(dataclasses.replace(PLAIN, options={k: v})).processing for k, v in changes.items()]
    assert len({plain, *map(fingerprint, others)}) == 1 + len(changes)


def test_a_score_that_no_line_reaches_leaves_nothing() -> None:
    strict = Ocr.load(dataclasses.replace(PLAIN, options={"min_score": 1.0}))
    assert answer(strict, written("Norway")) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "somewhere"}, "take run.checkpoint out"),
        ({"device": "cuda"}, "runs on cpu"),
        ({"dtype": "float16"}, "runs in float32"),
        ({"options": {"min_score": 2}}, "run.options.min_score"),
    ],
)
def test_settings_that_mean_nothing_here_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Ocr.identify(dataclasses.replace(PLAIN, **change))


def test_a_damaged_file_stops_the_model_when_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options, files = Ocr._opened(PLAIN)
    broken = tmp_path / "PP-OCRv6_rec_small.onnx"
    broken.write_bytes(files["Rec"].read_bytes()[:1000])
    monkeypatch.setattr(Ocr, "_opened", classmethod(lambda cls, settings: (options, {**files, "Rec": broken})))
    assert Ocr.identify(PLAIN).processing["files"][broken.name] == file_sha256(broken)
    with pytest.raises(ModelError, match="cannot be read by onnxruntime"):
        Ocr.load(PLAIN)
