"""Files of others, damaged at random and on purpose: an error that names the file, no traceback, nothing elsewhere."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from tests.fuzz.targets import TARGETS, mutated_sheet

DICTIONARY = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"-1", b"1e999", b"NaN", b"Infinity", b"9" * 400, b"\x00", b"\xff\xfe"),
    *(
        b"\n",
        b"\t",
        b'"',
        b"'",
        b",",
        b":",
        b"- ",
        b"&a ",
        b"*a",
        b"!!python/object/apply:os.system ",
        b"<<: ",
        b"---\n",
    ),
    *(b"../../", b"/etc/passwd", b"~", b"%00", "\u202e\U0001f600\ud7ff".encode(), b"\\ud800", b"\x1b[2J", b"a" * 5000),
    *(b"[" * 3000, b"{" * 3000, b'{"a":' * 2000),
)


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with pieces changed, cut, repeated or put in."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        piece = draw(st.one_of(st.sampled_from(DICTIONARY), st.binary(max_size=8), st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


def read(name: str, data: bytes) -> None:
    """Give bytes to a reader; nothing but its own folder may change."""
    with tempfile.TemporaryDirectory() as place:
        above = Path(place)
        folder = above / "inside"
        folder.mkdir()
        with suppress(HarnessError):
            TARGETS[name].read(data, folder)
        assert [path.name for path in above.iterdir()] == ["inside"], "written outside"


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read(name: str, tmp_path: Path) -> None:
    """The starting points are good files, so that damage reaches every depth of the reader."""
    TARGETS[name].read(TARGETS[name].seeds[0], tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
@given(st.data())
@settings(max_examples=60, deadline=20_000, derandomize=True, suppress_health_check=list(HealthCheck))
def test_damaged_files(name: str, data: st.DataObject) -> None:
    read(name, data.draw(damaged(TARGETS[name].seeds)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["predictions-xlsx", "vlmevalkit-xlsx"])
@pytest.mark.parametrize(
    "part", [b"", b"<worksheet/>", b"<a>" * 5000, b"\xff\xfe", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"]
)
def test_sheets_that_are_none(name: str, part: bytes) -> None:
    read(name, mutated_sheet(TARGETS[name].seeds[0], part))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("piece", DICTIONARY, ids=range(len(DICTIONARY)))
def test_a_piece_alone(name: str, piece: bytes) -> None:
    read(name, piece)
