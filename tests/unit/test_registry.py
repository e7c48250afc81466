"""The registry with fake distributions on the path: properties, and worked examples of each error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import registry
from harness.errors import RegistryError, UnknownNameError

Install = Callable[..., Path]


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics", "executors"])
def test_every_built_in_name_leads_to_an_object(kind: str) -> None:
    assert registry.names(kind)
    assert registry.problems(kind) == {}


def test_an_installed_entry_point_is_found_and_loaded(installed: Install) -> None:
    installed("extra", {"harness.models": {"echo": "echo_model:Echo"}}, {"echo_model.py": "class Echo: pass\n"})
    assert "echo" in registry.names("models")
    assert registry.entry("models", "echo").owner == "extra"
    assert registry.load("models", "echo").__name__ == "Echo"


def test_a_broken_plugin_is_listed_with_its_error_and_hides_nothing(installed: Install) -> None:
    installed("bad", {"harness.metrics": {"broken": "no_such_module:Metric"}})
    faults = registry.problems("metrics")
    assert list(faults) == ["broken"]
    assert "bad" in faults["broken"]
    assert "no_such_module" in faults["broken"]
    assert registry.load("metrics", "rnss") is not None


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(
        UnknownNameError, match=r'no metric named "cider-d"; did you mean "cider"\? `harness list metrics`'
    ):
        registry.load("metrics", "cider-d")


def test_a_name_claimed_twice_names_both_owners(installed: Install) -> None:
    installed("other", {"harness.datasets": {"coco": "other_coco:Coco"}})
    with pytest.raises(RegistryError, match=r'data set "coco" is claimed by harness .* and other \(other_coco:Coco\)'):
        registry.load("datasets", "coco")
    assert "coco" in registry.names("datasets")
    assert registry.load("datasets", "chartqa") is not None


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="registry"):
        registry.names("colours")
