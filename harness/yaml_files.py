"""YAML that people write, read safely and with line numbers, and checked against a pydantic model.

The safe subset: no tags, no recursion, no duplicate keys, at most 1 MiB and 100,000 values after aliases are expanded.
`true` and `false` are the only booleans (`no` and `on` stay text), and dates stay text.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from harness.errors import HarnessError

if TYPE_CHECKING:
    from pydantic import BaseModel

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 60

FieldPath = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound="BaseModel")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the booleans and numbers of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+|\.inf|\.nan)$"),
    list("-+0123456789."),
)
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One file: its values and where each of them stands."""

    path: Path
    data: dict[str, Any]
    lines: dict[FieldPath, int]
    """Line (from 1) of each field."""

    def where(self, field: FieldPath) -> str:
        """`file:line` of a field, or of the nearest enclosing one that is in the file."""
        while field and field not in self.lines:
            field = field[:-1]
        return f"{self.path}:{self.lines.get(field, 1)}"


def read_yaml(path: Path, error: type[HarnessError]) -> YamlDocument:
    """The mapping in a YAML file, with lines.

    Raises:
        HarnessError: of class `error`, naming file, line and what to write instead.
    """
    try:
        raw = path.read_bytes()
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}); give the path of a YAML file") from cause
    if len(raw) > MAX_BYTES:
        raise error(f"{path}: {len(raw)} bytes; a file of this kind has at most {MAX_BYTES}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise error(f"{path}: byte {cause.start} is not UTF-8; save the file as UTF-8") from cause
    try:
        loader = _Loader(text)
    except yaml.YAMLError as cause:
        raise error(f"{path}: not valid YAML: {str(cause).splitlines()[0]}") from cause
    try:
        node = loader.get_single_node()
        if node is None:
            raise error(f"{path}:1: the file is empty")
        lines: dict[FieldPath, int] = {}
        _walk(node, (), lines, [0], set(), path, error)
        data = loader.construct_document(node)
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(cause, "problem", None) or str(cause).splitlines()[0]
        raise error(f"{path}:{line}: not valid YAML: {problem}") from cause
    except RecursionError as cause:
        raise error(f"{path}: nested more than {MAX_DEPTH} deep; flatten it") from cause
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise error(f"{path}:1: the file holds a {type(data).__name__}; write `key: value` lines")
    return YamlDocument(path, data, lines)


def _walk(
    node: yaml.Node,
    field: FieldPath,
    lines: dict[FieldPath, int],
    count: list[int],
    open_nodes: set[int],
    path: Path,
    error: type[HarnessError],
) -> None:
    """Record lines and refuse what the safe subset leaves out, before any value is built."""
    line = node.start_mark.line + 1
    count[0] += 1
    if count[0] > MAX_VALUES:
        raise error(f"{path}:{line}: more than {MAX_VALUES} values after aliases are expanded; write them out")
    if id(node) in open_nodes:
        raise error(f"{path}:{line}: an alias contains itself; write the values out")
    if len(field) > MAX_DEPTH:
        raise error(f"{path}:{line}: nested more than {MAX_DEPTH} deep; flatten it")
    if node.tag not in _PLAIN_TAGS:
        raise error(f"{path}:{line}: tag {node.tag!r} is not allowed; write plain text, numbers, lists and mappings")
    lines.setdefault(field, line)
    open_nodes.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            key_line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise error(f"{path}:{key_line}: a key is a {key.id}; write plain text keys")
            if key.value in seen:
                raise error(f'{path}:{key_line}: "{key.value}" is given twice; keep one')
            seen.add(key.value)
            lines[(*field, key.value)] = key_line
            _walk(value, (*field, key.value), lines, count, open_nodes, path, error)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            _walk(value, (*field, position), lines, count, open_nodes, path, error)
    open_nodes.discard(id(node))


def checked(document: YamlDocument, model: type[ModelT], error: type[HarnessError], data: Any = None) -> ModelT:
    """The document as a spec; every fault is reported at once, each with file, line, field and a remedy."""
    from pydantic import ValidationError

    try:
        return model.model_validate(document.data if data is None else data)
    except ValidationError as cause:
        faults = [_fault(document, model, dict(item)) for item in cause.errors(include_url=False)]
        raise error("\n".join(faults)) from None


def _fault(document: YamlDocument, model: type[BaseModel], item: dict[str, Any]) -> str:
    location = tuple(part for part in item["loc"] if (part,) != ("__root__",))
    name = ".".join(str(part) for part in location)
    kind, given = item["type"], item.get("input")
    if kind == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        remedy = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"
        message = f"unknown field; {remedy}" if known else "unknown field; remove it"
    elif kind == "missing":
        message = "this field is required; add it"
    elif kind == "value_error":
        message = str(item["ctx"]["error"])
    elif kind in ("enum", "literal_error"):
        expected = item["ctx"]["expected"]
        near = difflib.get_close_matches(str(given), re.findall(r"'([^']+)'", expected), n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        message = f'is "{given}"; {hint}known: {expected}'
    else:
        shown = repr(given) if not isinstance(given, dict | list) else f"a {type(given).__name__}"
        message = f"is {shown}; {item['msg'][0].lower()}{item['msg'][1:]}"
    where = document.where(tuple(location))
    return f"{where}: {name}: {message}" if name else f"{where}: {message}"


def _fields_at(model: Any, location: FieldPath) -> list[str]:
    """Names of the fields that the spec has at a place, for "did you mean"."""
    from pydantic import BaseModel

    candidates: list[Any] = [model]
    for part in location:
        following: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                fields = {f.alias or n: f.annotation for n, f in candidate.model_fields.items()}
                if part in fields:
                    following += _models_in(fields[str(part)])
                elif isinstance(part, int):
                    following.append(candidate)
        candidates = following or candidates
    names: list[str] = []
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            names += [f.alias or n for n, f in candidate.model_fields.items()]
    return sorted(set(names))


def _models_in(annotation: Any) -> list[Any]:
    from typing import get_args

    inner = [m for argument in get_args(annotation) for m in _models_in(argument)]
    return inner if inner else [annotation]
