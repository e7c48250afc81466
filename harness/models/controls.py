"""Models that do not look: what the references alone, or chance, would score.

A control knows the references of the other clusters only (leave-one-cluster-out): samples of one cluster share their
image or question, so an answer from there would be a copy. The answers thus depend on which samples are in the task.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import time
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from harness.errors import ModelError
from harness.models.base import BEST, LETTERS, Example, Generation, Model, ModelInput, Options, checked_options
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem, Request

NO_EXAMPLE = Problem("no_examples", "no sample of another cluster has a reference that could be an answer here")


def valid_answer(reference: str, choices: Sequence[str]) -> bool:
    """Whether a reference of another sample can answer here: any text, or a letter or the text of an option."""
    return not choices or reference in tuple(LETTERS[: len(choices)]) or reference in choices


class Control(Model):
    """What the controls share: no weights, nothing to load, one answer for each request on its own."""

    rule: ClassVar[str]
    """Name and version of what the control does; part of its identity."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._fitted = False

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Any input; reads the other samples first, and answers by who asks."""
        return Capabilities(min_images=0, max_images=None, needs_examples=True, depends_on_sample=True, max_audio=None)

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """The rule by name and version, with its options."""
        options = checked_options(settings, cls.options_type)
        if settings.checkpoint:
            raise ModelError(f"{settings.name}: family {cls.family} has no weights; take run.checkpoint out")
        return ModelIdentity(settings, "no weights", {"rule": cls.rule, **options.model_dump()})

    @classmethod
    def load(cls, settings: ModelSettings) -> Self:
        """The control, which still has to be fitted."""
        cls.identify(settings)
        return cls(settings)

    def fit(self, examples: Iterable[Example]) -> None:
        """Read the other samples of a task; what an earlier task left is forgotten."""
        self.learn(examples)
        self._fitted = True

    def learn(self, examples: Iterable[Example]) -> None:
        """Count the references."""
        self.references = References(examples)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        """One answer for each request."""
        if not self._fitted:
            raise ModelError(f"{self.family}: call fit with the task's examples first")
        batch: Sequence[ModelInput] = prepared
        answers = (self.answer(item) for item in batch)
        return [a if isinstance(a, Problem) else Generation(a) for a in answers]

    @abstractmethod
    def answer(self, item: ModelInput) -> str | Problem:
        """The control's answer to one request."""


class References:
    """How often each reference occurs, in all and in each cluster."""

    def __init__(self, examples: Iterable[Example], form: Callable[[str], str] = str) -> None:
        """Count the references of `examples`; those of one `form` are alike, and their spellings are counted."""
        self.total: Counter[str] = Counter()
        self.clusters: dict[str, Counter[str]] = defaultdict(Counter)
        self.spellings: dict[str, Counter[str]] = defaultdict(Counter)
        for example in examples:
            for reference in example.references:
                self.total[form(reference)] += 1
                self.clusters[cluster_of(example)][form(reference)] += 1
                self.spellings[form(reference)][reference] += 1

    def own(self, cluster: str) -> Mapping[str, int]:
        """How often each form occurs inside a cluster."""
        return self.clusters.get(cluster, {})

    def score(self, form: str, without: Mapping[str, int]) -> float:
        """What decides between forms that occur equally often, the references of `without` not counted."""
        return 0.0

    @cached_property
    def forms(self) -> list[str]:
        """The distinct forms, sorted."""
        return sorted(self.total)

    @cached_property
    def _order(self) -> list[tuple[int, float, str]]:
        ranked = [(count, self.score(form, {}), form) for form, count in self.total.items()]
        return sorted(ranked, key=lambda entry: (-entry[0], -entry[1], entry[2]))

    def most_frequent(self, cluster: str, usable: Callable[[str], bool]) -> str | None:
        """The usable form that occurs most often outside a cluster; of equals the higher score, then sort order.

        Taking a cluster away only lowers count and score, so the search ends at the first entry that could not win.
        """
        own = self.own(cluster)
        best: tuple[int, float, str] | None = None
        for total, highest, form in self._order:
            if best and ((total, highest) < best[:2] or ((total, highest) == best[:2] and form > best[2])):
                break
            count = total - own.get(form, 0)
            if count < 1 or not usable(form):
                continue
            found = (count, self.score(form, own), form)
            if best is None or found[:2] > best[:2] or (found[:2] == best[:2] and form < best[2]):
                best = found
        return best[2] if best else None


def cluster_of(who: Example | Request) -> str:
    """The cluster, or the sample itself where it stands alone."""
    return who.cluster or who.sample_id


class MajorityAnswer(Control):
    """The most frequent reference of the other clusters, as it is written; the first in sort order of equals."""

    family = "majority-answer"
    rule = "most frequent reference of other clusters|v1"

    def answer(self, item: ModelInput) -> str | Problem:
        """The majority reference; where there are options, the majority letter among theirs."""
        request = item.request
        found = self.references.most_frequent(cluster_of(request), lambda form: valid_answer(form, request.choices))
        return NO_EXAMPLE if found is None else found


class FixedOptions(Options):
    """Options of the fixed answer."""

    answer: str
    """What is said to every request."""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long each request takes, to rehearse a run on a cluster without a model."""
    load_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long loading takes, likewise."""


class FixedAnswer(Control):
    """The same answer to everything, as it stands in the card: shows how far a position or "yes" alone comes."""

    family = "fixed-answer"
    rule = "one answer to everything|v1"
    options_type: ClassVar[type[Options]] = FixedOptions

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Any input; needs to read nothing first."""
        return replace(super().capabilities(settings), needs_examples=False, depends_on_sample=False)

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._options = checked_options(settings, FixedOptions)
        self._fitted = True

    @classmethod
    def load(cls, settings: ModelSettings) -> Self:
        """The control, after the time that the card says."""
        time.sleep(checked_options(settings, FixedOptions).load_seconds)
        return super().load(settings)

    def answer(self, item: ModelInput) -> str | Problem:
        """The answer of the card."""
        time.sleep(self._options.seconds)
        return self._options.answer


class RandomOptions(Options):
    """Options of the random control."""

    seed: int = 0


class RandomChoice(Control):
    """One of the options, or else of the distinct references of the other clusters, each with equal chance.

    Drawn by SHA-256 of seed and sample id: the same answer in any order, batch and subset (with options). Candidates
    of a retrieval task are ranked by SHA-256 of seed, query and candidate.
    """

    family = "random-choice"
    rule = "uniform by sha256 of seed and sample id|v1"
    options_type: ClassVar[type[Options]] = RandomOptions

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """As every control; also ranks candidates."""
        return replace(super().capabilities(settings), can_retrieve=True)

    def learn(self, examples: Iterable[Example]) -> None:
        """Count the references, and keep the ids of the candidates."""
        known = list(examples)
        super().learn(known)
        self._images = sorted(e.sample_id for e in known if e.n_images == 1 and not e.prompt.strip())
        self._texts = sorted(e.sample_id for e in known if e.n_images == 0 and e.prompt.strip())

    def answer(self, item: ModelInput) -> str | Problem:
        """A letter where there are options, a reference otherwise."""
        request = item.request
        if request.choices:
            return LETTERS[self._draw(request, min(len(request.choices), len(LETTERS)))]
        own = self.references.own(cluster_of(request))
        only_here = {form for form, count in own.items() if count == self.references.total[form]}
        forms = [form for form in self.references.forms if form not in only_here]
        return forms[self._draw(request, len(forms))] if forms else NO_EXAMPLE

    def retrieve(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The candidates of the other kind in an order drawn for each query: chance level."""
        return [self._shuffled(item) for item in batch]

    def _shuffled(self, item: ModelInput) -> Generation | Problem:
        """The first candidates by SHA-256 of seed, query and candidate; the scores say the order and no more."""
        if not self._fitted:
            raise ModelError(f"{self.family}: call fit with the task's examples first")
        ids = self._texts if item.images else self._images
        if not ids:
            return Problem("no_candidates", "the task has no candidates of the other kind")
        seed, query = checked_options(self.settings, RandomOptions).seed, item.request.sample_id
        best = heapq.nsmallest(BEST, ids, key=lambda name: _digest(f"{seed}\n{query}\n{name}"))
        return Generation(
            json.dumps(best, ensure_ascii=False), choice_scores=tuple(-float(n) for n in range(len(best)))
        )

    def _draw(self, request: Request, count: int) -> int:
        """0 to `count` - 1; 256 bits modulo `count` are as good as uniform."""
        seed = checked_options(self.settings, RandomOptions).seed
        return int.from_bytes(_digest(f"{seed}\n{request.sample_id}"), "big") % count


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def caption_form(caption: str) -> str:
    """A caption in lower case, without punctuation, with single spaces."""
    return " ".join(re.findall(r"\w+", caption.casefold()))


class Captions(References):
    """Captions by their words; of equally frequent ones the one with the most typical words is first."""

    def __init__(self, examples: Iterable[Example]) -> None:
        super().__init__(examples, caption_form)
        self._words = {form: frozenset(form.split()) for form in self.total}
        self._in_captions: Counter[str] = Counter()
        for form, count in self.total.items():
            for word in self._words[form]:
                self._in_captions[word] += count

    def score(self, form: str, without: Mapping[str, int]) -> float:
        """Σ n(w) / sqrt(|c|) over the words w of caption c, where n(w) captions hold w."""
        words = self._words[form]
        found = sum(self._in_captions[word] for word in words)
        found -= sum(count * len(words & self._words[other]) for other, count in without.items())
        return float(found / len(words) ** 0.5) if words else 0.0


class FrequentCaption(Control):
    """The caption that other clusters hold most often, case and punctuation aside, in its most frequent spelling.

    Few captions occur twice, so ties are the rule; they go to the caption whose set of words has the largest cosine
    with the word counts of all captions of the other clusters.
    """

    family = "frequent-caption"
    rule = "most frequent caption of other clusters, ties to the most typical words|v1"
    references: Captions

    def learn(self, examples: Iterable[Example]) -> None:
        """Count captions, and in how many of them each word stands."""
        self.references = Captions(examples)

    def answer(self, item: ModelInput) -> str | Problem:
        """The caption, with capitals and punctuation as most often written in the other clusters or here."""
        form = self.references.most_frequent(cluster_of(item.request), bool)
        if form is None:
            return NO_EXAMPLE
        spellings = self.references.spellings[form]
        return min(spellings, key=lambda text: (-spellings[text], text))
