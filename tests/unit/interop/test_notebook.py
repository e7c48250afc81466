"""Tables in Jupyter: contents against the record, escaping, and the example notebook run from its own folder."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.compare.comparison import compare
from harness.interop.notebook import comparison_html, run_html
from harness.store.runs import Run, read_run
from tests.unit.interop.runs import MAJORITY, NEIGHBOUR, record

NOTEBOOK = Path(__file__).resolve().parents[3] / "examples" / "notebook" / "compare.ipynb"


class Cells(HTMLParser):
    """The texts of a page's cells, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self._inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self._inside = tag == "td"
        if self._inside:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def parsed(page: str) -> Cells:
    cells = Cells()
    cells.feed(page)
    return cells


def test_a_run_shows_value_interval_counts_and_signature() -> None:
    found = parsed(run_html(read_run(MAJORITY)))
    value = next(v for t in record().tasks if t.plan.name == "chartqa" for v in t.values)
    assert value.estimate is not None
    assert value.low is not None
    assert value.high is not None
    start = found.cells.index(value.signature) - 6
    assert found.cells[start : start + 7] == [
        "majority-answer",
        "chartqa",
        "relaxed_accuracy@pix2struct",
        f"{100 * value.estimate:.1f} %",
        f"[{100 * value.low:.1f}, {100 * value.high:.1f}]",
        f"{value.n_scored}/{value.n_total}",
        value.signature,
    ]
    assert any(cell.startswith("not computed: SPICE") for cell in found.cells)


def test_a_comparison_shows_standings_and_pairs() -> None:
    page = comparison_html(compare([read_run(MAJORITY), read_run(NEIGHBOUR)], resamples=50, permutations=50))
    assert "majority-answer − nearest-neighbour" in page
    assert "relaxed_accuracy|pix2struct|tol=0.05|zero=text|v1" in parsed(page).cells


def test_whatever_a_run_says_is_escaped() -> None:
    evil = "<script>alert(1)</script>&\"'"
    run = read_run(MAJORITY)
    value = replace(run.record.tasks[0].values[0], signature=evil, variant=evil)
    plan = replace(run.record.tasks[0].plan, name=evil)
    task = replace(run.record.tasks[0], plan=plan, values=(value,))
    record = replace(run.record, model=evil, suite=evil, warnings=(evil,), run_id=evil, tasks=(task,))
    page = run_html(Run(run.path, record))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
    assert parsed(page).tags == {"table", "caption", "thead", "tr", "th", "tbody", "td", "p"}


def test_the_extension_gives_jupyter_its_tables_and_takes_them_back() -> None:
    formatters = pytest.importorskip("IPython.core.formatters", reason="IPython is not installed")

    class Shell:
        display_formatter = formatters.DisplayFormatter()

    run = read_run(MAJORITY)
    harness.load_ipython_extension(Shell)
    assert Shell.display_formatter.format(run)[0]["text/html"] == run_html(run)
    harness.unload_ipython_extension(Shell)
    assert "text/html" not in Shell.display_formatter.format(run)[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
def test_the_example_notebook_runs_and_is_committed_without_outputs() -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat comes with nbclient")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    client.execute()
    pages = [
        o["data"]["text/html"] for c in notebook.cells for o in c.get("outputs", []) if "text/html" in o.get("data", {})
    ]
    assert "on mini</caption>" in pages[0]
    assert "<caption>Standings</caption>" in pages[1]
    assert len(pages) == 4
