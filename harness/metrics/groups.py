"""Samples that are scored together: the passes of one question, the images of one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.metrics.letters import UNPARSED
from harness.records import Case, Problem, Score


@dataclass(frozen=True, slots=True)
class Group:
    """The cases of one group, the base one first."""

    name: str
    cases: tuple[Case, ...]

    @property
    def base(self) -> Case:
        """The case whose metadata places the group in a breakdown."""
        return self.cases[0]


def group_cases(cases: Sequence[Case]) -> list[Group]:
    """The groups in order of first appearance; a sample without `group` is one of its own.

    The base is the member with metadata `pass` "0", or else the smallest pass; where there is no `pass`, the first.
    """
    members: dict[str, list[Case]] = {}
    for case in cases:
        members.setdefault(case.sample.group or case.sample.sample_id, []).append(case)
    return [Group(name, tuple(sorted(found, key=_pass))) for name, found in members.items()]


def _pass(case: Case) -> int:
    number = case.sample.metadata.get("pass", "0")
    return int(number) if number.isascii() and number.isdigit() else 0


def all_right(group: Group, scores: Sequence[Score]) -> Score:
    """The score of a group: 1 if every member is right; unscored if a member is.

    `scores` are those of the members, in the group's order. The rule is `unparsed` only where that decides: no member
    was read and wrong, but one could not be read. Otherwise it is the rules that read the members, joined by "+".
    """
    sample = group.base.sample
    cluster = sample.cluster or group.name
    score = Score(group.name, sample.sample_id, cluster, None)
    for member in scores:
        if member.unscored is not None:
            why = member.unscored
            problem = Problem(why.kind, f"{member.sample_id}: {why.message} (one of {len(scores)} scored together)")
            return replace(score, unscored=problem)
    value = float(all(member.value == 1.0 for member in scores))
    wrong = any(member.value != 1.0 and member.rule != UNPARSED for member in scores)
    read = sorted({member.rule for member in scores if member.rule != UNPARSED})
    return replace(
        score,
        value=value,
        statistics=(value, 1.0),
        extracted=" ".join(member.extracted or "-" for member in scores),
        reference=" ".join(member.reference or "-" for member in scores),
        rule="+".join(read) if wrong or value else UNPARSED,
        detail="; ".join(f"{member.sample_id}: {member.extracted or '-'} ({member.rule})" for member in scores),
    )
