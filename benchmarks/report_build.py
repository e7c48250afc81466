"""Seconds to build a report of 8 models on 5,000 questions, and to open, filter and search it in Chromium."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from harness.engine.run import run_suite
from harness.report.build import build_report

MODELS, SAMPLES, IMAGES = 8, 5_000, 1_000
WORDS = (
    "revenue",
    "share",
    "of",
    "bars",
    "between",
    "years",
    "is",
    "larger",
    "than",
    "the",
    "value",
    "legend",
    "percent",
)


def make_data(root: Path, rng: np.random.Generator) -> dict[str, str]:
    """A ChartQA folder of `SAMPLES` questions on `IMAGES` pictures; sample number → right answer."""
    from PIL import Image

    test = root / "chartqa" / "ChartQA Dataset" / "test"
    (test / "png").mkdir(parents=True)
    for number in range(IMAGES):
        noise = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((160, 120)).save(test / "png" / f"{number}.png", compress_level=1)
    rows = [
        {
            "imgname": f"{number % IMAGES}.png",
            "query": f"{number}: {' '.join(rng.choice(WORDS, 14))}?",
            "label": str(rng.integers(1, 2000)),
        }
        for number in range(SAMPLES)
    ]
    (test / "test_human.json").write_text(json.dumps(rows[: SAMPLES // 2]))
    (test / "test_augmented.json").write_text(json.dumps(rows[SAMPLES // 2 :]))
    from harness.datasets.opening import open_dataset

    return {sample.sample_id: sample.references[0] for sample in open_dataset("chartqa", root).samples("test")}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="report-benchmark-"))
    rng = np.random.default_rng(0)
    references = make_data(folder / "data", rng)
    cards = []
    for model in range(MODELS):
        right = rng.random(len(references)) < 0.5 + 0.02 * model
        with (folder / f"model-{model}.jsonl").open("w") as file:
            for (sample, reference), good in zip(references.items(), right, strict=True):
                text = reference if good else f"{' '.join(rng.choice(WORDS, 8))} {rng.integers(1, 2000)}"
                file.write(json.dumps({"sample_id": sample, "text": text}) + "\n")
        card = folder / f"model-{model}.yaml"
        options = {"path": str(folder / f"model-{model}.jsonl")}
        card.write_text(json.dumps({"name": f"model-{model}", "run": {"family": "predictions", "options": options}}))
        cards.append(card)
    suite = folder / "charts.yaml"
    suite.write_text("name: charts\nversion: 1\ndescription: d\ndata: folder\ntasks: [chartqa]\n")
    outcome = run_suite(suite, cards, out=folder / "runs", data=folder / "data")
    print(f"{len(outcome.runs)} models, {SAMPLES} samples, {IMAGES} images of 160 x 120")

    start, cpu = time.perf_counter(), time.process_time()
    page = build_report(outcome.runs, folder / "report", data=folder / "data")
    size = sum(path.stat().st_size for path in (folder / "report").rglob("*") if path.is_file())
    print(f"build: {time.perf_counter() - start:.1f} s, {time.process_time() - cpu:.1f} CPU s, {size / 2**20:.1f} MiB")
    measure(page.with_name("samples.html"))
    shutil.rmtree(folder)


def measure(page: Path) -> None:
    """Print what a reader waits for, as seen from outside the browser."""
    from playwright.sync_api import sync_playwright

    left = "before => document.getElementById('count').textContent !== before && !/Reading/.test(count.textContent)"
    with sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page()

        def timed(what: str, act: object) -> None:
            before = tab.locator("#count").text_content() if tab.url != "about:blank" else ""
            start = time.perf_counter()
            act()  # type: ignore[operator]
            tab.wait_for_function(left, arg=before)
            print(f"{what}: {time.perf_counter() - start:.2f} s ({tab.locator('#count').text_content()})")

        start = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("#detail .answer")
        tab.wait_for_selector("#rows .row")
        print(f"open: {time.perf_counter() - start:.2f} s")
        timed("filter, models disagree", lambda: tab.check("#disagree"))
        timed("filter, only model-3 right", lambda: tab.select_option("#only", label="model-3"))
        timed("clear", lambda: tab.click("#reset"))
        timed("first search, reads all texts", lambda: tab.fill("#search", "legend 1999"))
        timed("second search", lambda: tab.fill("#search", "percent 77"))
        browser.close()


if __name__ == "__main__":
    main()
