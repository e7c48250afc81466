"""Two-stage retrieval. Evidence: a worked example of the stages, and the network's own scores one pair at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.errors import DatasetError, ModelError
from harness.models.base import Example, Generation, ModelInput
from harness.models.mplug.family import Mplug
from harness.models.mplug.retrieval import two_stage
from harness.records import Problem
from tests import model_inputs
from tests.model_inputs import GREEDY, item, picture
from tests.unit.models.mplug.conftest import settings

Models = Callable[[str], Mplug]
CAPTIONS = ("a dog on the grass", "two cats", "a red chair near the table", "the largest bar", "a dog on the grass")
N_IMAGES = 4


def candidates(captions: tuple[str, ...] = CAPTIONS, images: int = N_IMAGES) -> list[Example]:
    texts = [
        Example(f"t{n}", f"c{n}", (), (), load_images=lambda: (), prompt=caption) for n, caption in enumerate(captions)
    ]
    shown = [
        Example(f"i{n}", f"c{n}", (), (), load_images=lambda n=n: (picture(n),), n_images=1)  # type: ignore[misc]
        for n in range(images)
    ]
    return [*texts, *shown]


def image_query(number: int) -> ModelInput:
    return item(number, answer_by="retrieve")


def text_query(number: int) -> ModelInput:
    return item(number, CAPTIONS[number], pictures=(), answer_by="retrieve")


@pytest.fixture(scope="module")
def fitted(tiny_checkpoints: dict[str, Path]) -> Mplug:
    model = Mplug.load(settings(tiny_checkpoints["mplug_retrieval"], "retrieval"))
    model.fit(candidates())
    return model


def ranking(answer: Generation | Problem) -> tuple[list[str], list[float]]:
    assert isinstance(answer, Generation)
    return json.loads(answer.text), list(answer.choice_scores)


def test_the_nearest_are_matched_and_the_others_score_minus_100() -> None:
    asked: list[int] = []

    def match(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        asked.extend(rows.tolist())
        return np.array([10.0 * row for row in rows])

    scores = two_stage(np.array([0.1, 0.9, 0.3, 0.9, 0.2]), match, 3)
    assert asked == [1, 3, 2]
    assert scores.tolist() == [-100.0, 10.0, 20.0, 30.0, -100.0]


def test_an_image_ranks_texts_by_their_matching_logit(fitted: Mplug) -> None:
    for number in range(N_IMAGES):
        names, scores = ranking(fitted.retrieve([image_query(number)])[0])
        logits = fitted.match_scores([picture(number)], CAPTIONS).logit
        # Batches round differently, so that near ties may change places.
        assert scores == sorted(scores, reverse=True)
        assert sorted(names) == [f"t{n}" for n in range(len(CAPTIONS))]
        assert scores == pytest.approx([logits[int(name[1:])] for name in names], abs=1e-4)


def test_a_text_ranks_images_by_their_matching_logit(fitted: Mplug) -> None:
    shown = [picture(n) for n in range(N_IMAGES)]
    for number, caption in enumerate(CAPTIONS):
        names, scores = ranking(fitted.retrieve([text_query(number)])[0])
        logits = fitted.match_scores(shown, [caption]).logit
        assert scores == sorted(scores, reverse=True)
        assert sorted(names) == [f"i{n}" for n in range(N_IMAGES)]
        assert scores == pytest.approx([logits[int(name[1:])] for name in names], abs=1e-4)


def test_equal_candidates_tie_in_order_of_id(fitted: Mplug) -> None:
    names, scores = ranking(fitted.retrieve([image_query(0)])[0])
    first, second = names.index("t0"), names.index("t4")
    assert second == first + 1
    assert scores[first] == scores[second]


def test_only_the_most_similar_are_matched(tiny_checkpoints: dict[str, Path]) -> None:
    model = Mplug.load(settings(tiny_checkpoints["mplug_retrieval"], "retrieval", options={"match_top_k": 2}))
    model.fit(candidates(CAPTIONS[:4]))
    names, scores = ranking(model.retrieve([image_query(1)])[0])
    similarity = model.text_features(CAPTIONS[:4]) @ model.image_features([picture(1)])[0]
    nearest = {f"t{n}" for n in np.argsort(-similarity)[:2]}
    assert set(names[:2]) == nearest
    assert scores[2:] == [-100.0, -100.0]


def test_rankings_depend_on_neither_batch_nor_order(fitted: Mplug) -> None:
    queries = [image_query(0), text_query(1), image_query(2), text_query(3)]
    together = fitted.retrieve(queries)
    assert together == [fitted.retrieve([one])[0] for one in queries] == fitted.retrieve(queries[::-1])[::-1]
    assert len({a for a in together if isinstance(a, Generation)}) == 4


def test_the_contract_of_retrieval_is_kept(tiny_checkpoints: dict[str, Path]) -> None:
    queries, given = model_inputs.retrieval_queries(), model_inputs.candidates()
    model = Mplug.load(settings(tiny_checkpoints["mplug_retrieval"], "retrieval"))
    model.fit(given)
    together = model.retrieve(queries)
    assert together == [model.retrieve([one])[0] for one in queries]
    for query, found in zip(queries, together, strict=True):
        names, scores = ranking(found)
        assert set(names) == {e.sample_id for e in given if e.n_images != len(query.images)}
        assert scores == sorted(scores, reverse=True)


def test_an_image_that_is_no_candidate_can_ask_too(fitted: Mplug) -> None:
    names, _ = ranking(fitted.retrieve([image_query(9)])[0])
    assert sorted(names) == [f"t{n}" for n in range(5)]


def test_queries_that_cannot_be_answered_are_problems(fitted: Mplug, tiny_checkpoints: dict[str, Path]) -> None:
    both = item(0, "a dog", answer_by="retrieve")
    assert isinstance(fitted.retrieve([both])[0], Problem)
    empty = Mplug.load(settings(tiny_checkpoints["mplug_retrieval"], "retrieval"))
    (found,) = empty.retrieve([image_query(0)])
    assert isinstance(found, Problem)
    assert found.kind == "no_candidates"

    def unreadable() -> tuple[Image.Image, ...]:
        raise DatasetError("pictures/0.png is cut short")

    empty.fit([Example("i0", "c0", (), (), load_images=unreadable, n_images=1), *candidates(images=0)])
    (found,) = empty.retrieve([text_query(0)])
    assert isinstance(found, Problem)
    assert found.kind == "unreadable_candidate"


def test_both_matching_scores_are_given(fitted: Mplug) -> None:
    match = fitted.match_scores([picture(0), picture(1)], ["a dog", "two cats"])
    assert match.logit.shape == match.probability.shape == (2,)
    assert ((match.probability > 0) & (match.probability < 1)).all()
    assert match.logit[0] == pytest.approx(fitted.match_scores([picture(0)], ["a dog"]).logit[0], abs=1e-4)
    with pytest.raises(ModelError, match="2 images and 3 texts are no pairs"):
        fitted.match_scores([picture(0), picture(1)], ["a", "b", "c"])


def test_embeddings_are_of_the_image_or_the_text(fitted: Mplug) -> None:
    rows = fitted.embed([image_query(0), text_query(1)])
    assert rows.shape == (2, 16)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)
    np.testing.assert_array_equal(rows[0], fitted.image_features([picture(0)])[0])
    np.testing.assert_array_equal(rows[1], fitted.text_features([CAPTIONS[1]])[0])


def test_a_retrieval_checkpoint_writes_no_text_and_the_others_rank_no_candidates(fitted: Mplug, models: Models) -> None:
    with pytest.raises(ModelError, match="answer_by: retrieve"):
        fitted.generate(fitted.prepare([image_query(0)]), GREEDY)
    with pytest.raises(ModelError, match="answer_by: generate"):
        fitted.choose([image_query(0)])
    with pytest.raises(ModelError, match="answer_by: generate"):
        models("vqa").retrieve([image_query(0)])
    with pytest.raises(ModelError, match="a checkpoint of task vqa has no embeddings"):
        models("vqa").embed([image_query(0)])
