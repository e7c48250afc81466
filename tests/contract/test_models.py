"""Every registered model family keeps the contract of harness.models.base. Evidence: properties on four samples."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness import registry
from harness.errors import ModelError
from harness.fingerprint import fingerprint
from harness.models.base import Generation, Model, ModelInput
from harness.models.pipeline import laid_out
from harness.records import Capabilities, ModelIdentity, ModelSettings, Problem
from tests.chat_server import ChatServer
from tests.model_inputs import FAMILIES, GREEDY, candidates, examples, item, items, retrieval_queries, settings

ANSWERS = ("blue bar", "three people", "france", "yes")
TABLE_QUESTIONS = (
    *("What is the value of tea?", "What is the sum of tea and milk?"),
    *("Which item has the highest value?", "How many items are shown in the chart?"),
)
CONTROLS = ("majority-answer", "random-choice", "frequent-caption", "nearest-neighbour")
ONE_ANSWER = ("majority-answer", "frequent-caption", "fixed-answer")
CASES = (
    *FAMILIES,
    *CONTROLS,
    "fixed-answer",
    "ocr",
    "predictions",
    "blank-image",
    "shuffled-image",
    "openai",
    "pipeline",
    "table-rules",
)


def case_settings(case: str, folder: Path, checkpoints: dict[str, Path], url: str = "") -> ModelSettings:
    if case in FAMILIES:
        return settings(case, checkpoints)
    if case == "predictions":
        path = folder / "answers.jsonl"
        lines = [json.dumps({"sample_id": f"s{n}", "text": text}) for n, text in enumerate(ANSWERS)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ModelSettings("answers", "predictions", options={"path": str(path)})
    if case in ("blank-image", "shuffled-image"):
        return ModelSettings(case, case, inner=settings("llava", checkpoints))
    if case == "openai":
        return ModelSettings(case, case, options={"base_url": url, "model": "tiny"})
    if case == "pipeline":
        reader = settings("deplot", checkpoints, generation={"*": {"max_new_tokens": 12}})
        return ModelSettings(case, case, parts={"reader": reader, "reasoner": settings("qwen2", checkpoints)})
    if case == "fixed-answer":
        return ModelSettings(case, case, options={"answer": "yes"})
    if case == "ocr":
        pytest.importorskip("rapidocr", reason="the ocr extra is not installed")
    return ModelSettings(case, case)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def given(
    case: str, tmp_path_factory: pytest.TempPathFactory, tiny_checkpoints: dict[str, Path]
) -> Iterator[ModelSettings]:
    with ChatServer() as server:
        yield case_settings(case, tmp_path_factory.mktemp("case"), tiny_checkpoints, server.url)


@pytest.fixture(scope="module")
def family(given: ModelSettings) -> type[Model]:
    found: type[Model] = registry.load("models", given.family)
    return found


@pytest.fixture(scope="module")
def model(family: type[Model], given: ModelSettings) -> Iterator[Model]:
    loaded = family.load(given)
    if family.capabilities(given).needs_examples:
        loaded.fit(examples([(answer,) for answer in ANSWERS]))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def batch(case: str) -> list[ModelInput]:
    if case == "table-rules":
        return [
            item(number, laid_out("Entity | sales\ntea | 4\nmilk | 7", question), pictures=())
            for number, question in enumerate(TABLE_QUESTIONS)
        ]
    return items(case if case in (*FAMILIES, "ocr") else "llava")


def asked(model: Model, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
    """The answers in order, asked in the largest batches that the family takes."""
    batching = type(model).capabilities(model.settings).batching
    groups: dict[int, list[int]] = {}
    for place, one in enumerate(batch):
        key = {"padded": 0, "single": place}.get(batching)
        groups.setdefault(model.bucket(one) if key is None else key, []).append(place)
    answers: dict[int, Generation | Problem] = {}
    for places in groups.values():
        given = model.generate(model.prepare([batch[place] for place in places]), GREEDY)
        assert len(given) == len(places)
        answers.update(zip(places, given, strict=True))
    return [answers[place] for place in range(len(batch))]


def test_every_registered_family_of_the_package_is_a_case() -> None:
    own = {n for n in registry.names("models") if registry.entry("models", n).owner == "harness"}
    assert own == {FAMILIES.get(case, case) for case in CASES}


def test_capabilities_are_consistent(family: type[Model], given: ModelSettings) -> None:
    can = family.capabilities(given)
    assert isinstance(can, Capabilities)
    assert can.max_images is None or can.min_images <= can.max_images
    assert can.max_audio is None or can.min_audio <= can.max_audio
    assert not can.needs_examples or can.depends_on_sample


def test_family_name_is_the_registered_one(family: type[Model], given: ModelSettings) -> None:
    assert family.family == given.family


def test_identity_is_the_same_at_every_call_and_has_a_fingerprint(family: type[Model], given: ModelSettings) -> None:
    first, second = family.identify(given), family.identify(given)
    assert isinstance(first, ModelIdentity)
    assert first.weights
    assert fingerprint(first) == fingerprint(second)


def test_an_answer_or_a_problem_comes_for_each_input_in_order(model: Model, batch: list[ModelInput]) -> None:
    answers = asked(model, batch)
    assert len(answers) == len(batch)
    assert all(isinstance(a, Generation) and isinstance(a.text, str) for a in answers)


def test_answers_depend_on_neither_batch_size_nor_order(case: str, model: Model, batch: list[ModelInput]) -> None:
    together = asked(model, batch)
    alone = [asked(model, [one])[0] for one in batch]
    backwards = asked(model, batch[::-1])[::-1]
    assert together == alone == backwards
    distinct = len({a.text for a in together if isinstance(a, Generation)})
    assert distinct >= (4 if case in FAMILIES else 1 if case in ONE_ANSWER else 2)


def test_questions_about_the_same_pictures_are_answered_as_alone(model: Model, batch: list[ModelInput]) -> None:
    shown = [dataclasses.replace(one, images=batch[n % 2].images) for n, one in enumerate(batch)]
    assert asked(model, shown) == [asked(model, [one])[0] for one in shown]


def test_the_same_question_twice_has_the_same_answer(model: Model, batch: list[ModelInput]) -> None:
    assert asked(model, batch) == asked(model, batch)


def test_choices_depend_on_neither_batch_size_nor_order(
    family: type[Model], given: ModelSettings, model: Model, batch: list[ModelInput]
) -> None:
    options = ("red chair", "dog", "two cats on the grass")
    asked = [ModelInput(dataclasses.replace(i.request, choices=options, answer_by="choose"), i.images) for i in batch]
    if not family.capabilities(given).can_choose:
        with pytest.raises(ModelError, match="answer_by: generate"):
            model.choose(asked)
        return
    together = model.choose(asked)
    assert together == [model.choose([one])[0] for one in asked] == model.choose(asked[::-1])[::-1]
    for chosen in together:
        assert isinstance(chosen, Generation)
        assert chosen.text == "ABC"[chosen.choice_scores.index(max(chosen.choice_scores))]
        assert all(score < 0 for score in chosen.choice_scores)


def test_rankings_name_the_other_kind_and_depend_on_neither_batch_size_nor_order(
    family: type[Model], given: ModelSettings
) -> None:
    queries = retrieval_queries()
    model = family.load(given)
    if not family.capabilities(given).can_retrieve:
        if family.capabilities(given).needs_examples:
            model.fit(candidates())
        with pytest.raises(ModelError, match="candidates cannot be ranked"):
            model.retrieve(queries)
        model.close()
        return
    model.fit(candidates())
    together = model.retrieve(queries)
    assert together == [model.retrieve([one])[0] for one in queries] == model.retrieve(queries[::-1])[::-1]
    for query, found in zip(queries, together, strict=True):
        if given.family == "predictions":  # ids are looked up in the file, where these are not
            continue
        assert isinstance(found, Generation)
        ids = json.loads(found.text)
        assert set(ids) == {e.sample_id for e in candidates() if e.n_images != len(query.images)}
        assert list(found.choice_scores) == sorted(found.choice_scores, reverse=True)
        assert len(found.choice_scores) == len(ids)
    model.close()


def test_too_few_images_or_recordings_is_a_problem_of_that_input_alone(
    family: type[Model], given: ModelSettings, model: Model, batch: list[ModelInput]
) -> None:
    blind = ModelInput(batch[1].request, ())
    answers = asked(model, [batch[0], blind, batch[2]])
    if family.capabilities(given).min_images + family.capabilities(given).min_audio == 0:
        assert len(answers) == 3
        return
    assert isinstance(answers[1], Problem)
    assert answers[1].kind == "unsupported_input"
    assert [answers[0], answers[2]] == asked(model, [batch[0], batch[2]])


@pytest.mark.parametrize("step", ["identify", "load"])
def test_an_unknown_option_is_named_with_the_known_ones(family: type[Model], given: ModelSettings, step: str) -> None:
    wrong = dataclasses.replace(given, options={**given.options, "fnot": 1})
    with pytest.raises(ModelError, match="fnot: unknown option") as caught:
        getattr(family, step)(wrong)
    for name in family.options_type.model_fields:
        assert name in str(caught.value)


def test_close_frees_the_model_and_it_can_be_loaded_again(family: type[Model], given: ModelSettings) -> None:
    first = family.load(given)
    assert first.peak_memory_bytes() is None
    first.close()
    family.load(given).close()
