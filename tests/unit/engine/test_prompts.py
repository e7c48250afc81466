"""Prompts: the rendered words against the published wording, and faults."""

from __future__ import annotations

import pytest

from harness.engine.prompts import render
from harness.errors import SuiteError
from harness.records import Sample
from harness.tasks.loading import load_task

CHOICE = Sample("1", question="Which colour?", choices=("red", "blue"), hint="Look closely.")
LLAVA = "USER: {% if images %}<image>\n{% endif %}{{ text }} ASSISTANT:"


def words(task: str, sample: Sample, template: str = "{{ text }}", images: int = 1) -> str:
    return render(sample, prompt=load_task(task).prompt.text, template=template, images=images, name=task)


def test_mmbench_prompt_has_the_published_wording() -> None:
    assert words("mmbench-en", CHOICE, LLAVA) == (
        "USER: <image>\nLook closely.\nWhich colour?\nA. red\nB. blue\n"
        "Answer with the option's letter from the given choices directly. ASSISTANT:"
    )


def test_a_question_without_hint_and_image_has_neither_line() -> None:
    text = words("scienceqa", Sample("1", question="Which?", choices=("x", "y")), LLAVA, images=0)
    assert text == (
        "USER: Which?\nA. x\nB. y\nAnswer with the option's letter from the given choices directly. ASSISTANT:"
    )


def test_chartqa_prompt_asks_for_a_short_answer() -> None:
    assert words("chartqa", Sample("1", question="How many?")) == (
        "How many?\nAnswer the question using a single word or phrase."
    )


def test_braces_in_a_question_are_text_not_template() -> None:
    assert "{{ hint }} {% x %}" in words("chartqa", Sample("1", question="{{ hint }} {% x %}"))


@pytest.mark.parametrize(
    "template", ["{{ nothing }}", "{% if %}", "{{ text.__class__.__mro__ }}", "{{ 1 // 0 }}", "{% include 'x' %}"]
)
def test_a_bad_template_is_a_named_error(template: str) -> None:
    with pytest.raises(SuiteError, match="prompt mine"):
        render(CHOICE, prompt="words", template=template, images=1, name="mine")


@pytest.mark.parametrize("template", ["{% block b %}{{ text }}{% endblock %}", "{% extends 'x' %}"])
def test_a_template_that_inherits_is_refused_in_words(template: str) -> None:
    with pytest.raises(SuiteError, match="prompt mine: a prompt stands alone"):
        render(CHOICE, prompt="words", template=template, images=1, name="mine")


def test_what_a_template_may_do_besides_putting_in_values() -> None:
    prompt = (
        "{% for number in range(2) %}{{ number }}{% endfor %} {% set few = choices[:1] %}{% for letter, text in few %}"
    )
    prompt += "{{ letter }}{{ text | upper }}{% endfor %}{% macro dot() %}.{% endmacro %}{{ dot() }}"
    made = render(CHOICE, prompt=prompt, template="<{{ text }}{{ '|i' * images }}>", images=2, name="mine")
    assert made == f"<01 A{CHOICE.choices[0].upper()}.|i|i>"
