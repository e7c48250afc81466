"""Records to JSON types and back, by their field annotations; the one codec for everything in a run folder."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from harness.errors import StoreError
from harness.fingerprint import plain

RecordT = TypeVar("RecordT")

encode = plain
"""A record as JSON types."""


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def decode(cls: type[RecordT], value: Any) -> RecordT:
    """The record of class `cls` that `encode` turned into `value`.

    Fields that a later version of the same schema added take their defaults.

    Raises:
        StoreError: a field is missing, unknown or of the wrong shape; the message names it.
    """
    if not isinstance(value, Mapping):
        raise StoreError(f"{cls.__name__}: expected a mapping, found {type(value).__name__}")
    hints = _hints(typing.cast(Any, cls))
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise StoreError(f"{cls.__name__}: unknown field {unknown[0]!r}; written by a later version?")
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, cls)):
        if field.name in value:
            fields[field.name] = _value(hints[field.name], value[field.name], f"{cls.__name__}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise StoreError(
                f"{cls.__name__}: field {field.name!r} is missing; the file is damaged or of another schema"
            )
    return cls(**fields)


def _value(hint: Any, value: Any, name: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        inner = next(argument for argument in typing.get_args(hint) if argument is not type(None))
        return _value(inner, value, name)
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type[Any], hint), value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise StoreError(f"{name}: expected a list, found {type(value).__name__}")
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, item, name) for item in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        inner = typing.get_args(hint)[1]
        return {key: _value(inner, item, f"{name}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
