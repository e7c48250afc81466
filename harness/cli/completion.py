"""Names that a shell completes: cards, suites, tasks, recipes, data sets, families. No tensor library is loaded.

A name that cannot be found out because a plugin or a folder is broken is left out; completion never fails.
"""

from __future__ import annotations

from collections.abc import Iterable


def cards_named(incomplete: str) -> list[str]:
    """Names of model cards that begin so."""
    from harness.errors import HarnessError

    try:
        from harness.cards.loading import card_files

        return _beginning(incomplete, card_files())
    except HarnessError:
        return []


def models_named(incomplete: str) -> list[str]:
    """Cards, and wrappers before a card (`blank-image:`), for the last name of a list with commas."""
    before, comma, name = incomplete.rpartition(",")
    wrapper, colon, card = name.rpartition(":")
    wrappers = [] if colon else [f"{family}:" for family in families_named(name) if _wraps(family)]
    return [f"{before}{comma}{wrapper}{colon}{each}" for each in (*cards_named(card), *wrappers)]


def _wraps(family: str) -> bool:
    from harness import registry
    from harness.errors import RegistryError

    try:
        return registry.entry("models", family).target.startswith("harness.models.wrappers:")
    except RegistryError:
        return False


def suites_named(incomplete: str) -> list[str]:
    """Names of suites that begin so."""
    from harness.errors import HarnessError

    try:
        from harness.tasks.loading import suite_files

        return _beginning(incomplete, suite_files())
    except HarnessError:
        return []


def tasks_named(incomplete: str) -> list[str]:
    """Names of tasks that begin so."""
    from harness.errors import HarnessError

    try:
        from harness.tasks.loading import task_files

        return _beginning(incomplete, task_files())
    except HarnessError:
        return []


def recipes_named(incomplete: str) -> list[str]:
    """Names of bundled recipes that begin so."""
    from harness.training.recipe import bundled_recipes

    return _beginning(incomplete, (path.stem for path in bundled_recipes().glob("*.yaml")))


def datasets_named(incomplete: str) -> list[str]:
    """Names of data sets that begin so."""
    from harness import registry

    return _beginning(incomplete, registry.names("datasets"))


def families_named(incomplete: str) -> list[str]:
    """Names of model families that begin so."""
    from harness import registry

    return _beginning(incomplete, registry.names("models"))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
