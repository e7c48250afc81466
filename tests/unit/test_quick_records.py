"""Records with the quick `__init__` behave as the dataclasses that they are."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from harness import records
from harness.engine.requests import WorkItem
from harness.quick_records import quickly_made
from harness.store.tables import Answered

MADE_PER_SAMPLE = [
    records.Sample,
    records.ImageRef,
    records.Request,
    records.Response,
    records.Case,
    records.Score,
    Answered,
    WorkItem,
]


@quickly_made
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


def test_arguments_and_defaults_are_those_of_the_dataclass() -> None:
    assert Quick(1) == Quick(first=1, second="two", third=[])
    assert repr(Quick(1, third=[3])) == "Quick(first=1, second='two', third=[3])"
    assert replace(Quick(1), second="2") == Quick(1, "2")
    assert Quick(1).third is not Quick(1).third
    with pytest.raises(TypeError, match=r"Quick.__init__\(\) missing 1 required positional argument: 'first'"):
        Quick()  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", MADE_PER_SAMPLE, ids=lambda cls: cls.__name__)
def test_a_record_is_frozen_and_takes_its_fields_in_order(cls: type) -> None:
    names = [item.name for item in fields(cls)]
    assert list(inspect.signature(cls).parameters) == names
    values = {name: object() for name in names}
    made = cls(*values.values())
    assert {name: getattr(made, name) for name in names} == values
    with pytest.raises(FrozenInstanceError):
        setattr(made, names[0], None)


def test_a_record_survives_pickling() -> None:
    sample = records.Sample("1", "Why?", references=("A",), metadata={"subject": "x"})
    assert pickle.loads(pickle.dumps(sample)) == sample
