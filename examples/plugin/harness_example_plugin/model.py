"""A model that answers every question with the name of the picture's strongest colour."""

from __future__ import annotations

from typing import Any

from harness.models.base import Generation, Model
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings

NAMES = ("red", "green", "blue")


class ColourNamer(Model):
    family = "colour-namer"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        return Capabilities(min_images=1, max_images=1)

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        return ModelIdentity(settings, weights="no weights, version 1")

    @classmethod
    def load(cls, settings: ModelSettings) -> ColourNamer:
        return cls(settings)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation]:
        means = [item.images[0].resize((1, 1)).getpixel((0, 0)) for item in prepared]
        return [Generation(NAMES[max(range(3), key=mean.__getitem__)]) for mean in means]
