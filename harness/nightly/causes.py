"""Why a number may have moved: everything in which the records of two runs differ, most likely cause first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.fingerprint import plain
from harness.nightly.findings import Cause
from harness.records import RunRecord, TaskResult

_HARDWARE = ("platform", "machine", "processor", "cores")
NOTHING = Cause(
    "nothing recorded",
    "no recorded field differs: sampling, non-deterministic arithmetic, or a served model that changed unseen",
    None,
    None,
)


def causes(before: RunRecord, after: RunRecord, task: str) -> tuple[Cause, ...]:
    """What differs between two runs, as far as it can move the task's value; `NOTHING` where no field does.

    The order is that of the search: what the model is, how it was asked, on what, how it was scored, where it ran.
    """
    first, second = _task(before, task), _task(after, task)
    settings = [_settings(record) for record in (before, after)]
    devices = [content.pop("device", None) for content in settings]
    found = _differing("weights", "weights", before.identity.weights, after.identity.weights)
    found += _differing("card", "", *settings)
    found += _differing("processing", "", plain(before.identity.processing), plain(after.identity.processing))
    for field in ("prompt_text", "template", "prompt_name", "prompt_version"):
        found += _differing("prompt", field, getattr(first.plan, field), getattr(second.plan, field))
    found += _differing("generation", "", plain(first.plan.generation), plain(second.plan.generation))
    found += _differing("data", "data revision", first.data_revision, second.data_revision)
    found += _differing("data", "sample set", first.sample_set, second.sample_set)
    found += _differing("scorer", "signature", first.main.signature, second.main.signature)
    found += _differing("harness", "version", before.harness_version, after.harness_version)
    found += _differing("harness", "commit", *(_commit(record) for record in (before, after)))
    packages = [dict(record.provenance.get("packages") or {}) for record in (before, after)]
    found += _differing("libraries", "", *packages)
    found += _differing("libraries", "python", *(record.provenance.get("python") for record in (before, after)))
    found += _differing("hardware", "device", *devices)
    for field in _HARDWARE:
        found += _differing("hardware", field, before.provenance.get(field), after.provenance.get(field))
    return tuple(found) or (NOTHING,)


def marked(found: tuple[Cause, ...], at_step: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """The causes, those first that changed on the night with which the step began."""
    names = {(cause.kind, cause.what) for cause in at_step if cause != NOTHING}
    done = [replace(cause, at_step=(cause.kind, cause.what) in names) for cause in found]
    return tuple(sorted(done, key=lambda cause: not cause.at_step))


def _task(record: RunRecord, name: str) -> TaskResult:
    return next(task for task in record.tasks if task.plan.name == name)


def _settings(record: RunRecord) -> dict[str, Any]:
    content: dict[str, Any] = plain(record.identity.settings)
    return content


def _commit(record: RunRecord) -> str | None:
    commit = record.provenance.get("commit")
    if not commit:
        return None
    return f"{commit.get('id')}{' with uncommitted changes' if commit.get('dirty') else ''}"


def _differing(kind: str, what: str, before: Any, after: Any) -> list[Cause]:
    """One cause for each leaf in which two values differ; a mapping that is not there is an empty one."""
    sides = [value if isinstance(value, Mapping) else {} if value is None else None for value in (before, after)]
    first, second = sides
    if first is not None and second is not None and (first or second):
        found: list[Cause] = []
        for key in sorted({*first, *second}):
            name = f"{what}.{key}" if what else str(key)
            found += _differing(kind, name, first.get(key), second.get(key))
        return found
    return [] if before == after else [Cause(kind, what, before, after)]
