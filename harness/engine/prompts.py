"""Prompt templates: the task's words, then the model's own format around them. Jinja in its sandbox."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from harness.errors import SuiteError
from harness.models.base import Model
from harness.records import Sample

if TYPE_CHECKING:
    from jinja2 import Template

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@cache
def _template(text: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    made = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(text)
    made.globals = dict(made.globals)  # a chain of mappings, which every rendering would copy key by key
    return made


def _rendered(template: str, name: str, **values: Any) -> str:
    from jinja2 import TemplateError

    try:
        return _template(template).render(**values)
    except TemplateError as error:
        raise SuiteError(f"{name}: {error}; a prompt may use {', '.join(sorted(values))}") from error


def render(sample: Sample, *, prompt: str, template: str, images: int, name: str) -> str:
    """The text that the model reads for one sample.

    Args:
        prompt: the task's template.
        template: the model's template around it.
        images: how many images the model will be given.
        name: what an error message calls the prompt.

    Raises:
        SuiteError: a template is not valid Jinja or uses a name that is not there.
    """
    text = _rendered(
        prompt,
        f"prompt {name}",
        question=sample.question,
        hint=sample.hint,
        choices=list(zip(LETTERS, sample.choices, strict=False)),
        metadata=dict(sample.metadata),
        images=images,
    )
    if template == Model.template:
        return text
    return _rendered(template, f"template around prompt {name}", text=text, images=images)
