"""What a metric is: per-unit scores with sufficient statistics, and the corpus value from their sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from harness.records import Case, MetricInfo, Problem, Score

if TYPE_CHECKING:
    import numpy as np

NO_ANSWER = Problem("no_answer", "no response was recorded for this sample")


@dataclass(slots=True)
class ScoringContext:
    """What the metrics of one task share: seeds, the reference corpus, and work done once for all of them."""

    seed: int = 0
    reference_corpus: Callable[[], Mapping[str, tuple[str, ...]] | None] = lambda: None
    """All references of the split on disk, by image id."""
    memo: dict[str, Any] = field(default_factory=dict)
    """Results that several metrics need, such as tokenised captions, under a name of their own."""


class Metric(ABC):
    """One column of the results."""

    info: MetricInfo
    """Final once `score` has returned: a signature may name a reference corpus that only `score` sees."""
    by_sample: ClassVar[bool] = False
    """Whether each unit is one sample scored without regard to the others, so that cases may come in parts."""

    @abstractmethod
    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """One score for each unit; a unit with an unanswered case is unscored with that case's reason.

        `context.memo` belongs to exactly these cases.

        Raises:
            MetricUnavailable: the metric cannot run here; it is then "not computed", with this reason.
            MetricError: a reference that can have no score, naming the sample.
        """

    @abstractmethod
    def aggregate(self, totals: np.ndarray) -> np.ndarray:
        """Corpus values from summed statistics: (..., statistics) → (...); NaN where nothing was summed."""


class MeanMetric(Metric):
    """A metric whose corpus value is the mean over units; `statistics` is `(value, 1)`."""

    def aggregate(self, totals: np.ndarray) -> np.ndarray:
        """Σ value / n along the last axis."""
        import numpy as np

        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(totals[..., 0] / totals[..., 1])


def unscored(case: Case) -> Score:
    """The score of a sample without an answer: no value, and the reason."""
    sample = case.sample
    reason = case.failure or sample.problem or NO_ANSWER
    return Score(sample.sample_id, sample.sample_id, sample.cluster or sample.sample_id, None, unscored=reason)


def mean_score(
    case: Case,
    value: float,
    *,
    extracted: str | None = None,
    reference: str | None = None,
    rule: str = "",
    detail: str = "",
) -> Score:
    """The score of one sample whose metric is a mean."""
    sample, value = case.sample, float(value)
    name = sample.sample_id
    return Score(name, name, sample.cluster or name, value, (value, 1.0), extracted, reference, rule, detail)
