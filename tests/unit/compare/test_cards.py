"""The comparison of cards: worked examples on the bundled cards, bad input, and the committed examples made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cards.loading import bundled_cards
from harness.compare.cards import TASK_KINDS, compare_cards
from harness.compare.tables import Cell, Comparison
from harness.compare.writing import FORMATS
from harness.engine.run import run_suite
from harness.errors import CardError, StoreError, UnknownNameError

EXAMPLES = Path(__file__).resolve().parents[3] / "reports" / "examples"


def cell(comparison: Comparison, table: str, heading: str, card: str) -> Cell:
    found = next(t for t in comparison.tables if t.title == table)
    row = next(r for r in found.rows if r.heading == heading)
    return row.cells[found.columns.index(card)]


def test_the_five_points_stand_in_the_table_with_their_sources() -> None:
    made = compare_cards(["llava-1.5-7b", "deplot"])
    headings = {row.heading.partition(":")[0] for row in made.tables[0].rows}
    assert {"Architecture", "Tasks", "Training data", "Domain", "Universality"} <= headings
    parameters = cell(made, "Five points", "Architecture: parameters", "deplot")
    assert parameters.text == "282,285,696"
    assert parameters.sources == ("computed: Pix2StructForConditionalGeneration on the meta device",)
    assert cell(made, "Five points", "Universality: claimed", "deplot").text.startswith(f"1 of {len(TASK_KINDS)} kinds")


def test_what_is_not_known_says_why() -> None:
    made = compare_cards(["clip-vit-base-patch32", "deplot"])
    tokens = cell(made, "Five points", "Architecture: image tokens", "clip-vit-base-patch32")
    assert tokens.text == "not known"
    assert tokens.sources == ("not known: two towers; no image position in a language model",)


def test_every_source_has_one_number_and_every_number_a_source() -> None:
    made = compare_cards(["llava-1.5-7b", "deplot", "ofa-large"])
    notes = made.footnotes()
    assert sorted(notes.values()) == list(range(1, len(notes) + 1))
    used = {s for table in made.tables for row in table.rows for c in row.cells for s in c.sources}
    assert used == set(notes)


def test_a_card_that_cannot_run_says_how_it_takes_part() -> None:
    made = compare_cards(["ofa-large", "pali-17b"])
    assert cell(made, "Five points", "How it takes part", "ofa-large").text == "by files of answers"
    assert cell(made, "Five points", "How it takes part", "pali-17b").text == "by description only"


def test_an_audio_row_is_there_only_for_models_that_hear() -> None:
    deaf = compare_cards(["llava-1.5-7b", "deplot"])
    assert not [row for row in deaf.tables[0].rows if row.heading == "Architecture: audio encoder"]
    hears = compare_cards(["whisper-tiny", "deplot"])
    audio = cell(hears, "Five points", "Architecture: audio encoder", "whisper-tiny")
    assert "16,000 Hz" in audio.text


def test_benchmarks_can_be_limited() -> None:
    made = compare_cards(["llava-1.5-7b", "deplot"], only=["ChartQA"])
    overlap, scores = made.tables[1:]
    assert [row.heading for row in overlap.rows] == ["ChartQA"]
    assert {row.heading.split(",")[0] for row in scores.rows} == {"ChartQA"}
    with pytest.raises(CardError, match=r"no benchmark named Chart here; known: .*ChartQA"):
        compare_cards(["llava-1.5-7b", "deplot"], only=["Chart"])


def test_published_scores_of_unlike_protocols_keep_their_protocol() -> None:
    made = compare_cards(["llava-1.5-7b", "deplot"])
    score = cell(made, "Published scores", "ChartQA, test, relaxed accuracy", "deplot")
    assert score.text == "67.3 (C)"
    assert "FlanPaLM" in score.sources[0]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["deplot"], CardError, "two or more"),
        (["deplot", "deplot"], CardError, "two or more different cards"),
        (["deplot", "majority-answer"], CardError, "majority-answer has no `describe:`"),
        (["deplot", "no-such-card"], UnknownNameError, "no model card named"),
    ],
)
def test_what_cannot_be_compared_is_refused(names: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        compare_cards(names)


def test_measured_universality_comes_from_runs(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no sealed run"):
        compare_cards(["llava-1.5-7b", "deplot"], runs=tmp_path)
    run_suite("smoke", ["majority-answer"], out=tmp_path)
    made = compare_cards(["llava-1.5-7b", "deplot"], runs=tmp_path)
    assert cell(made, "Five points", "Universality: measured", "deplot").text == "no run"


MADE = {
    "chart-questions": (
        ["clip-vit-large-patch14-336", "blip-vqa-base", "ofa-large", "llava-1.5-7b", "deplot"],
        ["ChartQA", "PlotQA", "VQAv2"],
    ),
    "llava-mplug": (["llava-1.5-7b", "mplug-large-vqa", "mplug-large-caption"], []),
}
"""Folder of a committed example → its cards and benchmarks; the commands are in its README."""


@pytest.mark.parametrize("name", sorted(MADE))
def test_committed_examples_are_what_the_cards_say_today(name: str) -> None:
    if not bundled_cards().samefile(EXAMPLES.parents[1] / "model_cards"):
        pytest.skip("the committed examples belong to the cards of the checkout")
    names, only = MADE[name]
    made = compare_cards(names, only=only)
    for ending, write in FORMATS.items():
        committed = (EXAMPLES / name / f"comparison.{ending}").read_text(encoding="utf-8")
        assert committed == write(made), f"{name}/comparison.{ending}: make it again with the command in its README"
