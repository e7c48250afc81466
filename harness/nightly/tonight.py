"""One model's run of tonight, task by task: what is compared with what, and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from harness.datasets.opening import open_dataset
from harness.metrics.base import ScoringContext
from harness.nightly.causes import causes, marked
from harness.nightly.cells import (
    Cell,
    flips,
    is_mean,
    joined,
    metric_of,
    night_of,
    read_cell,
    rescored_cell,
    same_scores,
    score_frame,
    task_of,
)
from harness.nightly.evidence import Series, refusals, series_of, since_baseline, tonights_cells
from harness.nightly.findings import Cause, Finding, Flip, Judged
from harness.nightly.judge import HistoryTest, Levels, PairedTest, paired_test, strongest
from harness.nightly.words import moved_sentence, scorer_sentence
from harness.records import TaskPlan, TaskResult
from harness.stats.change import onset, window_tests
from harness.store.runs import Run

if TYPE_CHECKING:
    import pandas as pd


class Tonight:
    """Judges one run; `findings`, `judged` and `notes` hold what it says."""

    def __init__(
        self,
        run: Run,
        baseline: Run | None,
        earlier: Sequence[Run],
        levels: Levels,
        data: Path | None,
        lost_answers: float,
    ) -> None:
        self.run, self.baseline, self.levels = run, baseline, levels
        self.findings: list[Finding] = []
        self.judged: list[Judged] = []
        self.notes: list[str] = []
        self._data, self._lost_answers = data, lost_answers
        self._earlier = since_baseline(baseline, earlier)

    def judge(self) -> None:
        """Judge every task."""
        cells = tonights_cells(self.run)
        series = series_of(self.run, cells, self._earlier)
        refused = refusals(self.baseline, self.run) if self.baseline else {}
        stored = score_frame(self.baseline) if self.baseline else None
        for result in self.run.record.tasks:
            name = result.plan.name
            if name in refused:
                self._say(result, "unlike", refused[name])
            elif name not in cells:
                self._without_value(result)
            else:
                self._judge_cell(result, cells[name], series[name], stored)
            self._count_answers(result)
        self._note_dropped_tasks()

    def _judge_cell(self, result: TaskResult, cell: Cell, series: Series, stored: pd.DataFrame | None) -> None:
        name, metric = result.plan.name, metric_of(cell.value)
        before, scorer = self._baseline_cell(result, cell, stored)
        paired: PairedTest | None = None
        if before is not None:
            places = joined(before, cell)
            paired = paired_test(
                before.statistics[places[0]],
                cell.statistics[places[1]],
                [cell.clusters[n] for n in places[1]],
                metric.aggregate,
                is_mean=is_mean(metric),
                permutations=self.levels.permutations,
            )
            if paired is None:
                self.notes.append(f"{self._who(name)}: fewer than two clusters are scored in both runs; not tested")
        history = None if scorer else strongest(window_tests(series.values, last_only=True))
        if scorer and len(series.runs) > 1:
            self.notes.append(
                f"{self._who(name)}: the scorer changed; the nights since are not used until a new baseline"
            )
        found_by = self._found_by(paired, history)
        self._note_judged(result, cell, paired, history, bool(found_by))
        if found_by:
            self._say_moved(result, cell, before, paired, history, found_by, None if scorer else series)

    def _baseline_cell(self, result: TaskResult, now: Cell, frame: pd.DataFrame | None) -> tuple[Cell | None, bool]:
        """The baseline's cell as today's scorer sees it, and whether that differs from what was stored.

        The stored answers are always scored again: a metric of a plugin, or one that was changed without a new version,
        leaves no other trace.
        """
        then = task_of(self.baseline, result.plan.name) if self.baseline else None
        if self.baseline is None or then is None or frame is None:
            return None, False
        stored = read_cell(frame, then)
        same_name = then.main.signature == now.value.signature
        again = rescored_cell(self.baseline, result.plan, self._context(result.plan))
        if again is None or again.value.signature != now.value.signature:
            why = again.value.signature if again else "not computed"
            text = f"the baseline's answers cannot be scored as tonight's were ({why} against {now.value.signature})"
            self._say(result, "unlike", f"{text}; accept a new baseline")
            return None, True
        if stored is not None and same_name and same_scores(stored, again):
            return stored, False
        self._say_scorer(result, stored, again, same_name)
        return again, True

    def _context(self, plan: TaskPlan) -> ScoringContext:
        def corpus() -> dict[str, tuple[str, ...]] | None:
            held = open_dataset(plan.dataset, self._data, plan.options).reference_corpus(plan.split)
            return None if held is None else dict(held)

        return ScoringContext(reference_corpus=corpus)

    def _found_by(self, paired: PairedTest | None, history: HistoryTest | None) -> tuple[str, ...]:
        tests = (("baseline", paired), ("history", history))
        return tuple(name for name, test in tests if test is not None and test.p_value <= self.levels.cell)

    def _note_judged(
        self, result: TaskResult, cell: Cell, paired: PairedTest | None, history: HistoryTest | None, alarm: bool
    ) -> None:
        if paired is None and history is None:
            return
        error = (paired.high - paired.low) / 2 / NormalDist().inv_cdf(0.975) if paired else None
        reach = NormalDist().inv_cdf(1 - self.levels.cell / 2) + NormalDist().inv_cdf(0.8)
        self.judged.append(
            Judged(
                suite=self.run.record.suite,
                model=self.run.record.model,
                task=result.plan.name,
                metric=cell.metric_name,
                unit=cell.value.unit,
                before=paired.before if paired else None,
                after=paired.after if paired else cell.value.estimate,
                difference=paired.difference if paired else history.difference if history else None,
                low=paired.low if paired else None,
                high=paired.high if paired else None,
                p_baseline=self.levels.corrected(paired.p_value) if paired else None,
                p_history=self.levels.corrected(history.p_value) if history else None,
                nights=history.nights if history else 1,
                test=paired.test if paired else "",
                detectable=reach * error if error else None,
                alarm=alarm,
            )
        )

    def _say_moved(
        self,
        result: TaskResult,
        cell: Cell,
        before: Cell | None,
        paired: PairedTest | None,
        history: HistoryTest | None,
        found_by: tuple[str, ...],
        series: Series | None,
    ) -> None:
        tests = {"baseline": paired, "history": history}
        p = min(self.levels.corrected(test.p_value) for name in found_by if (test := tests[name]) is not None)
        by_baseline = "baseline" in found_by
        moved = paired.difference if by_baseline and paired else history.difference if history else 0.0
        step = onset(series.values) if series is not None and len(series.runs) > 1 else None
        if series is None:
            since = None
        else:
            since = series.runs[step] if step is not None else self.run
        text = moved_sentence(
            cell,
            paired,
            history,
            moved=moved,
            by_baseline=by_baseline,
            p_corrected=p,
            since=since,
            tonight=self.run,
        )
        self._say(
            result,
            "moved",
            text,
            better=(moved > 0) == cell.value.higher_is_better,
            paired=paired,
            difference=moved,
            found_by=found_by,
            p_corrected=p,
            window_nights=history.window if history and "history" in found_by else None,
            since=since,
            flips=self._changed(result, cell, before, series, step),
            causes=self._why(result.plan.name, series, step),
        )

    def _why(self, task: str, series: Series | None, step: int | None) -> tuple[Cause, ...]:
        """What changed since the baseline (or the first night), and of that what changed with the step."""
        start = self.baseline or (series.runs[0] if series is not None else self.run)
        found = causes(start.record, self.run.record, task)
        if series is None or step is None:
            return found
        return marked(found, causes(series.runs[step - 1].record, series.runs[step].record, task))

    def _changed(
        self, result: TaskResult, cell: Cell, before: Cell | None, series: Series | None, step: int | None
    ) -> tuple[Flip, ...]:
        """Units that score otherwise than in the baseline, or than on the last night before the step."""
        if before is None and series is not None and step is not None:
            night = series.runs[step - 1]
            then = task_of(night, result.plan.name)
            before = read_cell(score_frame(night), then) if then is not None else None
        return flips(before, cell) if before is not None else ()

    def _say_scorer(self, result: TaskResult, stored: Cell | None, again: Cell, same_name: bool) -> None:
        old = stored.value.estimate if stored is not None else None
        new = float(metric_of(again.value).aggregate(np.nansum(again.statistics, axis=0)))
        then = task_of(self.baseline, result.plan.name) if self.baseline else None
        signature = then.main.signature if then else ""
        self._say(
            result,
            "scorer",
            scorer_sentence(old, new, again.value.unit, same_signature=same_name),
            before=old,
            after=new,
            difference=None if old is None else new - old,
            flips=flips(stored, again) if stored is not None else (),
            causes=(Cause("scorer", "signature", signature, again.value.signature),),
        )

    def _without_value(self, result: TaskResult) -> None:
        then = task_of(self.baseline, result.plan.name) if self.baseline else None
        value = result.main
        if value.estimate is not None:
            self.notes.append(f"{self._who(result.plan.name)}: fewer than two clusters; nothing can be tested")
        elif then is not None and then.main.estimate is not None:
            self._say(result, "not_computed", f"{value.metric} is not computed any more: {value.reason}")
        else:
            self.notes.append(f"{self._who(result.plan.name)}: {value.metric} is not computed: {value.reason}")

    def _count_answers(self, result: TaskResult) -> None:
        then = task_of(self.baseline, result.plan.name) if self.baseline else None
        if then is None or then.n_samples != result.n_samples:
            return
        lost = then.n_answered - result.n_answered
        if lost > self._lost_answers * result.n_samples:
            named = ", ".join(f"{kind} x{count}" for kind, count in result.unscored.items())
            self._say(
                result,
                "lost_answers",
                f"{lost} of {result.n_samples} samples lost their answer ({named}).",
                causes=causes(self.baseline.record, self.run.record, result.plan.name) if self.baseline else (),
            )

    def _note_dropped_tasks(self) -> None:
        if self.baseline is not None:
            mine = {task.plan.name for task in self.run.record.tasks}
            for task in self.baseline.record.tasks:
                if task.plan.name not in mine:
                    self.notes.append(f"{self._who(task.plan.name)}: is in the baseline and was not run")

    def _who(self, task: str) -> str:
        return f"{self.run.record.model} on {task}"

    def _say(
        self,
        result: TaskResult,
        kind: str,
        sentence: str,
        *,
        paired: PairedTest | None = None,
        since: Run | None = None,
        **details: object,
    ) -> None:
        value = result.main
        content: dict[str, object] = {
            "metric": value.name,
            "unit": value.unit,
            **details,
        }
        if paired is not None:
            content |= {"before": paired.before, "after": paired.after, "low": paired.low, "high": paired.high}
        if since is not None:
            content |= {"since": night_of(since), "since_run": since.record.run_id}
        self.findings.append(
            Finding(
                kind=kind,  # type: ignore[arg-type]
                suite=self.run.record.suite,
                model=self.run.record.model,
                task=result.plan.name,
                sentence=f"{self._who(result.plan.name)}: {sentence}",
                **content,  # type: ignore[arg-type]
            )
        )
