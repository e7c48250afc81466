"""Fixtures that skip, with a reason, where Java or TeX is missing."""

from __future__ import annotations

import pytest

from harness.errors import MetricUnavailable
from harness.metrics.java import find_java, package_file
from harness.metrics.tex_engine import find_engine


@pytest.fixture
def caption_tools() -> None:
    try:
        find_java()
        package_file("tokenizer/stanford-corenlp-3.4.1.jar")
    except MetricUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def tex() -> None:
    try:
        find_engine()
    except MetricUnavailable as error:
        pytest.skip(str(error))
