"""What must not leave with a number: keys, passwords, and where things lie on one machine.

Matching is by the name of a field and by the known shapes of tokens; a secret of unknown shape in a free text is not
recognised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

REMOVED = "[removed]"
_NAME = re.compile(
    r"(?:^|[^a-z])(?:api[_-]?key|secret(?:[_-]?key)?|password|passwd|credentials?|authorization|cookie|private[_-]?key"
    r"|(?:access|auth|refresh|api|hub|hf|github|openai|bot|session|verify)[_-]?token)$|^token$",
    re.IGNORECASE,
)
_TEXT = (
    re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"),
    re.compile(r"\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{20,}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
    re.compile(r"\bAIza[0-9A-Za-z_-]{30,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?<=Bearer )\S{8,}", re.IGNORECASE),
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    re.compile(r"(?<=[?&])(?:api[_-]?key|key|token|access_token|sig|signature|password|secret)=[^&\s]+", re.IGNORECASE),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)


def clean_text(text: str) -> str:
    """`text` without keys and tokens of known shapes."""
    for pattern in _TEXT:
        text = pattern.sub(REMOVED, text)
    return text


def clean(value: Any) -> Any:
    """JSON types without secrets; an absolute path becomes its last part, behind `…/`."""
    if isinstance(value, Mapping):
        return {
            str(name): REMOVED if _NAME.search(str(name)) and item is not None else clean(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, str):
        return clean_text(_without_folder(value))
    return value


def _without_folder(text: str) -> str:
    if "\n" in text or (not text.startswith(("/", "~/", "file:/")) and not re.match(r"[A-Za-z]:[\\/]", text)):
        return text
    path = PureWindowsPath(text) if text[1:2] == ":" else PurePosixPath(text)
    return f"…/{path.name}"
