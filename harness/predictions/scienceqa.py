"""Published ScienceQA answers, in two forms.

LLaVA's analysis file, `{"correct": […], "incorrect": […]}`, holds prompts and truth; the options are read out of the
prompt. A results file, `{"results": {problem: option index}}` as of the GPT-3 baseline, holds neither, and an answer
there is the letter of its index; where the source could not read its model (index −1) the answer is empty.
"""

from __future__ import annotations

import re
import string

from harness.errors import PredictionError
from harness.predictions.base import Prediction, Readout
from harness.predictions.content import Content, Row
from harness.records import Sample

_IMAGE = "<image>\n"
_CONTEXT = "Context: "
_LAST_QUESTION = re.compile(r"(?:^(?:Complete the |Is the following )[^\n]*\n)?^[^\n]*\Z", re.MULTILINE)
_INSTRUCTION = "\nAnswer with the option's letter"


def matches_llava(content: Content) -> bool:
    """Whether the one object has the lists `correct` and `incorrect`."""
    return content.shape == "object" and all(
        isinstance(content.document.get(name), list) for name in ("correct", "incorrect")
    )


def read_llava(content: Content) -> Readout:
    """The answers of both lists; `gold` has choices, letter, and `modality` (image or text) as metadata."""
    return Readout(tuple((row.where, _prediction(row)) for row in _llava_rows(content)))


def _llava_rows(content: Content) -> list[Row]:
    rows = []
    for name in ("correct", "incorrect"):
        entries = content.document.get(name)
        if not isinstance(entries, list):
            raise PredictionError(f'{content.path}: "{name}" should be a list of answers')
        for number, entry in enumerate(entries, start=1):
            where = f'{content.path}: entry {number} of "{name}"'
            if not isinstance(entry, dict):
                raise PredictionError(f"{where} should be an object with named fields")
            rows.append(Row(where, entry))
    return rows


def _prediction(row: Row) -> Prediction:
    sample_id, prompt = row.text("question_id"), row.text("question")
    hint, question, choices = split_prompt(prompt, row.where)
    multimodal = row.required("is_multimodal")
    if not isinstance(multimodal, bool):
        raise PredictionError(f'{row.where}: field "is_multimodal" is {multimodal!r}; it should be true or false')
    gold = Sample(
        sample_id,
        question=question,
        references=(row.text("ground_truth"),),
        choices=choices,
        hint=hint,
        cluster=sample_id,
        metadata={"modality": "image" if multimodal else "text"},
    )
    return Prediction(sample_id, row.text("pred"), gold)


def split_prompt(prompt: str, where: str) -> tuple[str, str, tuple[str, ...]]:
    """Hint, question and options of a LLaVA prompt.

    A hint of several lines runs up to the question, which is the last line before the options, together with the line
    before it where that is one of ScienceQA's lead-ins ("Complete the sentence.", "Is the following statement … ?").

    Raises:
        PredictionError: no options "A. …", "B. …" on lines of their own.
    """
    body = prompt.removeprefix(_IMAGE).rpartition(_INSTRUCTION)[0] or prompt.removeprefix(_IMAGE)
    stem, found, rest = body.rpartition("\nA. ")
    if not found:
        raise PredictionError(f'{where}: the question has no options ("A. …" on a line of its own)')
    choices = []
    for letter in string.ascii_uppercase[1:]:
        choice, found, rest = rest.partition(f"\n{letter}. ")
        choices.append(choice)
        if not found:
            break
    if not stem.startswith(_CONTEXT):
        return "", stem, tuple(choices)
    body = stem.removeprefix(_CONTEXT)
    question = _LAST_QUESTION.search(body)
    start = question.start() if question else 0
    return body[:start].rstrip("\n"), body[start:], tuple(choices)


def matches_results(content: Content) -> bool:
    """Whether the one object has the table `results`."""
    return content.shape == "object" and isinstance(content.document.get("results"), dict)


def read_results(content: Content) -> Readout:
    """The letter of each problem's index; no `gold`, since the file does not hold the questions."""
    results = content.document.get("results")
    if not isinstance(results, dict):
        raise PredictionError(f'{content.path} has no table "results" of problem id to option index')
    found, unread = [], 0
    for problem, index in results.items():
        where = f'{content.path}: results "{problem}"'
        if not isinstance(index, int) or isinstance(index, bool) or not -1 <= index < 26:
            raise PredictionError(f"{where} is {index!r}; it should be the index of an option, or -1")
        unread += index < 0
        found.append((where, Prediction(problem, string.ascii_uppercase[index] if index >= 0 else "")))
    notes = (f"{unread} answers could not be read by their source (index -1) and are empty here",) if unread else ()
    return Readout(tuple(found), notes)
