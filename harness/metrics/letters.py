"""Reading an option letter out of an answer; every reading says which rule fired, and nothing is drawn at random.

`read_letter` is ours, `read_letter_vlmevalkit` follows VLMEvalKit's exact matching (`utils/matching_util.py`) with its
quirks, `read_letter_scienceqa` LLaVA's `eval_science_qa.py`. None looks at anything but the answer and the options.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import NamedTuple

UNPARSED = "unparsed"
"""The rule of an answer that no rule could read (`records.Score.rule`); it counts as wrong."""
UNKNOWN_CHOICES = 5
"""Options A–E are assumed where a sample does not say what they are."""


class Reading(NamedTuple):
    """What was read: an upper-case letter and the rule, or `None` and `unparsed`."""

    letter: str | None
    rule: str


NOTHING = Reading(None, UNPARSED)
_FIRST_LETTERS = tuple(tuple(string.ascii_uppercase[:count]) for count in range(len(string.ascii_uppercase) + 1))


def option_letters(choices: Sequence[str]) -> tuple[str, ...]:
    """The letters of the options, A first."""
    return _FIRST_LETTERS[min(len(choices), len(string.ascii_uppercase)) or UNKNOWN_CHOICES]


_OPEN = r"\s\"'“”‘’«`*_(\[{<"
_CLOSE = r"\"'“”‘’»`*_)\]}>"
_AROUND = " \t\r\n\"'“”‘’«»`*_()[]{}<>.,:;!?"
_LETTER = rf"[{_OPEN}]*\b([A-Za-z])(?![\w'’])([{_CLOSE}]*)(?![{_CLOSE}]*\s+(?:is|are)\s+(?:wrong|incorrect|not)\b)"
_BEFORE_WORD = r"([ \t]+[a-z])?"
_STATED = re.compile(
    r"\b(?:answer|(?:correct|right|best)\s+(?:option|choice))\b(?:\s+(?:is|would\s+be|must\s+be|should\s+be))?\s*[:=-]?"
    rf"(?:\s*(?:the\s+)?(?:option|choice|letter)\b)?{_LETTER}{_BEFORE_WORD}"
    rf"|(?<![\w'’])([A-Z])[{_CLOSE}]*\s+is\s+(?:the\s+)?(?:correct|right|best)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"\b(?:option|choice)\b\s*{_LETTER}{_BEFORE_WORD}()", re.IGNORECASE)
_LEADING = re.compile(rf"[{_OPEN}]*([A-Za-z])(?:[{_CLOSE}.:]+(?=\s|$)|[ \t]*\n)")
_BLANKS = re.compile(r"\s+")
_NEGATION = re.compile(r"\b(?:not|never)$|n['’]t$", re.IGNORECASE)


def read_letter(text: str, choices: Sequence[str]) -> Reading:
    """The option that an answer names, by the first rule that fires.

    - `letter`: nothing but the letter, quoted or bracketed or not, in either case;
    - `not_an_option`: nothing but a capital letter that no option has; it was read, and is wrong;
    - `option_text`: nothing but one option's text;
    - `answer_is`: "the answer is B", "correct option: c", "B is correct"; two different letters are unparsed;
    - `option_named`: "option B", likewise;
    - `leading_letter`: "B. because …", unless further lines begin with other letters;
    - `stand_alone_letter`: one capital option letter among the last four words. An "A" before a lower-case word is an
      article, and a letter after "not" does not count;
    - `option_text_inside`: one option's text as whole words, not after "not", in an answer at most twice as long as
      the options together.
    """
    letters = option_letters(choices)
    bare = text.strip(_AROUND)
    if bare.upper() in letters:
        return Reading(bare.upper(), "letter")
    if len(bare) == 1 and bare in string.ascii_uppercase and bare not in choices:
        return Reading(bare, "not_an_option")
    folded = [choice.strip(_AROUND).casefold() for choice in choices]
    if bare and folded.count(bare.casefold()) == 1:
        return Reading(letters[folded.index(bare.casefold())], "option_text")
    text = _BLANKS.sub(lambda run: "\n" if "\n" in run[0] else " ", text)  # long runs make the patterns below slow
    for pattern, rule in ((_STATED, "answer_is"), (_NAMED, "option_named")):
        stated = _stated(pattern, text, letters)
        if stated:
            return Reading(stated.pop(), rule) if len(stated) == 1 else NOTHING
    leading = {match[1].upper() for line in text.splitlines(keepends=True) if (match := _LEADING.match(line))}
    first = _LEADING.match(text)
    if first and len(leading) == 1 and first[1].upper() in letters:
        return Reading(first[1].upper(), "leading_letter")
    alone = _stand_alone(text, letters)
    if alone:
        return Reading(alone, "stand_alone_letter")
    inside = _texts_inside(text.casefold(), folded)
    return Reading(letters[inside[0]], "option_text_inside") if len(inside) == 1 else NOTHING


def _stated(pattern: re.Pattern[str], text: str, letters: Sequence[str]) -> set[str]:
    found = set()
    for match in pattern.finditer(text):
        letter = match[1] or match[4]
        article = match[1] in ("a", "i") and not match[2] and match[3]
        if not article and (match[1] or letter.isupper()) and letter.upper() in letters:
            found.add(letter.upper())
    return found


def _stand_alone(text: str, letters: Sequence[str]) -> str | None:
    written = text.split()
    words = [word.strip(_AROUND) for word in written]
    places: dict[str, int] = {}
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        article = written[place] in ("A", "I") and following[:1].islower()
        negated = place > 0 and _NEGATION.search(words[place - 1])
        if word in letters and not article and not negated:
            places.setdefault(word, place)
    if len(places) != 1:
        return None
    ((letter, place),) = places.items()
    return letter if place >= len(words) - 4 else None


def _texts_inside(text: str, options: Sequence[str]) -> list[int]:
    if len(text) > 2 * sum(len(option) for option in options):
        return []
    return [number for number, option in enumerate(options) if option and _says(text, option)]


def _says(text: str, option: str) -> bool:
    places = re.finditer(rf"(?<!\w){re.escape(option)}(?!\w)", text)
    return any(not _NEGATION.search(text[: place.start()].rstrip()) for place in places)


_VLMEVALKIT_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_VLMEVALKIT_ANSWER_IS = re.compile(r"(?i)(?:correct\s+)?answer\s+is\s+\**([ABCD])\**")
_VLMEVALKIT_BLANKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))


def read_letter_vlmevalkit(text: str, choices: Sequence[str]) -> Reading:
    """The option by VLMEvalKit's exact matching; "Z" (rule `refusal`) is its letter for an answer that declines.

    Its quirks are kept: an article "A" near the end is a letter, quotes are not removed, an option text counts inside
    a longer word. Left out: the environment variable VERBOSE, which changes its verdicts, and the judge model with its
    random choice.
    """
    letters = option_letters(choices)
    if "Failed to obtain answer via API" not in text:
        if any(refusal in text for refusal in _VLMEVALKIT_REFUSALS):
            return Reading("Z", "refusal")
        words = text.translate(_VLMEVALKIT_BLANKS).split()
        present = [letter for letter in letters if letter in words]
        if len(present) == 1 and words.index(present[0]) > len(words) - 5:
            return Reading(present[0], "stand_alone_letter")
        if not present and "Z" in words:
            return Reading("Z", "refusal")
        stated = _VLMEVALKIT_ANSWER_IS.search(text)
        if stated and stated[1].upper() in letters:
            return Reading(stated[1].upper(), "answer_is")
    options = [choice.lower() for choice in choices]
    if len(text) > 2 * sum(len(option) for option in options):
        return NOTHING
    inside = [letter for letter, option in zip(letters, options, strict=False) if option in text.lower()]
    return Reading(inside[0], "option_text_inside") if len(inside) == 1 else NOTHING


_SCIENCEQA_ANSWER_IS = re.compile(r"The answer is ([A-Z]).")


def read_letter_scienceqa(text: str, choices: Sequence[str]) -> Reading:
    """The option by LLaVA's rule: exactly the letter, "X. …", or a single "The answer is X." anywhere.

    The character after X may be any but a line end: the reference's full stop is an unescaped one. The text is stripped
    first, as LLaVA's own answers are before they are stored. A letter beyond the options is read and wrong.
    """
    stripped = text.strip()
    letters = option_letters(())
    if stripped in letters:
        return Reading(stripped, "letter")
    if stripped[:1] in letters and stripped[1:3] == ". ":
        return Reading(stripped[0], "leading_letter")
    stated = _SCIENCEQA_ANSWER_IS.findall(stripped)
    return Reading(stated[0], "answer_is") if len(stated) == 1 else NOTHING
