"""One row of an annotation file: its fields as text, the first thing that is wrong with it, and distinct ids.

Kinds of problem that rows have: `missing_field`, `bad_field` (wrong type or form), `bad_answer` (no option of this
question), `empty_reference`, `duplicate_id`, `path_outside_data`, `malformed_row` (not a row of this file at all),
`missing_row` (a list names a row that is not there), `no_image` (a formula without picture).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from harness.datasets.folder import leaves_folder
from harness.records import Problem, Sample

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Row:
    """Reads fields and keeps the first problem, so that a bad row becomes a sample with its reason."""

    def __init__(self, values: Any, where: str) -> None:
        """Start on one decoded row; `where` names file and row in messages."""
        self.where = where
        self.problem: Problem | None = None
        self.values: Mapping[str, Any] = {}
        if isinstance(values, Mapping):
            self.values = values
        else:
            self.fail("malformed_row", f"a {type(values).__name__} stands where an object with fields is expected")

    def fail(self, kind: str, message: str) -> None:
        """Keep this problem unless the row has one already."""
        if self.problem is None:
            self.problem = Problem(kind, f"{self.where}: {message}")

    def optional(self, name: str) -> str:
        """The field as text; empty where it is absent, null or not a plain value (then also a problem)."""
        value = self.values.get(name)
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        if isinstance(value, int | float | Decimal):
            return str(value)
        self.fail("bad_field", f'"{name}" is a {type(value).__name__}; text is expected')
        return ""

    def text(self, name: str) -> str:
        """The field as text; a problem where it is absent or blank."""
        value = self.optional(name)
        if not value.strip():
            self.fail("missing_field", f'"{name}" is missing or empty')
        return value

    def reference(self, name: str) -> tuple[str, ...]:
        """The accepted answers in a field (one, or a list of them); a problem where there is none."""
        value = self.values.get(name)
        answers = value if isinstance(value, list | tuple) else [value]
        kept = tuple(str(a) for a in answers if a is not None and str(a).strip())
        if not kept:
            self.fail("empty_reference", f'"{name}" holds no answer')
        return kept

    def file_name(self, name: str) -> str:
        """The field as a file name that stays in the folder; empty, with a problem, where it does not."""
        value = self.text(name)
        if leaves_folder(value):
            self.fail("path_outside_data", f'"{name}" is {value!r}, which leaves the data folder; it is not read')
            return ""
        return value

    def metadata(self, *names: str) -> dict[str, str]:
        """Those of the fields that say something."""
        found = {}
        for name in names:
            value = self.values.get(name)
            if type(value) is not str:
                value = self.optional(name)
            if value and not value.isspace():
                found[name] = value
        return found


class Ids:
    """Makes ids distinct: the second `7` of a split becomes `7#duplicate-2` with the problem `duplicate_id`."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._again: Counter[str] = Counter()

    def __contains__(self, sample_id: str) -> bool:
        return sample_id in self._seen

    def claim(self, sample_id: str, row: Row) -> str:
        """`sample_id` the first time, a distinct id with a problem in `row` afterwards."""
        if sample_id not in self._seen:
            self._seen.add(sample_id)
            return sample_id
        self._again[sample_id] += 1
        count = 1 + self._again[sample_id]
        row.fail("duplicate_id", f'"{sample_id}" occurs for the {count}. time; only the first occurrence is asked')
        return f"{sample_id}#duplicate-{count}"


class ContentIds:
    """Ids for rows without a name: a digest of what is asked, with `#2` for its second occurrence."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def next(self, *parts: str | bytes) -> str:
        """The id of the next row with this content."""
        digest = hashlib.sha256()
        for part in parts:
            data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        base = digest.hexdigest()[:16]
        self._seen[base] += 1
        return base if self._seen[base] == 1 else f"{base}#{self._seen[base]}"


def lone(sample_id: str, row: Row, *, cluster: str = "") -> Sample:
    """A sample that cannot be asked, in a group of its own so that it takes no other sample with it."""
    return Sample(sample_id, cluster=cluster or sample_id, group=sample_id, problem=row.problem)
