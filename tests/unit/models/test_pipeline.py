"""Two-stage charts: what each stage is asked and what is kept. Evidence: scripted parts, worked examples by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from harness import registry
from harness.engine.prompts import render
from harness.errors import CardError, ModelError, ModelOutOfMemory
from harness.fingerprint import fingerprint
from harness.models.base import Generation, Model, ModelInput
from harness.models.pipeline import NEXT_QUESTION, Pipeline, WorkedExample, examples_text, laid_out
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem, Sample
from harness.tasks.loading import load_task
from tests.model_inputs import GREEDY, item, picture

TABLE = "Year | Sales <0x0A> 2001 | 3"


class Part(Model):
    """Says what its options script, and keeps what it was asked."""

    log: ClassVar[list[tuple[str, list[ModelInput], GenerationSettings]]] = []
    closed: ClassVar[list[str]] = []

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        return Capabilities(**settings.options.get("can", {}))

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        return ModelIdentity(settings, f"sha256:{settings.name}", {"p": settings.name}, (f"{settings.name} warns",))

    @classmethod
    def load(cls, settings: ModelSettings) -> Part:
        if settings.options.get("broken"):
            raise ModelError("cannot be loaded")
        return cls(settings)

    def bucket(self, one: ModelInput) -> int:
        return len(one.request.prompt)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        batch: Sequence[ModelInput] = prepared
        self.log.append((self.settings.name, list(batch), settings))
        if self.settings.options.get("full"):
            raise ModelOutOfMemory("full")
        says = self.settings.options["says"]
        given = [says(one) if callable(says) else says for one in batch]
        return [g if isinstance(g, Problem) else Generation(g, 5, 2) for g in given]

    def close(self) -> None:
        self.closed.append(self.settings.name)


class Reader(Part):
    family = "reader"
    template = "<{{ images }}> {{ text }}"


class Reasoner(Part):
    family = "reasoner"
    template = "USER: {{ text }} ASSISTANT:"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    original = registry.load
    found = {"reader": Reader, "reasoner": Reasoner}
    monkeypatch.setattr(registry, "load", lambda kind, name: found.get(name) or original(kind, name))
    Part.log.clear()
    Part.closed.clear()


def settings(reader: dict[str, Any] | None = None, reasoner: dict[str, Any] | None = None, **options: Any) -> Any:
    read = {"says": TABLE, "can": {"min_images": 1, "max_images": 1}, **(reader or {})}
    think = {"says": " 3\nQ: and then?", "can": {"max_images": 0}, **(reasoner or {})}
    parts = {
        "reader": ModelSettings("deplot", "reader", options=read),
        "reasoner": ModelSettings("qwen", "reasoner", options=think),
    }
    return ModelSettings("two", "pipeline", options=options, parts=parts)


def answers(given: ModelSettings, batch: Sequence[ModelInput]) -> list[Any]:
    model = Pipeline.load(given)
    return model.generate(model.prepare(list(batch)), GREEDY)


def test_the_reader_sees_the_picture_and_the_reasoner_the_table_alone() -> None:
    (answer,) = answers(settings(), [item(0, "How many sales?")])
    (_, (read,), reading), (_, (asked,), thinking) = Part.log
    assert read.request.prompt == "<1> Generate underlying data table of the figure below:"
    assert read.images == (picture(0),)
    assert (reading.max_new_tokens, read.request.generation) == (512, reading)
    text = (
        "Read the table below to answer the following question.\n\nYear | Sales \n 2001 | 3\n\nQ: How many sales?\nA:"
    )
    assert asked.request.prompt == f"USER: {text} ASSISTANT:"
    assert (asked.images, asked.request.images) == ((), ())
    assert thinking == dataclasses.replace(GREEDY, stop=NEXT_QUESTION)
    assert answer == Generation("3", 5, 2, steps=(("table", TABLE),))


def test_worked_examples_stand_before_the_question_in_its_layout() -> None:
    shots = [{"table": "a | b\n1 | 2", "question": "What is b?", "answer": "2"}]
    answers(settings(few_shot=shots), [item(0, "Q0")])
    prompt = Part.log[1][1][0].request.prompt
    assert prompt.startswith(
        "USER: Read the table below to answer the following question.\n\na | b\n1 | 2\n\nQ: What is b?\nA: 2\n\nRead"
    )
    assert examples_text([]) == ""
    assert prompt.count("Q: ") == 2


def test_what_follows_the_mark_is_the_answer_and_the_way_to_it_is_kept() -> None:
    said = "3 is more than 2. The answer is 3"
    (answer,) = answers(settings(reasoner={"says": said}, answer_after="The answer is"), [item(0, "Q")])
    assert (answer.text, answer.steps[1]) == ("3", ("reasoning", said))
    (answer,) = answers(settings(reasoner={"says": "4"}, answer_after="The answer is"), [item(0, "Q")])
    assert (answer.text, len(answer.steps)) == ("4", 1)


def test_one_picture_is_read_once_for_all_its_questions() -> None:
    model = Pipeline.load(settings())
    batch = [item(0, "a"), item(0, "b"), item(1, "c")]
    model.generate(model.prepare(batch), GREEDY)
    model.generate(model.prepare([item(0, "d")]), GREEDY)
    assert [len(batch) for name, batch, _ in Part.log if name == "deplot"] == [2]


def test_other_pixels_behind_the_same_hash_are_read_anew() -> None:
    model = Pipeline.load(settings(reader={"says": lambda one: f"table {one.images[0].size}"}))
    first, second = item(0, "a"), item(0, "a", pictures=(picture(1),))
    second = ModelInput(dataclasses.replace(second.request, images=first.request.images), second.images)
    one, other = (model.generate(model.prepare([given]), GREEDY)[0] for given in (first, second))
    assert isinstance(one, Generation)
    assert isinstance(other, Generation)
    assert one.steps != other.steps


def test_a_problem_of_either_stage_concerns_its_input_alone_and_names_the_stage() -> None:
    def read(one: ModelInput) -> str | Problem:
        return Problem("image_too_narrow", "too narrow") if one.images[0] == picture(0) else TABLE

    def think(one: ModelInput) -> str | Problem:
        return Problem("prompt_too_long", "too long") if "Q: long" in one.request.prompt else "yes"

    got = answers(settings({"says": read}, {"says": think}), [item(0, "a"), item(1, "long"), item(2, "c")])
    assert got[0] == Problem("image_too_narrow", "reader: too narrow")
    assert got[1] == Problem("prompt_too_long", "reasoner: too long")
    assert got[2].text == "yes"


@pytest.mark.parametrize(("batching", "sizes"), [("padded", [4]), ("single", [1, 1, 1, 1]), ("bucketed", [3, 1])])
def test_each_part_is_asked_in_batches_that_it_takes(batching: str, sizes: list[int]) -> None:
    think = {"says": lambda one: one.request.prompt[-14:-12], "can": {"max_images": 0, "batching": batching}}
    got = answers(settings(reasoner=think), [item(n, q) for n, q in enumerate(("q0", "longer", "q2", "q3"))])
    assert sorted((len(b) for name, b, _ in Part.log if name == "qwen"), reverse=True) == sizes
    assert len(got) == 4
    assert all(isinstance(one, Generation) for one in got)


def test_memory_that_runs_out_in_a_part_is_the_engines_to_handle() -> None:
    with pytest.raises(ModelOutOfMemory):
        answers(settings(reasoner={"full": True}), [item(0, "a"), item(1, "b")])


def test_with_a_given_table_the_reader_is_neither_loaded_nor_asked() -> None:
    given = settings(reader={"broken": True}, table="given", few_shot=[{"table": "t", "question": "q", "answer": "a"}])
    can = Pipeline.capabilities(given)
    assert (can.min_images, can.max_images) == (0, 0)
    prompt = laid_out("Year | Sales\n2001 | 3", "How many?")
    (answer,) = answers(given, [item(0, prompt, pictures=())])
    ((_, (asked,), _),) = Part.log
    shot = examples_text([WorkedExample(table="t", question="q", answer="a")])
    assert asked.request.prompt == f"USER: {shot}{prompt} ASSISTANT:"
    assert answer == Generation("3", 5, 2)
    assert Pipeline.identify(given).weights == "reasoner sha256:qwen"


def test_the_task_with_true_tables_asks_in_the_pipelines_own_words_and_stops() -> None:
    task, plain = load_task("chartqa-gold-table"), load_task("chartqa")
    sample = Sample("s", question="How many?", metadata={"table": "Year | Sales\n2001 | 3"})
    told = render(sample, prompt=task.prompt.text, template="{{ text }}", images=0, name="gold")
    question = render(sample, prompt=plain.prompt.text, template="{{ text }}", images=1, name="plain")
    assert told == laid_out("Year | Sales\n2001 | 3", question)
    assert task.generation().stop == NEXT_QUESTION
    assert dataclasses.replace(task.generation(), stop=()) == plain.generation()


def test_the_identity_holds_both_parts_and_everything_between_them() -> None:
    plain = Pipeline.identify(settings())
    assert plain.weights == "reader sha256:deplot; reasoner sha256:qwen"
    assert plain.warnings == ("reader: deplot warns", "reasoner: qwen warns")
    assert plain.processing["reader_generation"].max_new_tokens == 512
    base = settings()
    shorter = dataclasses.replace(base.parts["reader"], generation={"*": {"max_new_tokens": 9}, "chart-to-table": {}})
    worded = dataclasses.replace(base.parts["reasoner"], template="{{ text }}")
    changed = [
        settings(reader_prompt="Table:"),
        settings(few_shot=[{"table": "t", "question": "q", "answer": "a"}]),
        dataclasses.replace(base, parts={**base.parts, "reader": shorter}),
        dataclasses.replace(base, parts={**base.parts, "reasoner": worded}),
    ]
    prints = {fingerprint(Pipeline.identify(given).processing) for given in (base, *changed)}
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "run.parts names none; give the cards of reader and reasoner"),
        ({"reader": ModelSettings("r", "reader")}, "run.parts names reader;"),
        ({"reader": ("reader", {}), "reasoner": ("reader", {"can": {"min_images": 1}})}, "cannot answer without"),
        ({"reader": ("reader", {"can": {"max_images": 0}}), "reasoner": ("reasoner", {})}, "takes no image"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any], message: str) -> None:
    made = {
        name: ModelSettings(name, part[0], options=part[1]) if isinstance(part, tuple) else part
        for name, part in parts.items()
    }
    with pytest.raises(ModelError, match=message):
        Pipeline.identify(ModelSettings("two", "pipeline", parts=made))


def test_a_part_that_cannot_be_loaded_closes_the_other() -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        Pipeline.load(settings(reasoner={"broken": True}))
    assert Part.closed == ["deplot"]


def test_a_readers_setting_that_does_not_exist_is_named() -> None:
    base = settings()
    wrong = dataclasses.replace(base.parts["reader"], generation={"*": {"beams": 3}})
    given = dataclasses.replace(base, parts={**base.parts, "reader": wrong})
    with pytest.raises(ModelError, match="no setting named 'beams'"):
        Pipeline.identify(given)


def test_a_card_names_its_parts_and_a_missing_or_circular_one_is_named(tmp_path: Any) -> None:
    from harness.cards.loading import load_card

    cards = {
        "two": "{family: pipeline, parts: {reader: eye, reasoner: mind}}",
        "eye": "{family: pix2struct, checkpoint: ./eye, generation: {chart-to-table: {max_new_tokens: 9}}}",
        "mind": "{family: text, checkpoint: ./mind}",
        "lost": "{family: pipeline, parts: {reader: eye, reasoner: nobody}}",
        "self": "{family: pipeline, parts: {reader: eye, reasoner: self}}",
    }
    for name, run in cards.items():
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nrun: {run}\n")
    made = load_card(tmp_path / "two.yaml").settings(device="cpu")
    assert {name: part.family for name, part in made.parts.items()} == {"reader": "pix2struct", "reasoner": "text"}
    assert made.parts["reader"].checkpoint == str(tmp_path / "eye")
    assert made.parts["reasoner"].device == "cpu"
    with pytest.raises(CardError, match=r"lost.yaml:2: run.parts.reasoner: no model card named"):
        load_card(tmp_path / "lost.yaml")
    with pytest.raises(CardError, match="leads back to this card"):
        load_card(tmp_path / "self.yaml")
