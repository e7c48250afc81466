"""Controls: worked examples by hand, leave-one-cluster-out, agreement with a plain count over all the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings as run
from hypothesis import strategies as st
from PIL import Image

from harness.errors import DatasetError, ModelError
from harness.models.base import Example, Generation, Model
from harness.models.controls import FrequentCaption, MajorityAnswer, RandomChoice, caption_form, valid_answer
from harness.models.neighbours import FEATURES, NearestNeighbour, picture_features
from harness.records import ModelSettings, Problem
from tests.model_inputs import GREEDY, examples, item, picture


def fitted(
    family: type[Model], references: Sequence[Sequence[str]], clusters: Sequence[str] = (), **options: object
) -> Model:
    model = family.load(ModelSettings("control", family.family, options=options))
    model.fit(examples(references, clusters))
    return model


def answer(model: Model, number: int, **request: object) -> str:
    (found,) = model.generate(model.prepare([item(number, **request)]), GREEDY)
    return found.text if isinstance(found, Generation) else f"problem: {found.kind}"


def test_the_majority_is_counted_outside_the_own_cluster() -> None:
    model = fitted(MajorityAnswer, [["Yes"], ["Yes"], ["No"], ["14"]], ["a", "a", "b", "c"])
    assert answer(model, 3, cluster="c") == "Yes"
    assert answer(model, 0, cluster="a") == "14"  # No and 14 are left, once each: first in sort order
    assert answer(model, 2, cluster="b") == "Yes"


def test_the_majority_letter_is_one_of_the_samples_own_options() -> None:
    model = fitted(MajorityAnswer, [["D"], ["D"], ["D"], ["B"], ["B"], ["A"]])
    assert answer(model, 9, choices=("yes", "no")) == "B"
    assert answer(model, 9, choices=("w", "x", "y", "z")) == "D"


def test_a_sample_without_a_cluster_is_a_cluster_of_its_own() -> None:
    model = fitted(MajorityAnswer, [["x"], ["x"], ["y"]], ["", "", ""])
    assert answer(model, 2, cluster="") == "x"
    assert answer(model, 0, cluster="") == "x"  # one x is left beside y, and x sorts first


@forall(
    st.lists(st.tuples(st.sampled_from("abcd"), st.lists(st.sampled_from("vwxyz"), max_size=3)), max_size=12),
    st.sampled_from("abcd"),
)
@run(deadline=None, max_examples=150)
def test_the_majority_agrees_with_a_plain_count_over_the_other_clusters(
    rows: list[tuple[str, list[str]]], cluster: str
) -> None:
    model = fitted(MajorityAnswer, [references for _, references in rows], [c for c, _ in rows])
    count = Counter(r for c, references in rows for r in references if c != cluster)
    expected = min(count, key=lambda r: (-count[r], r)) if count else "problem: no_examples"
    assert answer(model, 99, cluster=cluster) == expected


@pytest.mark.parametrize("family", [MajorityAnswer, RandomChoice, FrequentCaption, NearestNeighbour])
def test_one_cluster_alone_leaves_nothing_to_answer_with(family: type[Model]) -> None:
    model = fitted(family, [["yes"], ["no"]], ["same", "same"])
    assert answer(model, 0, cluster="same") == "problem: no_examples"


@pytest.mark.parametrize("family", [MajorityAnswer, RandomChoice, FrequentCaption, NearestNeighbour])
def test_a_control_that_has_read_nothing_refuses_and_one_with_no_samples_says_so(family: type[Model]) -> None:
    model = family.load(ModelSettings("control", family.family))
    with pytest.raises(ModelError, match="call fit"):
        model.generate(model.prepare([item(0)]), GREEDY)
    model.fit([])
    assert answer(model, 0) == "problem: no_examples"


@pytest.mark.parametrize("family", [MajorityAnswer, RandomChoice, FrequentCaption, NearestNeighbour])
def test_fitting_again_forgets_the_earlier_task(family: type[Model]) -> None:
    model = fitted(family, [["old"], ["old"], ["old"]])
    model.fit(examples([["new"], ["new"]]))
    assert answer(model, 9) == "new"


def test_a_control_has_no_checkpoint() -> None:
    with pytest.raises(ModelError, match=r"has no weights; take run\.checkpoint out"):
        MajorityAnswer.identify(ModelSettings("control", "majority-answer", checkpoint="/somewhere"))


def test_random_letters_are_uniform_seeded_and_independent_of_the_other_samples() -> None:
    first = fitted(RandomChoice, [["A"], ["B"]], seed=3)
    second = fitted(RandomChoice, [["C"]], seed=3)
    other = fitted(RandomChoice, [["A"], ["B"]], seed=4)
    options = ("red", "green", "blue", "grey")
    draws = [answer(first, n, choices=options) for n in range(2000)]
    assert draws == [answer(second, n, choices=options) for n in range(2000)]
    assert draws != [answer(other, n, choices=options) for n in range(2000)]
    # 2000 draws of 1/4: mean 500, standard deviation 19.4; five of them are allowed
    assert all(abs(count - 500) < 97 for count in Counter(draws).values())
    assert set(draws) == set("ABCD")


def test_without_options_the_random_control_draws_among_references_of_other_clusters() -> None:
    model = fitted(RandomChoice, [["x"], ["x"], ["y"], ["own"]], ["a", "b", "c", "d"])
    draws = Counter(answer(model, n, cluster="d") for n in range(400))
    assert set(draws) == {"x", "y"}
    assert abs(draws["x"] - 200) < 50  # distinct references have equal chance: standard deviation 10


def test_the_frequent_caption_counts_over_case_and_punctuation_and_keeps_the_usual_spelling() -> None:
    model = fitted(FrequentCaption, [["A dog.", "a cat"], ["a dog", "A bird"], ["A dog."], ["other"]])
    assert answer(model, 3) == "A dog."
    assert caption_form("A  dog's Bone!") == "a dog s bone"


def test_equally_frequent_captions_go_to_the_most_typical_words() -> None:
    references = [["a man rides a wave"], ["a man on a wave"], ["two zebras"], ["purple"]]
    model = fitted(FrequentCaption, references)
    # words of the others for sample 3: a 2, man 2, wave 2, rides 1, on 1, two 1, zebras 1
    # a man rides wave: 7 / 2; a man on wave: 7 / 2, first in sort order; two zebras: 2 / sqrt(2)
    assert answer(model, 3) == "a man on a wave"
    # for sample 0 its own caption is not counted: a man on wave: 4 / 2; two zebras: 2 / sqrt(2); purple: 1
    assert answer(model, 0) == "a man on a wave"
    # for sample 1: a man rides wave: 4 / 2
    assert answer(model, 1) == "a man rides a wave"


CAPTIONS = st.lists(st.sampled_from(["a", "dog", "cat", "on", "grass", "two", "red"]), min_size=1, max_size=4)


@forall(st.lists(st.tuples(st.sampled_from("abc"), CAPTIONS), max_size=10), st.sampled_from("abc"))
@run(deadline=None, max_examples=150)
def test_the_frequent_caption_agrees_with_the_formula_over_the_other_clusters(
    rows: list[tuple[str, list[str]]], cluster: str
) -> None:
    model = fitted(FrequentCaption, [[" ".join(words)] for _, words in rows], [c for c, _ in rows])
    others = [" ".join(words) for c, words in rows if c != cluster]
    count = Counter(others)

    def typicality(caption: str) -> float:
        words = set(caption.split())
        return sum(len(words & set(other.split())) for other in others) / len(words) ** 0.5

    best = min(count, key=lambda c: (-count[c], -typicality(c), c)) if count else "problem: no_examples"
    assert answer(model, 99, cluster=cluster) == best


def test_a_copy_of_a_picture_elsewhere_is_the_nearest_neighbour() -> None:
    model = fitted(NearestNeighbour, [["zero"], ["one"], ["two"], ["three"]])
    for number, word in enumerate(("zero", "one", "two", "three")):
        assert answer(model, 9, pictures=(picture(number),)) == word


def test_the_own_cluster_is_no_neighbour() -> None:
    model = fitted(NearestNeighbour, [["own"], ["also own"], ["other"]], ["a", "a", "b"])
    assert answer(model, 0, cluster="a") == "other"


def test_the_neighbour_agrees_with_distances_taken_one_by_one() -> None:
    count = 30
    model = fitted(NearestNeighbour, [[str(n)] for n in range(count)])
    features = np.array([picture_features([picture(n)]) for n in range(count)])
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    for number in range(count):
        distance = np.linalg.norm(standard - standard[number], axis=1)
        distance[number] = np.inf
        assert answer(model, number) == str(distance.argmin())


def test_equal_pictures_are_decided_by_sample_id_and_not_by_rounding() -> None:
    model = NearestNeighbour.load(ModelSettings("control", "nearest-neighbour"))
    same = [Example(name, name, (name,), (), lambda: (picture(0),)) for name in ("s7", "s3", "s5")]
    model.fit([*same, *examples([["far"]] * 3)[1:]])
    assert answer(model, 99, pictures=(picture(0),)) == "s3"


def test_the_neighbours_letter_must_be_among_the_options() -> None:
    model = fitted(NearestNeighbour, [["D"], ["B"]])
    assert answer(model, 9, pictures=(picture(0),), choices=("yes", "no")) == "B"
    assert answer(model, 9, pictures=(picture(0),), choices=("w", "x", "y", "z")) == "D"


def test_pictures_of_one_colour_and_of_one_pixel_have_finite_features() -> None:
    flat = picture_features([Image.new("RGB", (1, 1), (255, 0, 0))])
    assert flat.shape == (FEATURES,)
    assert np.isfinite(flat).all()
    model = NearestNeighbour.load(ModelSettings("control", "nearest-neighbour"))
    white = [Example(f"s{n}", "", (str(n),), (), lambda: (Image.new("RGB", (8, 8), "white"),)) for n in range(2)]
    model.fit(white)
    assert answer(model, 0, cluster="") == "1"


def test_unreadable_and_missing_pictures_are_no_neighbours(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> tuple[Image.Image, ...]:
        raise DatasetError("s0.png: truncated")

    model = NearestNeighbour.load(ModelSettings("control", "nearest-neighbour"))
    rest = examples([["zero"], ["one"]])[1:]
    model.fit([Example("b", "b", ("broken",), (), broken), Example("t", "t", ("text only",), (), tuple), *rest])
    assert answer(model, 9, pictures=(picture(0),)) == "one"
    assert "1 samples have unreadable pictures" in caplog.text


def test_a_question_without_a_picture_has_no_neighbour() -> None:
    model = fitted(NearestNeighbour, [["zero"], ["one"]])
    (found,) = model.generate(model.prepare([item(5, pictures=())]), GREEDY)
    assert isinstance(found, Problem)
    assert found.kind == "unsupported_input"


def test_a_reference_may_be_the_text_of_an_option() -> None:
    assert valid_answer("True", ("True", "False"))
    assert valid_answer("B", ("True", "False"))
    assert not valid_answer("C", ("True", "False"))
