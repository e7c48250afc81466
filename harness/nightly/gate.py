"""The nightly gate on one page: suites run, each model held against its baseline and its nights, findings with causes.

config → runs → (baseline, history) → judged cells → findings
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.cards.loading import LoadedCard, load_card
from harness.engine.progress import Progress
from harness.engine.run import run_suite
from harness.errors import HarnessError, NightlyError
from harness.nightly.baselines import current_run
from harness.nightly.cells import earlier_nights
from harness.nightly.config import LoadedConfig, load_config
from harness.nightly.findings import FINDINGS_VERSION, Failure, Finding, Judged, Night
from harness.nightly.judge import Levels
from harness.nightly.tonight import Tonight
from harness.store.runs import Run
from harness.tasks.loading import LoadedSuite, load_suite


@dataclass(frozen=True, slots=True)
class Ran:
    """What was run tonight."""

    runs: tuple[Run, ...]
    failures: tuple[Failure, ...]
    interrupted: bool


def run_night(
    config: str | Path | LoadedConfig,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Night:
    """Everything that the night says; nothing but run folders is written.

    Args:
        config: the gate's YAML file, or a loaded one.
        progress: told what happens.
        stop: asked between batches; once true, what is there is sealed and judged, and the exit code is 2.

    Raises:
        HarnessError: the configuration or a suite is not valid; nothing was run.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    loaded = config if isinstance(config, LoadedConfig) else load_config(config)
    suites = [load_suite(name) for name in loaded.suites]
    cells = len(loaded.models) * sum(len(suite.tasks) for suite in suites)
    levels = Levels(loaded.config.false_alarms_per_night, cells)
    ran = _run(loaded, suites, progress, stop)
    findings: list[Finding] = []
    judged: list[Judged] = []
    failures = list(ran.failures)
    notes: list[str] = []
    for run in ran.runs:
        try:
            tonight = judge_run(run, loaded, levels)
        except HarnessError as error:  # a damaged baseline or night of one model stops no other
            failures.append(Failure(run.record.suite, run.record.model, f"cannot be judged: {error}"))
            continue
        findings += tonight.findings
        judged += tonight.judged
        notes += tonight.notes
    return Night(
        schema_version=FINDINGS_VERSION,
        config=str(loaded.path),
        started=started,
        rate=levels.rate,
        cells=cells,
        runs=tuple(str(run.path) for run in ran.runs),
        findings=tuple(findings),
        judged=tuple(judged),
        failures=tuple(failures),
        notes=tuple(notes),
        interrupted=ran.interrupted,
    )


def _run(loaded: LoadedConfig, suites: list[LoadedSuite], progress: Progress | None, stop: Callable[[], bool]) -> Ran:
    """Every suite on every model that can be loaded."""
    cards: list[LoadedCard] = []
    failures: list[Failure] = []
    for name in loaded.models:
        try:
            cards.append(load_card(name, cards=loaded.cards))
        except HarnessError as error:  # the other models are judged all the same
            failures += [Failure(suite.name, name, str(error)) for suite in suites]
    names = [card.name for card in cards]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise NightlyError(f'{loaded.path}: models: two cards have the name "{twice[0]}"; rename one')
    runs: list[Run] = []
    for suite in suites:
        try:
            outcome = run_suite(
                suite,
                cards,
                data=loaded.data,
                out=loaded.out,
                subset=loaded.config.subset,
                device=loaded.config.device,
                batch_size=loaded.config.batch_size,
                executor="process" if loaded.config.isolate else "local",
                time_limit_s=loaded.config.time_limit_s,
                progress=progress,
                stop=stop,
            )
        except HarnessError as error:  # the other suites are run all the same
            failures += [Failure(suite.name, card.name, str(error)) for card in cards]
            continue
        runs += outcome.runs
        failures += [Failure(suite.name, model, reason) for model, reason in outcome.failures]
        if outcome.interrupted:
            return Ran(tuple(runs), tuple(failures), True)
    return Ran(tuple(runs), tuple(failures), False)


def judge_run(run: Run, loaded: LoadedConfig, levels: Levels) -> Tonight:
    """One run held against its accepted baseline and the nights since.

    Raises:
        HarnessError: the baseline or an earlier night cannot be read.
    """
    suite, model = run.record.suite, run.record.model
    nights = earlier_nights(loaded.out, suite, model)
    before = [night for night in nights if night.record.run_id != run.record.run_id]
    accepted = current_run(loaded.baselines, suite, model)
    tonight = Tonight(run, accepted[1] if accepted else None, before, levels, loaded.data, loaded.config.lost_answers)
    if accepted is None:
        tonight.notes.append(
            f"{model} on {suite} has no accepted baseline; accept tonight's run with "
            f"`harness baseline accept {run.path} --baselines {loaded.baselines}`"
        )
    tonight.judge()
    return tonight
