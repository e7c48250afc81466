"""Fixtures and guards shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real benchmark subsets that lies beside the checkout and is never part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real benchmark subsets (../shared/data) are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name → folder of checkpoints of the real transformers classes with random weights, built once for a session."""
    pytest.importorskip("transformers", reason="the models extra is not installed")
    from tests.tiny_checkpoints import build

    return build(tmp_path_factory.mktemp("checkpoints"))
