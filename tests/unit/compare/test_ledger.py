"""The ledger and the visual gain: worked examples of every status, on records made for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.compare.comparison import compare
from harness.compare.cost import cost
from harness.compare.ledger import ledger
from harness.compare.run_tables import run_tables
from harness.engine.run import run_suite
from harness.records import GenerationSettings
from harness.store.runs import Run, read_run
from harness.tasks.schema import Subset

STORED = Path(__file__).resolve().parents[2] / "stored" / "run-v1"


def claim(**changes: Any) -> dict[str, Any]:
    return {
        "benchmark": "ChartQA",
        "split": "test",
        "protocol": "greedy",
        "metric": "relaxed accuracy",
        "value": 18.2,
        "source": "a paper",
        "confidence": "A",
        **changes,
    }


def run_with(estimate: float = 0.182, *claims: dict[str, Any], **plan: Any) -> Run:
    """The stored run with claims on its card, and a whole real ChartQA test split with this value."""
    run = read_run(STORED)
    task = next(task for task in run.record.tasks if task.plan.name == "chartqa")
    values = tuple(replace(v, estimate=estimate) if v.variant == "pix2struct" else v for v in task.values)
    made = replace(
        task, values=values, plan=replace(task.plan, **{"data": "a folder", "subset": {}, **plan}), unscored={}
    )
    card = {"describe": {"published": list(claims)}}
    return replace(run, record=replace(run.record, tasks=(made,), card=card))


@pytest.mark.parametrize(
    ("estimate", "changes", "plan", "status"),
    [
        (0.182, {}, {}, "reproduced"),
        (0.1869, {}, {}, "reproduced"),
        (0.2, {}, {}, "off by +1.8"),
        (0.15, {}, {}, "off by -3.2"),
        (0.182, {"confidence": "C"}, {}, "not gated: recalled only"),
        (0.182, {"split": "val"}, {}, "protocol differs: split val against test"),
        (0.182, {}, {"subset": {"first": 10}}, "protocol differs: part of the split"),
        (0.182, {}, {"data": "bundled"}, "protocol differs: mini data"),
        (0.182, {"protocol": "beam 5"}, {}, "protocol differs: beam 5 against 1"),
        (0.182, {"protocol": "beam 5"}, {"generation": GenerationSettings(num_beams=5)}, "reproduced"),
        (0.182, {"protocol": "fine-tuned; not this checkpoint"}, {}, "protocol differs: another checkpoint"),
        (0.182, {"benchmark": "VQAv2"}, {}, "not measured"),
        (0.182, {"metric": "ANLS"}, {}, "not measured"),
        (0.182, {"value": None}, {}, "no published value"),
    ],
)
def test_every_status_has_its_reason(
    estimate: float, changes: dict[str, Any], plan: dict[str, Any], status: str
) -> None:
    (entry,) = ledger(run_with(estimate, claim(**changes), **plan))
    assert entry.status == status
    if status != "not measured":
        assert entry.measured == pytest.approx(100 * estimate)


def test_cider_is_compared_on_the_scale_of_papers() -> None:
    run = read_run(STORED)
    task = next(task for task in run.record.tasks if task.plan.name == "coco-captions")
    values = tuple(replace(v, estimate=1.101) if v.metric == "cider" else v for v in task.values)
    made = replace(task, values=values, plan=replace(task.plan, data="a folder", subset={}), unscored={})
    score = claim(benchmark="COCO captions", split="2017 val", metric="CIDEr", value=110.4)
    # a split is one word here: "val2017" holds "val"
    card = {"describe": {"published": [score]}}
    (entry,) = ledger(replace(run, record=replace(run.record, tasks=(made,), card=card)))
    assert entry.measured == pytest.approx(110.1)
    assert entry.status == "reproduced"


def test_a_card_without_claims_has_an_empty_ledger() -> None:
    assert ledger(read_run(STORED)) == []


def test_visual_gain_is_the_difference_to_the_blank_picture(tmp_path: Path) -> None:
    models = ["nearest-neighbour", "blank-image:nearest-neighbour"]
    outcome = run_suite("smoke", models, out=tmp_path, subset=Subset(first=20))
    compared = compare(outcome.runs, permutations=100, resamples=100)
    table = next(t for t in run_tables(compared).tables if t.title == "Visual gain")
    (row,) = table.rows
    assert row.heading == "chartqa, relaxed_accuracy@pix2struct: nearest-neighbour against blank-image"
    pair = next(p for p in compared.pairs if p.main)
    sign = 1 if pair.first == "nearest-neighbour" else -1
    assert float(row.cells[0].text) == pytest.approx(100 * sign * pair.difference, abs=0.05)


def test_frames_have_a_row_for_every_pair_and_standing(tmp_path: Path) -> None:
    outcome = run_suite("smoke", ["majority-answer", "random-choice"], out=tmp_path)
    compared = compare(outcome.runs, permutations=100, resamples=100)
    pairs, standings = compared.pair_frame(), compared.standing_frame()
    assert len(pairs) == len(compared.pairs) == 4
    assert len(standings) == len(compared.standings) == 8
    assert {"difference", "low", "high", "p_holm", "differs"} <= set(pairs)
    assert {"model", "estimate", "low", "high", "n_scored", "letters", "rank_low"} <= set(standings)


def test_multiply_adds_are_parameters_times_tokens_plus_the_patches(tmp_path: Path) -> None:
    run = run_suite("smoke", ["majority-answer"], out=tmp_path, subset=Subset(first=3)).runs[0]
    assert cost(run).multiply_adds is None

    def fact(value: int) -> dict[str, int]:
        return {"value": value}

    vision = {"parameters": fact(1000), "input_px": fact(32), "patch_px": fact(8)}
    architecture = {
        "parameters": fact(5000),
        "image_tokens": fact(16),
        "language_model": {"parameters": fact(2000)},
        "vision_encoder": vision,
    }
    frame = run.samples().assign(prompt_tokens=20.0, output_tokens=4.0)
    made = replace(run, record=replace(run.record, card={"describe": {"architecture": architecture}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "samples", lambda self: frame)
        found = cost(made)
    assert (found.parameters, found.image_tokens) == (5000, 16)
    assert found.multiply_adds == 2000 * 24 + 1000 * 16


def test_described_models_have_their_five_points_and_overlap_in_the_comparison() -> None:
    from harness.cards.loading import load_card
    from harness.compare.cards import card_tables

    record = read_run(STORED).record
    described = replace(record, card=load_card("llava-1.5-7b").content())
    tables = {table.title: table for table in card_tables([described, record])}
    assert len(tables) == 2
    assert all(table.columns == ("llava-1.5-7b",) for table in tables.values())
    assert "Architecture: fusion" in [row.heading for row in tables["Five points"].rows]
    assert "COCO captions" in [row.heading for row in tables["What training showed of the benchmarks"].rows]
    assert card_tables([record]) == ()


def test_a_value_on_what_training_showed_is_marked(tmp_path: Path) -> None:
    from harness.cards.loading import load_card

    outcome = run_suite("mini", ["majority-answer", "random-choice"], out=tmp_path, subset=Subset(first=4))
    first = outcome.runs[0]
    described = replace(first, record=replace(first.record, card=load_card("llava-1.5-7b").content()))
    compared = compare([described, outcome.runs[1]], permutations=20, resamples=20)
    tables = {table.title: table for table in run_tables(compared).tables}
    seen, unseen = tables["coco-captions"].rows[0].cells
    assert "seen in training: " in seen.text
    assert "seen in training" not in unseen.text
    assert all("seen in training" not in cell.text for row in tables["nlvr2"].rows for cell in row.cells)
