"""Scoring a stream in chunks: the same as scoring everything together (property), and what is held meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from harness.engine import scoring
from harness.engine.plan import load_metric
from harness.engine.scoring import score_cases, score_stream
from harness.errors import MetricUnavailable
from harness.metrics.base import ScoringContext
from harness.metrics.exact import ExactMatch
from harness.records import Case, Problem, Sample, Score

LOST = Problem("model_error", "broke")
NAMES = ("relaxed_accuracy", "exact_match", "bleu-1")


def cases(count: int = 23) -> Iterator[Case]:
    for number in range(count):
        sample = Sample(
            f"s{number}",
            references=(str(number % 4),),
            cluster=f"c{number // 3}",
            metadata={"kind": "odd" if number % 2 else "even"},
        )
        yield Case(sample, None if number % 7 == 6 else str(number % 3), LOST if number % 7 == 6 else None)


@pytest.mark.parametrize("chunk", [1, 4, 22, 23])
def test_chunks_change_no_value_and_no_score(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    metrics = [load_metric(name) for name in NAMES]
    whole = score_cases(list(cases()), metrics, ("kind",), ScoringContext())
    monkeypatch.setattr(scoring, "CHUNK", chunk)
    assert score_cases(list(cases()), metrics, ("kind",), ScoringContext()) == whole
    assert {value.subset for value in whole.values} == {"all", "odd", "even"}


def test_metrics_of_single_samples_let_their_cases_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 5)
    taken = 0
    ahead: list[int] = []

    def counted() -> Iterator[Case]:
        nonlocal taken
        for case in cases():
            taken += 1
            yield case

    written = 0

    def write(signature: str, units: Sequence[Score]) -> None:
        nonlocal written
        written += len(units)
        ahead.append(taken - written)

    score_stream(counted(), [load_metric("exact_match")], (), ScoringContext(), write)
    assert written == 23
    assert max(ahead) == 0, "scores are written before the next chunk is taken"


def test_a_metric_that_cannot_run_counts_all_samples() -> None:
    class Missing(ExactMatch):
        def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
            raise MetricUnavailable("nothing here")

    found = score_cases(list(cases()), [Missing()], ("kind",), ScoringContext())
    (value,) = found.values
    assert (value.n_scored, value.n_total, value.reason) == (0, 23, "nothing here")
