"""A reader that knows pictures by their width, and a reasoner that reads out the last cell of the last table."""

from __future__ import annotations

from typing import Any

from harness.models.base import Generation, Model
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem


class _Part(Model):
    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        return ModelIdentity(settings, str(settings.options.get("weights", cls.family)))

    @classmethod
    def load(cls, settings: ModelSettings) -> Model:
        return cls(settings)


class WidthReader(_Part):
    """Option `tables`: width of the picture → table, or null where reading fails."""

    family = "width-reader"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        return Capabilities(min_images=1, max_images=1)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        tables = [self.settings.options["tables"].get(str(one.images[0].width)) for one in prepared]
        return [Problem("unreadable_chart", "no axes") if t is None else Generation(t) for t in tables]


class LastCell(_Part):
    """Whatever is asked, the answer is the last cell."""

    family = "last-cell"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        return Capabilities(max_images=0)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        rows = [[line for line in one.request.prompt.splitlines() if " | " in line] for one in prepared]
        return [Generation(row[-1].rpartition(" | ")[2]) for row in rows]
