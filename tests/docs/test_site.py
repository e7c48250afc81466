"""What the site adds to its pages. The build itself (`tox run -e docs`) refuses broken links and foreign resources."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.documents import DOCUMENTS, ROOT
from tests.docs.test_json_keys import leaves


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_has_every_command_and_option(hooks: ModuleType) -> None:
    text = hooks.command_reference()
    for name, command in leaves().items():
        section = text.split(f"\n## harness {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option in section, (name, option)
            assert parameter.help is None or parameter.help.split("\n")[0][:30] in section, (name, parameter.name)


def test_links_out_of_the_site_become_names(hooks: ModuleType) -> None:
    page = ROOT / "docs" / "wavelets.md"
    text = "[a](models.md) [b](../experiments/README.md) [c](https://example.org) [d](../nothing.md)"
    assert hooks.without_outside_links(text, page) == (
        "[a](models.md) b (`experiments/README.md`) [c](https://example.org) [d](../nothing.md)"
    )


def test_foreign_resources_are_found(hooks: ModuleType) -> None:
    own = '<link rel="stylesheet" href="assets/a.css"><a href="https://example.org">x</a><script src="a.js"></script>'
    assert hooks.foreign_resources(own) == []
    for tag in (
        '<script src="https://x/y.js">',
        '<link rel=preconnect href="//fonts.example">',
        '<img alt="" src=http://x>',
    ):
        assert hooks.foreign_resources(own + tag) == [tag]


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    named = set(re.findall(r"(\S+\.md)", navigation))
    pages = {str(path.relative_to(ROOT / "docs")) for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")}
    assert named == pages | {"reference/commands.md"}
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            assert (document.parent / target).exists(), f"{document}: {target}"


def test_nothing_is_loaded_from_the_network() -> None:
    assert "font: false" in (ROOT / "mkdocs.yml").read_text()
    for path in Path(ROOT / "docs").rglob("*.md"):
        assert "<script" not in path.read_text(encoding="utf-8")
