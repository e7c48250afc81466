"""Endless training examples from the mini generator: scenes, questions, statements, charts and formulas.

Streams of training, validation and test never meet: training is drawn from `(seed, step)`, validation from the
generator's own `validation` stream, test from its `test` stream, and formulas are parted by content as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.mini import charts, formulas, scenes, statements
from harness.mini.questions import ChoiceQuestion, about, compose
from harness.mini.streams import Dice
from harness.training.examples import Example, Spot, Turn

LETTERS = "ABCD"


CHOICE_PROMPT = "{{ question }}{% for letter, choice in choices %} {{ letter }}. {{ choice }}{% endfor %}"
"""The prompt of a card that words a question as `choice_turn` does."""


def options_line(options: Sequence[str]) -> str:
    """The options of a question as the nano models read them: ` A. red B. blue …`."""
    return "".join(f" {letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def choice_turn(asked: ChoiceQuestion) -> Turn:
    """A question with its options, answered with the option's text."""
    return Turn(f"{asked.question}{options_line(asked.options)}", asked.options[asked.answer])


@dataclass(frozen=True, slots=True)
class Scenes:
    """Captions of scenes, and questions about them."""

    captions: bool = True
    questions: int = 0
    """Questions about each picture beside the caption."""
    caption_prompt: str = ""

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """A scene with its caption and questions."""
        dice = Dice(rng)
        layout = scenes.plan(dice)
        turns = [self._caption(layout)] if self.captions else []
        turns += [choice_turn(self._question(dice, layout)) for _ in range(self.questions)]
        return Example((scenes.render(layout),), tuple(turns), "scene", shapes(layout))

    def held_out(self, rng: np.random.Generator) -> Example:
        """A caption or a question of one kind."""
        dice = Dice(rng)
        if self.captions and (not self.questions or dice.chance(0.5)):
            layout = scenes.plan(dice)
            return Example((scenes.render(layout),), (self._caption(layout),), "caption")
        layout, asked = compose(dice)
        return Example((scenes.render(layout),), (choice_turn(asked),), asked.kind)

    def texts(self) -> Sequence[str]:
        """Captions and questions of two thousand scenes."""
        rng = np.random.default_rng(0)
        found = (self.draw(rng, 1.0) for _ in range(2000))
        return [f"{turn.prompt} {turn.answer}" for example in found for turn in example.turns]

    def _caption(self, layout: scenes.Layout) -> Turn:
        first, *others = scenes.captions(layout)
        return Turn(self.caption_prompt, first, tuple(others))

    def _question(self, dice: Dice, layout: scenes.Layout) -> ChoiceQuestion:
        return about(dice, layout)


def shapes(layout: scenes.Layout, picture: int = 0) -> tuple[Spot, ...]:
    """Size, colour and shape of everything in a scene, where it stands."""
    return tuple(Spot(f"{t.size} {t.colour} {t.shape}", *scenes.middle(t), picture) for t in layout.things)


@dataclass(frozen=True, slots=True)
class Statements:
    """Sentences about two scenes, answered True or False."""

    sentences: int = 1
    """Sentences about each pair of pictures."""

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """A pair with sentences; every sentence is true or false equally often."""
        dice = Dice(rng)
        made = statements.draw(rng)
        turns = [self._turn(made.sentence, made.truth)]
        turns += [self._turn(*statements.about(dice, made.layouts)) for _ in range(self.sentences - 1)]
        spots = tuple(spot for number, layout in enumerate(made.layouts) for spot in shapes(layout, number))
        return Example((made.left, made.right), tuple(turns), "statement", spots)

    def held_out(self, rng: np.random.Generator) -> Example:
        """A pair with one sentence."""
        made = statements.draw(rng)
        return Example((made.left, made.right), (self._turn(made.sentence, made.truth),), "statement")

    def texts(self) -> Sequence[str]:
        """Two thousand sentences."""
        rng = np.random.default_rng(0)
        return [f"{s.turns[0].prompt} {s.turns[0].answer}" for s in (self.held_out(rng) for _ in range(2000))]

    def _turn(self, sentence: str, truth: bool) -> Turn:
        return Turn(sentence, str(truth))


@dataclass(frozen=True, slots=True)
class Charts:
    """Charts with their tables in the linear form of DePlot."""

    prompt: str = ""
    value_spots: bool = False
    """Tell the places of values beside those of labels: ends of bars, markers, insides of slices."""

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """A chart of two to four rows, with the places of its labels."""
        return self._example(rng)

    def held_out(self, rng: np.random.Generator) -> Example:
        """A chart of two to four rows."""
        return self._example(rng)

    def texts(self) -> Sequence[str]:
        """Tables and questions of two thousand charts."""
        rng = np.random.default_rng(0)
        found = (self._example(rng) for _ in range(2000))
        return [f"{turn.prompt} {turn.answer}" for example in found for turn in example.turns]

    def _example(self, rng: np.random.Generator) -> Example:
        chart = charts.draw(rng)
        seen = list(zip(chart.plan.labels, chart.label_places, strict=True))
        if self.value_spots:
            seen += zip(map(str, chart.plan.values), chart.value_places, strict=True)
        spots = tuple(Spot(text, column, row) for text, (column, row) in seen)
        return Example((chart.image,), (Turn(self.prompt, linear_table(chart.plan)),), chart.plan.kind, spots)


def linear_table(chart: charts.Plan) -> str:
    """A chart's table as DePlot writes it: cells parted by ` | `, rows by ` <0x0A> `."""
    return " <0x0A> ".join(f"{a} | {b}" for a, b in charts.table(chart))


@dataclass(frozen=True, slots=True)
class Formulas:
    """Formulas with their tokenised LaTeX."""

    prompt: str = ""

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """A training formula: at most five tokens at first, twelve from 30 % of the training on."""
        return self._example(rng, "train", 5 + int(7 * min(1.0, progress / 0.3)))

    def held_out(self, rng: np.random.Generator) -> Example:
        """A validation formula of any length."""
        return self._example(rng, "validation", formulas.MAX_TOKENS)

    def texts(self) -> Sequence[str]:
        """Two thousand training formulas, and every token."""
        rng = np.random.default_rng(0)
        found = (formulas.draw(rng, "train").latex for _ in range(2000))
        return [*found, " ".join(formulas.TOKENS)]

    def _example(self, rng: np.random.Generator, split: str, most: int) -> Example:
        made = formulas.draw(rng, "train" if split == "train" else "validation", most)
        return Example((made.image,), (Turn(self.prompt, made.latex),), f"{_bucket(len(made.latex.split()))} tokens")


def _bucket(tokens: int) -> str:
    return "1-5" if tokens <= 5 else "6-9" if tokens <= 9 else "10-12"
