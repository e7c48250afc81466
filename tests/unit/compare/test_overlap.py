"""What names of data sets on a card mean for a benchmark: worked examples, and names that must not match."""

from __future__ import annotations

import pytest

from harness.cards.loading import load_card
from harness.cards.schema import Describe
from harness.compare.overlap import Overlap, benchmarks, overlaps


def described(name: str, *datasets: str) -> Describe:
    """The description of a card, with other training data where some is given."""
    describe = load_card(name).card.describe
    assert describe is not None
    if not datasets:
        return describe
    first = describe.training_data[0]
    data = [first.model_copy(update={"dataset": dataset}) for dataset in datasets]
    return describe.model_copy(update={"training_data": data})


def kinds(describe: Describe, benchmark: str) -> list[str]:
    return [entry.kind for entry in overlaps(describe, [benchmark])]


def test_llava_was_trained_on_vqav2_and_gqa_and_saw_coco_images() -> None:
    llava = described("llava-1.5-7b")
    assert kinds(llava, "VQAv2")[0] == "questions"
    assert kinds(llava, "GQA")[0] == "questions"
    assert set(kinds(llava, "COCO captions")) == {"images"}


@pytest.mark.parametrize("name", ["deplot", "matcha-chartqa", "pix2struct-chartqa-base", "qwen-vl"])
def test_chart_models_were_trained_on_chartqa(name: str) -> None:
    assert kinds(described(name), "ChartQA")[0] == "questions"


def test_web_data_is_not_excluded_and_never_hides_a_named_set() -> None:
    assert kinds(described("clip-vit-base-patch32"), "ChartQA") == ["possible"]
    assert kinds(described("llava-1.5-7b", "LAION", "ChartQA train"), "ChartQA") == ["questions"]


def test_visual_genome_counts_as_coco_images() -> None:
    (entry,) = overlaps(described("llava-1.5-7b", "Visual Genome"), ["COCO captions"])
    assert entry.kind == "images"
    assert "arXiv 1602.07332" in entry.source


@pytest.mark.parametrize("dataset", ["LAION-COCO-like", "COCOA", "VQ2A-CC3M-35L", "PlotQA2", "xChartQA"])
def test_a_name_inside_another_word_is_no_match(dataset: str) -> None:
    found = overlaps(described("llava-1.5-7b", dataset))
    assert [entry for entry in found if entry.kind != "possible"] == []


def test_a_speech_model_has_seen_nothing_of_image_benchmarks() -> None:
    found = overlaps(described("whisper-large-v3"))
    assert {entry.benchmark for entry in found} <= {"LibriSpeech"}


def test_stages_of_one_data_set_are_joined() -> None:
    (entry,) = overlaps(described("wav2vec2-base-960h"), ["LibriSpeech"])
    assert entry.text == "training speech and transcripts (LibriSpeech, pre-training and fine-tuning)"


def test_every_entry_says_where_it_comes_from() -> None:
    entries: list[Overlap] = [
        entry for name in ("llava-1.5-7b", "ofa-large", "deplot") for entry in overlaps(described(name))
    ]
    assert entries
    assert all(entry.source and entry.text and entry.benchmark in benchmarks() for entry in entries)
