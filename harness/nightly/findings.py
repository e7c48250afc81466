"""What a night says: findings, judged cells, failed models and notes. Records: frozen and written to disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FINDINGS_VERSION = 1
Kind = Literal["moved", "scorer", "unlike", "not_computed", "lost_answers"]
"""`moved`: the model's answers score otherwise. `scorer`: the same answers score otherwise. `unlike`: the runs cannot
be compared. `not_computed`: the main metric has no value any more. `lost_answers`: samples without an answer now."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing in which two records differ."""

    kind: str
    """`weights`, `card`, `processing`, `prompt`, `generation`, `data`, `scorer`, `harness`, `libraries`, `hardware`, or
    `nothing recorded`."""
    what: str
    """The field."""
    before: Any
    after: Any
    at_step: bool = False
    """Whether it changed on the very night with which the step began."""


@dataclass(frozen=True, slots=True)
class Flip:
    """One unit that scores otherwise than in the baseline."""

    unit: str
    before: float
    after: float
    answer_before: str | None
    """As extracted by the metric."""
    answer_after: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that somebody must look at."""

    kind: Kind
    suite: str
    model: str
    task: str
    metric: str
    sentence: str
    """The finding in words."""
    better: bool | None = None
    """Whether the value moved the way that is better; `None` where nothing moved."""
    unit: str = "rate"
    before: float | None = None
    after: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    found_by: tuple[str, ...] = ()
    """`baseline`, `history` or both."""
    p_corrected: float | None = None
    """Smallest corrected p-value; an alarm is one at or below the declared rate."""
    window_nights: int | None = None
    since: str = ""
    """When the first night of the step began."""
    since_run: str = ""
    flips: tuple[Flip, ...] = ()
    """All units that score otherwise, worse ones first."""
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """One model on one task that was held against its baseline or its history."""

    suite: str
    model: str
    task: str
    metric: str
    unit: str
    before: float | None
    after: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_baseline: float | None
    """Corrected for the cells and for the half of the rate; `None` without a baseline."""
    p_history: float | None
    """Likewise and for the windows; `None` with no night before."""
    nights: int
    """Nights in the history test, tonight included."""
    test: str
    detectable: float | None
    """True difference to the baseline that a night finds in 80 % of cases at the corrected level; `None` where no
    answer differs, from which nothing can be said."""
    alarm: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A model or suite that could not be run or judged."""

    suite: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Night:
    """Everything that one night says."""

    schema_version: int
    config: str
    started: str
    """UTC, ISO 8601."""
    rate: float
    """Declared probability of an alarm in a night without change."""
    cells: int
    """Models × tasks among which the rate is shared."""
    runs: tuple[str, ...]
    """Folders of tonight's runs."""
    findings: tuple[Finding, ...]
    judged: tuple[Judged, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    """What the reader must know, such as models without a baseline."""
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 nothing found, 1 findings, 2 a model or suite that could not be run or judged."""
        return 2 if self.failures or self.interrupted else 1 if self.findings else 0
