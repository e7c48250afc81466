"""Cards against what they describe: the schema first, then every claimed size against the network that is built.

Parameters may differ by 0.5 % (vocabularies are padded, heads counted or not); layers, pixels and tokens not at all.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import registry
from harness.cards.checking import check_cards as check_schema
from harness.cards.configurations import configuration
from harness.cards.loading import LoadedCard, load_card
from harness.cards.schema import Architecture, Fact
from harness.engine.architecture import Measured, Part, build, measure
from harness.errors import HarnessError
from harness.models.base import Model

TOLERANCE = 0.005
"""Allowed relative difference of a parameter count."""


@dataclass(frozen=True, slots=True)
class CardCheck:
    """One card, what is wrong with it, and how far it could be checked."""

    card: str
    faults: tuple[str, ...]
    """Each with file, field and a remedy; empty for a sound card."""
    checked: tuple[str, ...] = ()
    """Fields of `describe.architecture` that were compared with the network."""
    unchecked: tuple[str, ...] = ()
    """Claimed fields that the configuration does not fix."""
    not_done: str = ""
    """Why the network was not built; empty where it was."""


def check_cards(names: Sequence[str | Path], folders: Iterable[Path] = ()) -> list[CardCheck]:
    """A check of each named card, or of all that the search path holds."""
    extra = tuple(folders)
    reports = [CardCheck(report.card, report.faults) for report in check_schema(names, extra)]
    return [report if report.faults else _checked(report, load_card(report.card, cards=extra)) for report in reports]


def _checked(report: CardCheck, loaded: LoadedCard) -> CardCheck:
    try:
        why = reason_not_to_build(loaded)
        if why:
            return replace(report, not_done=why)
        found = _measured(loaded)
    except HarnessError as error:
        return replace(report, faults=(f"{loaded.path}: {error}",))
    if found is None:
        assert loaded.card.run is not None
        return replace(report, not_done=f"no configuration of {loaded.card.run.checkpoint} is here")
    assert loaded.card.describe is not None
    return compare(report, loaded.path, loaded.card.describe.architecture, found)


def reason_not_to_build(loaded: LoadedCard) -> str:
    """Why the network of a card cannot be built here; empty where that can be tried."""
    run = loaded.card.run
    if run is None:
        return "the card has no `run:`"
    if loaded.card.describe is None:
        return "the card describes nothing"
    if run.checkpoint is None:
        return f"the family {run.family} has no checkpoint"
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")):
        return "needs extra models"
    return ""


def _measured(loaded: LoadedCard) -> Measured | None:
    """What the family builds from the card, else what the checkpoint's configuration builds; `None` without one."""
    settings = loaded.settings()
    family: type[Model] = registry.load("models", settings.family)
    own = family.meta_network(settings)
    if own is not None:
        return measure(own)
    config = configuration(str(settings.checkpoint))
    return measure(build(config, getattr(family, "model_class", ""))) if config is not None else None


def compare(report: CardCheck, path: Path, claimed: Architecture, found: Measured) -> CardCheck:
    """The report with every claim of the card held against the network; a wrong claim is a fault."""
    faults: list[str] = []
    checked: list[str] = []
    unchecked: list[str] = []
    for field, claim, value in _claims(claimed, found):
        if claim.value is None:
            continue
        if value is None:
            unchecked.append(field)
            continue
        checked.append(field)
        allowed = TOLERANCE * value if field.endswith("parameters") else 0
        if abs(claim.value - value) > allowed:
            share = f" ({100 * (claim.value - value) / value:+.1f} %)" if value else ""
            faults.append(
                f"{path}: describe.architecture.{field}: the card claims {claim.value:,}{share}, its configuration "
                f"builds {value:,}; correct the card, or name the checkpoint it describes"
            )
    return replace(report, faults=tuple(faults), checked=tuple(checked), unchecked=tuple(unchecked))


def _claims(claimed: Architecture, found: Measured) -> Iterator[tuple[str, Fact[int], int | None]]:
    """Field, claim, and what was built, for each size that a card can claim."""
    yield "parameters", claimed.parameters, found.parameters
    yield "image_tokens", claimed.image_tokens, found.image_tokens
    parts: list[tuple[str, Any, Part | None]] = [
        ("vision_encoder", claimed.vision_encoder, found.vision),
        ("audio_encoder", claimed.audio_encoder, found.audio),
        ("language_model", claimed.language_model, found.language),
    ]
    for name, part, built in parts:
        if part is None:
            continue
        yield f"{name}.parameters", part.parameters, built.parameters if built else None
        yield f"{name}.layers", part.layers, built.layers if built else None
        if name == "vision_encoder":
            yield f"{name}.input_px", part.input_px, built.input_px if built else None
            yield f"{name}.patch_px", part.patch_px, built.patch_px if built else None
