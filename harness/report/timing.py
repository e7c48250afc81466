"""Seconds that a model takes for one sample of a task, from the answers of the run itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.store.runs import Run, answers_file
from harness.store.tables import read_frame


def seconds_per_sample(runs: Sequence[Run], names: Mapping[str, str]) -> dict[tuple[str, str], float]:
    """(task, model) → mean share of its batch's wall time, in seconds.

    Answers from a cache or a file were not timed and are left out; a task without timed answers has no entry.
    """
    found: dict[tuple[str, str], float] = {}
    for run in runs:
        frame = read_frame(answers_file(run.path), ["task", "text", "latency_s", "batch_size", "cached"])
        timed = frame[frame["text"].notna() & frame["latency_s"].notna() & ~frame["cached"].astype(bool)]
        share = timed["latency_s"] / timed["batch_size"]
        for task, seconds in share.groupby(timed["task"]).mean().items():
            found[str(task), names[run.record.run_id]] = float(seconds)
    return found
