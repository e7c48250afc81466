"""Sealed runs → a folder with index.html and samples.html that opens from disk, without a server or a network.

    index.html, samples.html     the pages
    assets/                      style and scripts; nothing is fetched from elsewhere
    figures/                     SVG, each for light and for dark paper
    data/                        samples in chunks, loaded when they are looked at
    images/                      small copies, named by the checksum of the original's bytes; drawn formulas
    report.json                  what the report was made from; its presence allows the folder to be written again

What a model answered is data: templates escape it, scripts set it as text only, and the pages' content security policy
lets no inline script, style or handler run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.compare.comparison import Comparison, compare
from harness.errors import StoreError
from harness.report.figures import draw_figures
from harness.report.formulas import Formulas
from harness.report.pages import index_page, samples_page
from harness.report.samples import write_samples
from harness.report.thumbnails import Thumbnails
from harness.report.timing import seconds_per_sample
from harness.store.files import write_json
from harness.store.runs import Run
from harness.version import __version__

REPORT = "report.json"
_PARTS = ("assets", "figures", "data", "images")
_HERE = Path(__file__).parent


def build_report(
    runs: Sequence[Run],
    out: str | Path,
    *,
    baseline: Run | None = None,
    allow: bool = False,
    data: str | Path | None = None,
) -> Path:
    """The report's `index.html`.

    Args:
        runs: two or more sealed runs, with `baseline` among them or not.
        out: folder to write; a report that is there already is replaced.
        baseline: only pairs with this run are tested.
        allow: show unlike runs all the same, marked.
        data: folder of the benchmarks, to show their images; without it only bundled images are shown, and the pages
            say which are not.

    Raises:
        CompareError: fewer than two runs, or unlike runs without `allow`.
        StoreError: `out` holds something that is no report, or a run is damaged.
    """
    folder = Path(out)
    _check(folder)
    compared = compare(runs, baseline=baseline, allow=allow)
    _clear(folder)
    shutil.copytree(_HERE / "assets", folder / "assets")
    names = run_names(compared)
    thumbnails = Thumbnails(folder / "images", Path(data) if data is not None else None)
    formulas = Formulas(folder / "images")
    browsed = write_samples(compared.runs, names, folder / "data", thumbnails, formulas)
    figures = draw_figures(compared, seconds_per_sample(compared.runs, names), folder / "figures")
    (folder / "index.html").write_text(index_page(compared, figures, browsed), encoding="utf-8", newline="\n")
    (folder / "samples.html").write_text(samples_page(compared, browsed), encoding="utf-8", newline="\n")
    write_json(
        folder / REPORT,
        {"schema_version": 1, "harness_version": __version__, "runs": [run.record.run_id for run in compared.runs]},
    )
    return folder / "index.html"


def run_names(comparison: Comparison) -> dict[str, str]:
    """Run id → name that the comparison calls it, in the order of the runs."""
    named = {standing.run: standing.model for standing in comparison.standings}
    return {run.record.run_id: named.get(run.record.run_id, run.record.model) for run in comparison.runs}


def _check(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file; give a folder with --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT).exists():
        raise StoreError(f"{folder}: holds files that are no report; give a new or empty folder with --out")


def _clear(folder: Path) -> None:
    """Make an empty report folder, marked as one, so that a report cut short can be written again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in _PARTS:
            if (folder / part).exists():
                shutil.rmtree(folder / part)
            if part != "assets":
                (folder / part).mkdir()
        write_json(folder / REPORT, {"schema_version": 1, "unfinished": True})
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}); give another folder with --out") from error
