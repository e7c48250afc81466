"""A metric value with everything that it must not leave without: definition, interval, counts, samples, origin.

Every exporter starts from these, so that no format can forget one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.compare.align import generation_class
from harness.fingerprint import fingerprint
from harness.interop.imported import is_imported
from harness.interop.secrets import clean
from harness.records import MetricValue, RunRecord, TaskResult

EFFICIENCY = "efficiency"
"""Stands for the task of values over the whole run: times and memory."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value of one run."""

    record: RunRecord
    task: TaskResult | None
    """`None` for times and memory."""
    value: MetricValue

    @property
    def place(self) -> str:
        """Name of the task."""
        return self.task.plan.name if self.task is not None else EFFICIENCY

    @property
    def name(self) -> str:
        """`metric@variant`."""
        return self.value.name

    @property
    def sample_set(self) -> str:
        """Checksum of the samples; for values over the whole run that of all its tasks' checksums."""
        if self.task is not None:
            return self.task.sample_set
        return fingerprint({task.plan.name: task.sample_set for task in self.record.tasks})

    def facts(self) -> dict[str, Any]:
        """Everything about the value as flat JSON types, without secrets; the same names in every format."""
        value = self.value
        facts: dict[str, Any] = {
            "signature": value.signature,
            "metric": value.metric,
            "variant": value.variant,
            "subset": value.subset,
            "estimate": value.estimate,
            "low": value.low,
            "high": value.high,
            "confidence": value.confidence,
            "interval_method": value.method,
            "unit": value.unit,
            "higher_is_better": value.higher_is_better,
            "n_scored": value.n_scored,
            "n_total": value.n_total,
            "n_clusters": value.n_clusters,
            "unparsed": value.unparsed,
            "reason": value.reason,
            "task": self.place,
            "sample_set": self.sample_set,
        }
        return clean(facts | _task_facts(self.task) | run_facts(self.record))  # type: ignore[no-any-return]


def _task_facts(task: TaskResult | None) -> dict[str, Any]:
    if task is None:
        return dict.fromkeys(
            ("kind", "dataset", "split", "data", "data_revision", "n_samples", "n_answered", "prompt", "generation")
        )
    plan = task.plan
    imported = is_imported(plan)
    return {
        "kind": plan.kind,
        "dataset": plan.dataset,
        "split": plan.split,
        "data": plan.data,
        "data_revision": task.data_revision,
        "n_samples": task.n_samples,
        "n_answered": task.n_answered,
        "prompt": plan.prompt_name if imported else f"{plan.prompt_name} v{plan.prompt_version}",
        "generation": "not known" if imported else generation_class(plan.generation),
    }


def run_facts(record: RunRecord) -> dict[str, Any]:
    """Where a run comes from, as flat JSON types without secrets."""
    provenance = record.provenance
    commit = provenance.get("commit") or {}
    packages = provenance.get("packages") or {}
    return clean(  # type: ignore[no-any-return]
        {
            "run": record.run_id,
            "model": record.model,
            "family": record.identity.settings.family,
            "checkpoint": record.identity.settings.checkpoint,
            "revision": record.identity.settings.revision,
            "weights": record.identity.weights,
            "suite": record.suite,
            "suite_version": record.suite_version,
            "run_key": record.key,
            "schema_version": record.schema_version,
            "harness_version": record.harness_version,
            "commit": commit.get("id"),
            "dirty": commit.get("dirty"),
            "python": provenance.get("python"),
            "platform": provenance.get("platform"),
            "processor": provenance.get("processor"),
            "packages": ", ".join(f"{name} {version}" for name, version in sorted(packages.items())),
            "started": record.timing.get("started"),
            "ended": record.timing.get("ended"),
            "rescored_from": record.rescored_from or None,
            "warnings": " | ".join((*record.identity.warnings, *record.warnings)),
        }
    )


def measurements(record: RunRecord, *, subsets: bool = True, efficiency: bool = True) -> list[Measurement]:
    """The values of a run, in the order of the record.

    Args:
        record: of a sealed run.
        subsets: with the values of each category, not only those over all samples.
        efficiency: with times and memory.
    """
    found = [
        Measurement(record, task, value)
        for task in record.tasks
        for value in task.values
        if subsets or value.subset == "all"
    ]
    return found + ([Measurement(record, None, value) for value in record.efficiency] if efficiency else [])


def left_out(found: Sequence[Measurement]) -> list[str]:
    """One line for each value that was not computed, for formats that have no place for "not computed"."""
    return [
        f"{m.record.model}, {m.place}: {m.name} is left out: {m.value.reason or 'not computed'}"
        for m in found
        if m.value.estimate is None
    ]


def interval_text(value: MetricValue) -> str:
    """The interval in words; says so where there is none."""
    if value.low is None or value.high is None:
        return f"no interval ({value.reason or 'not given'})"
    return f"{100 * value.confidence:g} % interval [{value.low:.6g}, {value.high:.6g}] ({value.method})"
