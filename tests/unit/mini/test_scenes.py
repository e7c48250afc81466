"""Scenes agree with what an independent reader sees in their pixels."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from harness.mini import scenes
from harness.mini.canvas import paint
from harness.mini.streams import stream
from tests.unit.mini.reading import ground, see

N = 300


@pytest.fixture(scope="module")
def drawn() -> list[scenes.Scene]:
    rng = stream(11, "scenes", "validation")
    return [scenes.draw(rng) for _ in range(N)]


def test_shapes_seen_in_the_pixels_are_those_of_the_layout(drawn):
    for scene in drawn:
        told = [(t.place, t.size, t.colour, t.shape) for t in scene.layout.things]
        assert [(s.place, s.size, s.colour, s.shape) for s in see(scene.image)] == told


def test_all_captions_are_true_of_the_pixels(drawn):
    for scene in drawn:
        seen, back = see(scene.image), ground(scene.image)
        for caption in scene.captions:
            # Every scene word, in the order of the caption, is one that the picture shows in reading order.
            named = re.findall(
                r"(?:(small|large) )?(\w+) (circle|square|triangle|cross)(?: at the ((?:top|bottom) \w+))?", caption
            )
            assert len(named) == len(seen), caption
            for (size, colour, shape, place), thing in zip(named, seen, strict=True):
                assert (colour, shape) == (thing.colour, thing.shape), caption
                assert size in ("", thing.size), caption
                assert place in ("", thing.place), caption
            for word in re.findall(r"(\w+) (?:background|picture with)", caption):
                assert word == back, caption
            for word in re.findall(r"(one|two|three) shapes?", caption):
                assert ("one", "two", "three").index(word) == len(seen) - 1, caption


def test_five_captions_of_a_scene_all_differ(drawn):
    assert all(len(set(s.captions)) == 5 for s in drawn)


def test_first_caption_names_every_property_but_the_place(drawn):
    for scene in drawn:
        for thing in scene.layout.things:
            assert f"a {thing.size} {thing.colour} {thing.shape}" in scene.captions[0]


def test_shapes_are_listed_in_reading_order_and_never_repeat(drawn):
    for scene in drawn:
        places = [scenes.PLACES.index(t.place) for t in scene.layout.things]
        assert all(a < b for a, b in pairwise(places))
        assert len({(t.colour, t.shape) for t in scene.layout.things}) == len(scene.layout.things)


def test_small_shapes_are_at_least_eleven_pixels_across():
    for shape in scenes.SHAPES:
        for radius in scenes.RADII["small"]:
            for turn in (-10, 0, 10):
                assert min(scenes._ink(shape, radius, turn).shape) >= 11


def test_articles_follow_the_first_letter():
    assert scenes.with_article("orange cross") == "an orange cross"
    assert scenes.listing(["a", "b", "c"]) == "a, b and c"


def test_ink_that_would_leave_the_canvas_is_refused_not_clipped():
    canvas = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="leaves a canvas of 8x8"):
        paint(canvas, np.full((4, 4), 255, np.uint8), 6, 0, (1, 2, 3))
