"""A model that does what its options say: the stand-in for a real one, with a log of everything it was asked."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

from harness.errors import ModelError, ModelOutOfMemory
from harness.models.base import Generation, Model, ModelInput
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem


class Activations:
    """What a batch holds in memory while it is answered."""


OF_BATCHES_THAT_DID_NOT_FIT: WeakSet[Activations] = WeakSet()
HELD: list[int] = []
"""How many batches that did not fit were still in memory, at each batch."""


class Scripted(Model):
    """Answers with a digest of image and prompt; options make it slow, forgetful or broken."""

    family = "scripted"
    template = "Q: {{ text }}"

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        return Capabilities(max_images=settings.options.get("max_images", 1))

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        if settings.options.get("missing"):
            raise ModelError("scripted: the checkpoint is not there")
        return ModelIdentity(settings, weights=str(settings.options.get("weights", "scripted")))

    @classmethod
    def load(cls, settings: ModelSettings) -> Scripted:
        if settings.options.get("load_fails"):
            raise RuntimeError("weights are damaged")
        if settings.options.get("load_dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        return cls(settings)

    def prepare(self, batch: Sequence[ModelInput]) -> list[ModelInput]:
        return list(batch)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        options = self.settings.options
        HELD.append(len(OF_BATCHES_THAT_DID_NOT_FIT))
        if len(prepared) > options.get("fits", 1000):
            activations = Activations()
            OF_BATCHES_THAT_DID_NOT_FIT.add(activations)
            raise ModelOutOfMemory(f"{len(prepared)} requests")
        time.sleep(options.get("seconds", 0.0))
        answers: list[Generation | Problem] = []
        for item in prepared:
            sample = item.request.sample_id
            if options.get("breaks_on") == sample:
                raise ValueError(f"cannot answer {sample}")
            if options.get("dies_on") == sample:
                os.kill(os.getpid(), signal.SIGKILL)
            if options.get("hangs_on") == sample:
                time.sleep(3600)
            if options.get("silent_on") == sample:
                answers.append(Problem("no_prediction", "nothing to say"))
                continue
            if "sees" in options:
                red, green, blue = item.images[0].getpixel((0, 0))
                seen = options["sees"] if red > max(green, blue) else "grey"
                answers.append(Generation(seen))
                continue
            pixels = b"".join(image.tobytes() for image in item.images)
            text = hashlib.sha256(pixels + item.request.prompt.encode()).hexdigest()[:8]
            answers.append(Generation(options.get("says", text), prompt_tokens=3, output_tokens=1))
        if "log" in options:
            with Path(options["log"]).open("a", encoding="utf-8") as log:
                where = str(os.getpid()) if options.get("logs_process") else sys.executable
                end = f"\t{where}\n" if {"logs_process", "logs_python"} & set(options) else "\n"
                log.writelines(f"{item.request.task}\t{item.request.sample_id}{end}" for item in prepared)
        return answers
