"""What metrics share at their edges: the check of a variant's name, and the state of a reference without a score."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import MetricError
from harness.records import Case, Problem, Score


def known_variant(metric: str, variant: str, known: Sequence[str]) -> str:
    """`variant` if it is one of `known`; the first of them for "".

    Raises:
        MetricError: any other name, listing the known ones.
    """
    if not variant:
        return known[0]
    if variant not in known:
        raise MetricError(f'{metric} has no variant "{variant}"; known: {", ".join(v or "(none)" for v in known)}')
    return variant


def no_variants(metric: str, variant: str) -> None:
    """Nothing, for a metric with a single definition.

    Raises:
        MetricError: if a variant was asked for.
    """
    if variant:
        raise MetricError(f'{metric} has no variant "{variant}"; known: only the default, written as {metric}')


def invalid_reference(case: Case, message: str) -> Score:
    """The unscored state of an answered sample whose reference can have no score, so that a run goes on."""
    sample = case.sample
    return Score(
        unit=sample.sample_id,
        sample_id=sample.sample_id,
        cluster=sample.cluster or sample.sample_id,
        value=None,
        unscored=Problem("invalid_reference", f"sample {sample.sample_id}: {message}"),
    )
