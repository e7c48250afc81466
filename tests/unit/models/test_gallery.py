"""Rankings of candidates. Evidence: brute force over random vectors with planted ties, and worked examples."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.errors import ModelError
from harness.models.base import BEST, Example, ModelInput
from harness.models.gallery import Gallery, pixel_key, ranked, read_gallery
from tests.model_inputs import candidates, item, picture

WIDTH = 5


def text_vectors(texts: list[str]) -> np.ndarray:
    """A vector of length 1 that depends on the text alone."""
    rows = [np.random.default_rng(sum(map(ord, text))).standard_normal(WIDTH) for text in texts]
    return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


def image_vectors(images: list[Image.Image]) -> np.ndarray:
    return text_vectors([str(image.size) for image in images])


def read(examples: list[Example], chunk: int = 2) -> Gallery:
    return read_gallery(examples, text_vectors, image_vectors, chunk)


def caption(name: str, text: str) -> Example:
    return Example(name, name.partition("#")[0], (), (), lambda: (), text, 0)


@given(st.lists(st.integers(-3, 3), max_size=40), st.randoms(use_true_random=False))
def test_a_ranking_is_the_sorted_list_of_all_candidates_with_ties_by_id(scores: list[int], shuffled: object) -> None:
    ids = [f"c{n:02}" for n in range(len(scores))]
    shuffled.shuffle(ids)  # type: ignore[attr-defined]
    found = ranked(ids, np.array(scores, dtype=np.float64))
    expected = sorted(zip(scores, ids, strict=True), key=lambda pair: (-pair[0], pair[1]))[:BEST]
    assert json.loads(found.text) == [name for _, name in expected]
    assert found.choice_scores == tuple(score for score, _ in expected)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_the_best_candidates_are_those_of_a_full_product(count: int, chunk: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    examples = [caption(f"t{n}", f"caption {draw.integers(0, 12)}") for n in range(count)]
    gallery = read([examples[n] for n in draw.permutation(count)], chunk)
    query = text_vectors(["query"])[0]
    side = gallery.texts
    found = json.loads(side.best_of(side.similarities(query)).text)
    texts = {example.sample_id: example.prompt for example in examples}
    exact = {name: float(text_vectors([text])[0].astype(float) @ query.astype(float)) for name, text in texts.items()}
    assert found == sorted(texts, key=lambda name: (-round(exact[name], 12), name))[:BEST]


def test_candidates_with_one_content_share_a_vector_and_are_embedded_once() -> None:
    seen: list[str] = []

    def counted(texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return text_vectors(texts)

    examples = [caption("b", "a dog"), caption("a", "a dog"), caption("c", "a cat")]
    gallery = read_gallery(examples, counted, image_vectors, 2)
    assert sorted(seen) == ["a cat", "a dog"]
    query = text_vectors(["a dog"])[0]
    assert json.loads(gallery.texts.best_of(gallery.texts.similarities(query)).text)[:2] == ["a", "b"]


def test_samples_with_both_or_neither_are_no_candidates() -> None:
    both = Example("both", "", (), (), lambda: (picture(0),), "a question", 1)
    neither = Example("neither", "", (), (), lambda: (), " ", 0)
    gallery = read([*candidates(), both, neither])
    assert gallery.images.ids == ["s0", "s1", "s2"]
    assert gallery.texts.ids == ["s0#0", "s1#0", "s2#0"]


def test_queries_of_a_cluster_with_an_unreadable_candidate_have_no_answer_and_all_others_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> tuple[Image.Image, ...]:
        raise ModelError("s9.jpg is cut short")

    gallery = read([*candidates(), Example("s9", "c9", (), (), broken, "", 1)])
    assert "1 candidates cannot be read" in caplog.text
    asked = item(9, "a caption of it", pictures=(), cluster="c9")
    problem = gallery.problem_of(asked)
    assert problem is not None
    assert problem.kind == "unreadable_candidate"
    assert "s9.jpg" in problem.message
    assert gallery.problem_of(item(0, "a caption", pictures=())) is None


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (item(0, "words and a picture"), "unsupported_input"),
        (item(0, "", pictures=()), "unsupported_input"),
        (item(0, "", pictures=(picture(0), picture(1))), "unsupported_input"),
    ],
)
def test_a_query_is_one_image_or_one_text(query: ModelInput, kind: str) -> None:
    problem = read(candidates()).problem_of(query)
    assert problem is not None
    assert problem.kind == kind


def test_a_task_without_candidates_of_the_other_kind_is_named() -> None:
    problem = read([e for e in candidates() if e.n_images]).problem_of(item(0, ""))
    assert problem is not None
    assert problem.kind == "no_candidates"


def test_pixels_of_another_size_or_value_have_another_key() -> None:
    black = Image.new("RGB", (4, 6))
    keys = {pixel_key(i) for i in (black, Image.new("RGB", (6, 4)), Image.new("RGB", (4, 6), (0, 0, 1)))}
    assert len(keys) == 3
    assert pixel_key(black.copy()) in keys
