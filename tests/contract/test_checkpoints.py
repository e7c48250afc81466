"""Every family of the transformers library: from a folder and the hub's cache, refused where wrong, freed, not blind.

Evidence: properties on the tiny checkpoints, in the layouts that the hub's own client leaves on disk.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import shutil
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.errors import ModelError
from harness.models.base import Generation, Model, ModelInput
from harness.models.sight import first_logits
from harness.models.transformers_base import TransformersModel
from harness.records import ModelSettings
from tests.contract.test_models import asked
from tests.model_inputs import FAMILIES, items, settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BRANCH_WARNING = "run.revision is not set"


CASES = tuple(n for n, f in FAMILIES.items() if issubclass(registry.load("models", f), TransformersModel))


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def given(case: str, tiny_checkpoints: dict[str, Path]) -> ModelSettings:
    return settings(case, tiny_checkpoints)


@pytest.fixture(scope="module")
def family(given: ModelSettings) -> type[Model]:
    found: type[Model] = registry.load("models", given.family)
    return found


@pytest.fixture(scope="module")
def model(family: type[Model], given: ModelSettings) -> Iterator[Model]:
    loaded = family.load(given)
    yield loaded
    loaded.close()


def in_cache(folder: Path, cache: Path) -> Path:
    """The folder laid into a hub cache as org/tiny at one commit: bytes in `blobs`, links in the snapshot."""
    repository = cache / "models--org--tiny"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "blobs").mkdir()
    for number, file in enumerate(sorted(f for f in folder.rglob("*") if f.is_file())):
        blob = repository / "blobs" / f"blob{number}"
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return snapshot


@pytest.fixture
def cached(given: ModelSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSettings:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    in_cache(Path(str(given.checkpoint)), tmp_path / "hub")
    return dataclasses.replace(given, checkpoint="org/tiny")


def test_a_hub_id_answers_as_the_folder_and_is_known_by_its_commit(
    case: str, family: type[Model], model: Model, cached: ModelSettings
) -> None:
    identity = family.identify(cached)
    assert identity.weights == f"hub:org/tiny@{COMMIT}"
    fetched = family.load(cached)
    assert asked(fetched, items(case)) == asked(model, items(case))
    fetched.close()


def test_a_hub_id_without_commit_is_resolved_with_a_warning(family: type[Model], cached: ModelSettings) -> None:
    (warning,) = [w for w in family.identify(cached).warnings if BRANCH_WARNING in w]
    assert f"pin it with revision: {COMMIT}" in warning
    branch = family.identify(dataclasses.replace(cached, revision="main"))
    assert any("run.revision is main" in w for w in branch.warnings)
    pinned = family.identify(dataclasses.replace(cached, revision=COMMIT))
    assert not any("run.revision" in w for w in pinned.warnings)
    assert pinned.weights == branch.weights


def test_a_snapshot_with_a_link_out_of_its_repository_is_refused(
    family: type[Model], cached: ModelSettings, tmp_path: Path
) -> None:
    link = tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT / "config.json"
    elsewhere = tmp_path / "elsewhere.json"
    shutil.copy(link, elsewhere)
    link.unlink()
    link.symlink_to(elsewhere)
    with pytest.raises(ModelError, match=r"config\.json leads out of its repository's cache"):
        family.identify(cached)


def test_a_link_in_a_folder_is_hashed_by_the_bytes_behind_it(
    family: type[Model], given: ModelSettings, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(str(given.checkpoint), tmp_path / "copy"))
    here = dataclasses.replace(given, checkpoint=str(folder))
    before = family.identify(here).weights
    weights, elsewhere = folder / "model.safetensors", tmp_path / "elsewhere.safetensors"
    weights.rename(elsewhere)
    weights.symlink_to(elsewhere)
    assert family.identify(here).weights == before
    changed = bytearray(elsewhere.read_bytes())
    changed[-1] ^= 1
    elsewhere.write_bytes(changed)
    assert family.identify(here).weights != before


def test_a_checkpoint_of_another_kind_is_refused_by_what_was_expected_and_found(
    family: type[Model], given: ModelSettings, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(str(given.checkpoint), tmp_path / "copy"))
    config: Mapping[str, Any] = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    with pytest.raises(ModelError, match="unheard-of") as caught:
        family.load(dataclasses.replace(given, checkpoint=str(folder)))
    read = (getattr(family, "model_type", ""), getattr(family, "model_class", ""))
    expected = (*filter(None, read), config["model_type"], "AutoModelForImageTextToText", "causal language model")
    assert any(name in str(caught.value) for name in expected)


def test_closing_frees_the_weights(family: type[Model], given: ModelSettings) -> None:
    loaded = family.load(given)
    assert isinstance(loaded, TransformersModel)
    weights = weakref.ref(next(loaded.model.parameters()))
    assert weights() is not None
    loaded.close()
    gc.collect()
    assert weights() is None


def test_three_pictures_have_three_answers_and_one_question_one(case: str, model: Model) -> None:
    assert isinstance(model, TransformersModel)
    batch = items(case)
    if not batch[0].images or not hasattr(model.model, "generate"):
        # it hears, or reads, or has a few labels: then one question asked twice has one answer
        assert asked(model, batch[:1]) == asked(model, batch[:1])
        return
    same = [ModelInput(batch[0].request, item.images) for item in batch[:3]]
    answers = asked(model, same)
    assert all(isinstance(answer, Generation) for answer in answers)
    if len({a.text for a in answers if isinstance(a, Generation)}) < 3:
        logits = [first_logits(model, item) for item in same]
        pairs = ((0, 1), (0, 2), (1, 2))
        assert all(float((logits[a] - logits[b]).abs().max()) > 1e-3 for a, b in pairs)
