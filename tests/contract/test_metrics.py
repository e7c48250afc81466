"""What every registered metric must do, whatever it measures; a new metric is tested when it is registered.

Properties only: the numbers themselves are tested in tests/unit/metrics and tests/reference.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from harness import registry
from harness.errors import MetricError, MetricUnavailable
from harness.metrics.base import Metric, ScoringContext
from harness.metrics.spice import spice_scores
from harness.records import Case, Problem, Sample, Score
from tests.conftest import FOREIGN

CRASHED = Problem("out_of_memory", "the request does not fit into memory")


def _cases(rows: Sequence[tuple[str | None, tuple[str, ...]]], **fields: object) -> tuple[Case, ...]:
    return tuple(
        Case(Sample(f"s{i}", references=references, **fields), text, None if text is not None else CRASHED)
        for i, (text, references) in enumerate(rows)
    )


CAPTIONS = _cases(
    [
        ("a dog runs on the grass", ("A dog runs on grass.", "The dog is running in a field.")),
        ("two cars", ("A red car on a street.", "A car parked on the road.")),
        (None, ("Two people eat pizza.", "People eating.")),
        ("", ("A cat\nsleeps.", "A sleeping cat ||| on a sofa.")),
        ("Three men play music.", ("A band plays music on a stage.", "Three men play guitar.")),
    ]
)
LABELS = _cases([("12", ("12",)), ("14%", ("0.5",)), (None, ("Yes",)), ("", ("No",)), ("China", ("china",))])
RANKINGS = _cases(
    [
        ('["a#0", "b#1"]', ("b#0", "b#1")),
        ('["a", "b", "c", "d", "e", "f"]', ("f",)),
        (None, ("a",)),
        ("", ("b",)),
        ('["c"]', ("c",)),
    ]
)
TABLES = _cases(
    [
        ("year | a\n1999 | 12", ("year | a\n1999 | 12",)),
        ("year | a\n1999 | 3", ("year | a\n1999 | 12",)),
        (None, ("x | y\n1 | 2",)),
        ("", ("x | y\n1 | 2",)),
    ]
)
FORMULAS = _cases(
    [
        (r"$$\frac{a}{b} + c^{2} = d$$", (r"\frac { a } { b } + c ^ { 2 } = d",)),
        (r"\frac{a}{b} + c^2 = e", (r"\frac { a } { b } + c ^ { 2 } = d \label{x}",)),
        (None, ("x",)),
        ("", ("y",)),
        (r"\alpha }", (r"\alpha _ { 1 }",)),
    ]
)


def _grouped(choices: tuple[str, ...], rows: Sequence[tuple[str, str, str | None, str]]) -> tuple[Case, ...]:
    return tuple(
        Case(
            Sample(
                name, references=(reference,), choices=choices, group=group, cluster=group, metadata={"pass": name[-1]}
            ),
            text,
            None if text is not None else CRASHED,
        )
        for name, group, text, reference in rows
    )


CHOICES = _grouped(
    ("a dog", "a cat", "a bus", "a tree"),
    [
        ("q1-0", "q1", "A", "A"),
        ("q1-1", "q1", "B", "B"),
        ("q2-0", "q2", "A", "C"),
        ("q2-1", "q2", "", "D"),
        ("q3-0", "q3", None, "A"),
        ("q3-1", "q3", None, "B"),
        ("q4-0", "q4", "The answer is D.", "D"),
    ],
)
TRUTHS = _grouped(
    (),
    [
        ("t1-0", "t1", "True", "True"),
        ("t1-1", "t1", "false", "False"),
        ("t2-0", "t2", "True", "False"),
        ("t3-0", "t3", None, "True"),
        ("t3-1", "t3", "True", "True"),
        ("t4-0", "t4", "", "True"),
    ],
)

CASES: dict[str, tuple[Case, ...]] = {
    **dict.fromkeys(["bleu-1", "bleu-2", "bleu-3", "bleu-4", "rouge-l", "cider", "meteor", "spice"], CAPTIONS),
    "relaxed_accuracy": LABELS,
    "exact_match": LABELS,
    "recall": RANKINGS,
    "answer_in_text": LABELS,
    **dict.fromkeys(["token_recall", "wer", "cer"], CAPTIONS),
    **dict.fromkeys(["rnss", "rms-f1"], TABLES),
    **dict.fromkeys(["multiple_choice", "mmbench", "scienceqa"], CHOICES),
    **dict.fromkeys(["accuracy", "consistency"], TRUTHS),
    **dict.fromkeys(["latex_exact_match", "latex_edit_similarity", "latex_bleu-4", "latex_compile_rate"], FORMULAS),
}
"""Metric → answers of its kind, some right, some wrong, one empty, one that never came."""


NAMES = sorted(set(registry.names("metrics")) - FOREIGN)


def variants(name: str) -> list[str]:
    """The variants that a metric names in the error for an unknown one."""
    with pytest.raises(MetricError, match="known: ") as caught:
        registry.load("metrics", name)("no-such-variant")
    known = re.sub(r".*known: ", "", str(caught.value))
    return [""] if known.startswith("only the default") else [v.strip() for v in known.split(",")]


KEYS = [(name, variant) for name in NAMES for variant in variants(name)]


def corpus() -> dict[str, tuple[str, ...]]:
    return {case.sample.sample_id: case.sample.references for case in CASES["cider"]}


@cache
def scored(name: str, variant: str, order: str = "file") -> tuple[Metric, tuple[Score, ...]]:
    cases = list(CASES[name])
    if order == "mixed":
        cases = [cases[i] for i in np.random.default_rng(3).permutation(len(cases))]
    metric: Metric = registry.load("metrics", name)(variant)
    return metric, tuple(metric.score(cases, ScoringContext(reference_corpus=corpus)))


def why_not(name: str, variant: str) -> str | None:
    """The reason for which a metric cannot run here, or `None`."""
    try:
        scored(name, variant)
    except MetricUnavailable as error:
        return str(error)
    return None


IDS = ["@".join(filter(None, key)) for key in KEYS]


def spice_is_here() -> bool:
    """Whether SPICE's parser, which no package brings, was put in place; without it only its reason is tested."""
    try:
        spice_scores([])
    except MetricUnavailable:
        return False
    return True


HERE = [key for key in KEYS if key[0] != "spice" or spice_is_here()]


@pytest.fixture(params=HERE, ids=["@".join(filter(None, key)) for key in HERE])
def key(request: pytest.FixtureRequest) -> tuple[str, str]:
    name, variant = request.param
    reason = why_not(name, variant)
    if reason is not None:
        pytest.skip(reason)
    return name, variant


def sums(scores: Sequence[Score]) -> np.ndarray:
    return np.array([score.statistics for score in scores if score.unscored is None]).sum(0)


def test_every_registered_metric_has_cases_here() -> None:
    assert sorted(CASES) == NAMES


@pytest.mark.parametrize(("name", "variant"), KEYS, ids=IDS)
def test_a_metric_that_cannot_run_says_what_is_missing(name: str, variant: str) -> None:
    reason = why_not(name, variant)
    assert reason is None or len(reason) > 20


@pytest.mark.parametrize("name", NAMES)
def test_empty_variant_is_the_first_of_the_known_ones(name: str) -> None:
    factory = registry.load("metrics", name)
    assert factory("").info == factory(variants(name)[0]).info


def test_signature_names_the_metric_the_variant_and_a_version(key: tuple[str, str]) -> None:
    metric, _ = scored(*key)
    parts = metric.info.signature.split("|")
    assert parts[0] == metric.info.name == key[0]
    assert metric.info.variant == "" or any(metric.info.variant in (p, p.partition("=")[2]) for p in parts)
    assert re.fullmatch(r"v\d+", parts[-1])
    assert metric.info.source


def test_variants_never_share_a_signature() -> None:
    signatures = [registry.load("metrics", name)(variant).info.signature for name, variant in KEYS]
    assert len(set(signatures)) == len(signatures)


def test_each_unit_has_one_score_and_names_its_sample(key: tuple[str, str]) -> None:
    _, scores = scored(*key)
    by_id = {case.sample.sample_id: case.sample for case in CASES[key[0]]}
    units = [score.unit for score in scores]
    assert len(set(units)) == len(units)
    assert {score.sample_id for score in scores} <= set(by_id)
    groups = {sample.group or sample.sample_id for sample in by_id.values()}
    covered = {by_id[score.sample_id].group or score.sample_id for score in scores}
    assert covered == groups, "no sample or group is dropped"
    for score in scores:
        assert score.cluster == (by_id[score.sample_id].cluster or score.unit)


def test_unanswered_units_are_unscored_with_their_reason_and_all_others_are_scored(key: tuple[str, str]) -> None:
    _, scores = scored(*key)
    cases = CASES[key[0]]
    missing = {case.sample.sample_id for case in cases if case.text is None}
    missing_groups = {case.sample.group for case in cases if case.text is None}
    seen = 0
    for score in scores:
        unit_is_group = score.unit in {case.sample.group for case in cases}
        if score.unit in missing_groups if unit_is_group else score.sample_id in missing:
            seen += 1
            assert score.unscored is not None
            assert score.unscored.kind == CRASHED.kind
            assert score.value is None
            assert score.statistics == ()
        else:
            assert score.unscored is None
            assert score.value is not None
            assert math.isfinite(score.value)
    assert seen >= 1


def test_statistics_have_one_length_and_are_finite(key: tuple[str, str]) -> None:
    _, scores = scored(*key)
    lengths = {len(score.statistics) for score in scores if score.unscored is None}
    assert len(lengths) == 1
    assert lengths.pop() >= 1
    assert all(math.isfinite(x) for score in scores for x in score.statistics)


def test_a_value_is_the_corpus_formula_on_the_units_own_statistics(key: tuple[str, str]) -> None:
    metric, scores = scored(*key)
    for score in scores:
        if score.unscored is None:
            own = metric.aggregate(np.array(score.statistics))
            assert float(own) == pytest.approx(score.value, abs=1e-12)


def test_rates_lie_between_0_and_1(key: tuple[str, str]) -> None:
    metric, scores = scored(*key)
    if metric.info.unit == "rate":
        values = [score.value for score in scores if score.value is not None]
        values.append(float(metric.aggregate(sums(scores))))
        assert all(-1e-12 <= value <= 1 + 1e-12 for value in values)


def test_order_of_samples_changes_nothing(key: tuple[str, str]) -> None:
    metric, scores = scored(*key)
    _, mixed = scored(*key, "mixed")
    assert {s.unit: s.value for s in mixed} == pytest.approx({s.unit: s.value for s in scores}, abs=1e-12)
    # sums of floats depend on their order in the last digits
    assert float(metric.aggregate(sums(mixed))) == pytest.approx(float(metric.aggregate(sums(scores))), abs=1e-12)


def test_a_metric_of_single_samples_scores_each_as_it_does_among_others(key: tuple[str, str]) -> None:
    metric, scores = scored(*key)
    if metric.by_sample:
        alone = [score for case in CASES[key[0]] for score in metric.score([case], ScoringContext())]
        assert alone == list(scores)


def test_aggregate_works_along_leading_axes(key: tuple[str, str]) -> None:
    metric, scores = scored(*key)
    table = np.array([score.statistics for score in scores if score.unscored is None])
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=(2, 3))  # (2, 3, units)
    totals = weights @ table  # (2, 3, statistics), as in a bootstrap
    values = metric.aggregate(totals)
    assert values.shape == (2, 3)
    assert np.isfinite(values).all()
    for index in np.ndindex(2, 3):
        assert float(values[index]) == pytest.approx(float(metric.aggregate(totals[index])), abs=1e-12)


def test_nothing_summed_is_not_a_number(key: tuple[str, str]) -> None:
    metric, scores = scored(*key)
    width = len(next(score.statistics for score in scores if score.unscored is None))
    assert np.isnan(metric.aggregate(np.zeros((4, width)))).all()


def test_no_answer_at_all_gives_only_unscored_units(key: tuple[str, str]) -> None:
    cases = [Case(case.sample, None, CRASHED) for case in CASES[key[0]]]
    metric = registry.load("metrics", key[0])(key[1])
    scores = metric.score(cases, ScoringContext(reference_corpus=corpus))
    assert scores
    assert all(score.unscored is not None for score in scores)
