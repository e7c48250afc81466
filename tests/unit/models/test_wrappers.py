"""Blank and shuffled images around any model: what the wrapped model sees, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import pytest
from PIL import Image

from harness import registry
from harness.errors import DatasetError, ModelError
from harness.models.base import Example, Generation, Model, ModelInput
from harness.models.wrappers import BlankImage, ShuffledImage, Wrapper
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem
from tests.model_inputs import GREEDY, examples, item, picture


class Looker(Model):
    """Answers with the size and the mean colour of what it sees."""

    family = "looker"
    template = "Look: {{ text }}"
    can: ClassVar[Capabilities] = Capabilities(min_images=0, max_images=2, can_choose=True)

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self.closed = False
        self.examples: list[Example] = []

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        return cls.can

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        return ModelIdentity(settings, "sha256:looker", {"look": 1}, ("looks closely",))

    @classmethod
    def load(cls, settings: ModelSettings) -> Looker:
        return cls(settings)

    def fit(self, examples: Iterable[Example]) -> None:
        self.examples = list(examples)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        return [Generation(" ".join(described(image) for image in one.images)) for one in prepared]

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        return self.generate(batch, GREEDY)

    def peak_memory_bytes(self) -> int | None:
        return 7

    def close(self) -> None:
        self.closed = True


class EagerLooker(Looker):
    """A looker that reads examples."""

    can = Capabilities(min_images=0, max_images=2, needs_examples=True)


def described(image: Image.Image) -> str:
    return f"{image.size}:{image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))}"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"looker": Looker, "eager-looker": EagerLooker}
    original = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: found.get(name) or original(kind, name))


def wrapped(family: type[Wrapper], inner: str = "looker", **options: object) -> Wrapper:
    return family.load(settings(family, inner, **options))


def settings(family: type[Wrapper], inner: str = "looker", **options: object) -> ModelSettings:
    return ModelSettings("wrapped", family.family, options=options, inner=ModelSettings("inner", inner))


def seen(model: Model, asked: Sequence[ModelInput]) -> list[str]:
    answers = model.generate(model.prepare(asked), GREEDY)
    return [a.text if isinstance(a, Generation) else f"problem: {a.kind}" for a in answers]


@pytest.mark.parametrize(
    ("colour", "value"), [("grey", (128, 128, 128)), ("white", (255, 255, 255)), ("black", (0, 0, 0))]
)
def test_blank_images_keep_their_size_and_have_one_colour(colour: str, value: tuple[int, int, int]) -> None:
    asked = [item(n) for n in range(3)]
    expected = [f"{one.images[0].size}:{value}" for one in asked]
    assert seen(wrapped(BlankImage, colour=colour), asked) == expected


def test_grey_is_the_default_and_an_unknown_colour_is_refused() -> None:
    assert seen(wrapped(BlankImage), [item(0)]) == seen(wrapped(BlankImage, colour="grey"), [item(0)])
    with pytest.raises(ModelError, match=r"run\.options\.colour"):
        BlankImage.identify(settings(BlankImage, colour="mauve"))


@pytest.mark.parametrize("family", [BlankImage, ShuffledImage])
def test_a_wrapper_shows_the_wrapped_models_capabilities_template_and_weights(family: type[Wrapper]) -> None:
    can = family.capabilities(settings(family))
    assert (can.max_images, can.can_choose, can.batching) == (2, True, "padded")
    assert can.needs_examples == (family is ShuffledImage)
    assert family.default_template(settings(family)) == "Look: {{ text }}"
    identity = family.identify(settings(family))
    assert identity.weights == "sha256:looker"
    assert identity.processing["inner"] == {"look": 1}
    assert identity.processing["rule"] == family.rule
    assert identity.warnings == ("looks closely",)


def test_options_of_the_wrapper_change_its_identity() -> None:
    grey, white = settings(BlankImage), settings(BlankImage, colour="white")
    assert BlankImage.identify(grey).processing != BlankImage.identify(white).processing


@pytest.mark.parametrize("family", [BlankImage, ShuffledImage])
def test_a_wrapper_around_nothing_is_refused(family: type[Wrapper]) -> None:
    with pytest.raises(ModelError, match=r"wraps another model; name it in run\.inner"):
        family.load(ModelSettings("alone", family.family))


def test_memory_choices_and_closing_are_the_wrapped_models() -> None:
    model = wrapped(BlankImage)
    assert model.peak_memory_bytes() == 7
    assert [a.text for a in model.choose([item(0)]) if isinstance(a, Generation)] == seen(model, [item(0)])
    model.close()
    assert isinstance(model.inner, Looker)
    assert model.inner.closed


def test_examples_reach_a_wrapped_model_that_wants_them() -> None:
    for family in (BlankImage, ShuffledImage):
        model = wrapped(family, "eager-looker")
        model.fit(iter(examples([["a"], ["b"]])))
        assert isinstance(model.inner, EagerLooker)
        assert [e.sample_id for e in model.inner.examples] == ["s0", "s1"]
        assert seen(model, [item(0)])


@pytest.mark.parametrize("seed", range(5))
def test_every_sample_sees_another_clusters_picture_and_every_picture_is_seen_once(seed: int) -> None:
    clusters = ["a", "a", "a", "b", "b", "c", "d", "d"]
    model = wrapped(ShuffledImage, seed=seed)
    model.fit(examples([["x"]] * 8, clusters))
    shown = seen(model, [item(n, cluster=clusters[n]) for n in range(8)])
    owner = {described(picture(n)): n for n in range(8)}
    donors = [owner[text] for text in shown]
    assert sorted(donors) == list(range(8))
    assert all(clusters[donor] != clusters[n] for n, donor in enumerate(donors))


def test_the_shuffle_is_seeded_and_does_not_depend_on_order_or_batch() -> None:
    asked = [item(n) for n in range(8)]
    first, again, other = wrapped(ShuffledImage), wrapped(ShuffledImage), wrapped(ShuffledImage, seed=1)
    given = examples([["x"]] * 8)
    first.fit(given)
    again.fit(reversed(given))
    other.fit(given)
    assert seen(first, asked) == [seen(again, [one])[0] for one in asked]
    assert seen(first, asked) != seen(other, asked)


def test_a_cluster_of_more_than_half_still_never_sees_itself() -> None:
    clusters = ["a"] * 6 + ["b", "c"]
    model = wrapped(ShuffledImage)
    model.fit(examples([["x"]] * 8, clusters))
    shown = seen(model, [item(n, cluster=clusters[n]) for n in range(8)])
    owner = {described(picture(n)): n for n in range(8)}
    assert all(clusters[owner[text]] != clusters[n] for n, text in enumerate(shown))


def test_one_cluster_has_no_other_image() -> None:
    model = wrapped(ShuffledImage)
    model.fit(examples([["x"], ["y"]], ["same", "same"]))
    assert seen(model, [item(0, cluster="same"), item(1, cluster="same")]) == ["problem: no_other_image"] * 2


def test_a_question_without_a_picture_is_asked_as_it_is() -> None:
    model = wrapped(ShuffledImage)
    model.fit(examples([["x"], ["y"]]))
    assert seen(model, [item(0, pictures=()), item(1)]) == ["", described(picture(0))]


def test_donors_with_another_number_of_pictures_or_an_unreadable_one_are_passed_over() -> None:
    def broken() -> tuple[Image.Image, ...]:
        raise DatasetError("s1.png: truncated")

    model = wrapped(ShuffledImage)
    pair = (picture(5), picture(6))
    model.fit(
        [
            Example("s0", "", (), (), lambda: (picture(0), picture(1)), n_images=2),
            Example("s1", "", (), (), broken, n_images=2),
            Example("s2", "", (), (), lambda: (picture(2),), n_images=1),
            Example("s3", "", (), (), lambda: pair, n_images=2),
        ]
    )
    assert seen(model, [item(0, cluster="", pictures=(picture(0), picture(1)))]) == [" ".join(map(described, pair))]


def test_shuffling_before_fitting_is_refused() -> None:
    with pytest.raises(ModelError, match="call fit"):
        seen(wrapped(ShuffledImage), [item(0)])
