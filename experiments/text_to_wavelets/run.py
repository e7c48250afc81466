"""Trains a painter from texts to wavelet coefficients and lets a captioner read what it paints.

    python experiments/text_to_wavelets/run.py --out DIR --report reports/text-to-wavelets
    python experiments/text_to_wavelets/run.py --out DIR --captioner my-captioner.yaml

A stopped training goes on where it was; with a trained painter in DIR only the reading is repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from reading import as_json, captioner, readings, summary
from sheet import contact_sheet

from harness.errors import HarnessError
from harness.fingerprint import file_sha256, fingerprint
from harness.mini.canvas import Pixels
from harness.mini.scenes import Layout, plan, render
from harness.mini.streams import Dice, stream
from harness.provenance import provenance
from harness.store.files import write_json
from harness.training.fitting import fit, fresh
from harness.training.painting import Painter, SettledScenes, request, settled
from harness.training.progress import Silent
from harness.training.recipe import Recipe, changed, read_recipe
from harness.training.state import State

RECIPE = Path(__file__).with_name("painter.yaml")
ROWS = {
    "as-drawn": "true pictures with shapes moved and turned, as the captioner was trained",
    "true": "true pictures, shapes in the middle of their quarters: the upper bound",
    "quantised": "true pictures after quantising their coefficients: what the bins allow",
    "painted": "painted, likeliest classes",
    "drawn": "painted, classes drawn with a seed",
    "shuffled": "painted for another text: the lower bound",
}
COLUMNS = {
    "exact": "exact caption",
    "number": "number",
    "colours": "colour",
    "shapes": "shape",
    "sizes": "size",
    "place": "place (asked)",
    "quarters": "quarters (pixels)",
    "ground": "ground (pixels)",
}


class Lines(Silent):
    """Prints every hundredth step."""

    def step(self, done: int, loss: float) -> None:
        """A line."""
        if done % 100 == 0:
            print(f"step {done}: loss {loss:.3f}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 for wrong usage or data."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the painter")
    parser.add_argument("--report", type=Path, help="folder of the report; OUT/report if left out")
    parser.add_argument("--captioner", default="nano-wavelet-sem", help="card, or folder of a wavelet checkpoint")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--pictures", type=int, default=200, help="number of held-out texts")
    parser.add_argument("--seed", type=int, default=20262, help="seed of the held-out texts and of what is drawn")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        _run(options)
    except HarnessError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    reader = captioner(options.captioner)
    recipe = changed(read_recipe(options.recipe), steps=options.steps)
    painter, state = trained(recipe, options.out / "painter")
    rng = stream(options.seed, "painting", "test")
    moved = [plan(Dice(rng)) for _ in range(options.pictures)]
    layouts = [settled(layout) for layout in moved]
    shown = pictures(painter, layouts, moved, options.seed)
    read = {row: readings(reader, layouts, shown[row], options.seed) for row in ROWS}
    here = provenance()
    results = {
        "schema_version": 1,
        "captioner": {
            "name": reader.settings.name,
            "weights_sha256": file_sha256(Path(str(reader.settings.checkpoint)) / "model.safetensors"),
        },
        "painter": {
            "recipe": recipe.model_dump(mode="json"),
            "recipe_fingerprint": fingerprint(recipe.model_dump(mode="json")),
            "parameters": sum(p.numel() for p in painter.network.parameters()),
            "training_texts": state.samples,
            "data_sha256": state.data,
            "cpu_s": round(state.cpu_s, 1),
            "last_loss": float(np.mean(state.losses)),
        },
        "seed": options.seed,
        "made_with": {
            "commit": here["commit"],
            "processor": here["processor"],
            "threads": options.threads,
            "versions": {name: here["packages"][name] for name in ("torch", "numpy", "pillow")},
        },
        "summary": {row: summary(found) for row, found in read.items()},
        "readings": {row: as_json(found) for row, found in read.items()},
    }
    report: Path = options.report or options.out / "report"
    report.mkdir(parents=True, exist_ok=True)
    write_json(report / "results.json", results)
    sheet = list(zip(shown["true"][:16], shown["painted"][:16], strict=True))
    (report / "pictures.png").write_bytes(contact_sheet([request(x) for x in layouts[:16]], sheet))
    (report / "README.md").write_text(markdown(results), encoding="utf-8")
    print(f"{report / 'README.md'}", flush=True)


def trained(recipe: Recipe, folder: Path) -> tuple[Painter, State]:
    """The painter of the folder, trained as far as it was not."""
    source = SettledScenes()
    state = fit(fresh(Painter, recipe, source, str(RECIPE)), recipe, source, folder, progress=Lines())
    return Painter.opened(folder / "checkpoint"), state


def pictures(painter: Painter, layouts: list[Layout], moved: list[Layout], seed: int) -> dict[str, list[Pixels]]:
    """The pictures of each row of the table."""
    texts, true = [request(layout) for layout in layouts], [render(layout) for layout in layouts]
    painted = painter.paint(texts)
    return {
        "as-drawn": [render(layout) for layout in moved],
        "true": true,
        "quantised": painter.pictures_of(painter.classes(true)),
        "painted": painted,
        "drawn": painter.paint(texts, seed=seed),
        "shuffled": painted[1:] + painted[:1],
    }


def markdown(results: dict[str, Any]) -> str:
    """The report."""
    found, painter = results["summary"], results["painter"]
    n, things = found["painted"]["n"], found["painted"]["things"]
    low, high = found["painted"]["exact_interval"]
    lines = [
        "# Text to wavelet coefficients to picture",
        "",
        "Made by `experiments/text_to_wavelets/run.py`. A painter reads what a scene should show and gives a class for "
        "each quantised Haar coefficient of each cell; the inverse transform makes the picture. "
        f"`{results['captioner']['name']}`, a captioner that never saw a painted picture, then reads it.",
        "",
        f"{n} held-out texts with {things} shapes; per cent. Of the painted pictures, "
        f"{100 * low:.1f} to {100 * high:.1f} % are read as the exact caption (95 %, Wilson).",
        "",
        f"| pictures | {' | '.join(COLUMNS.values())} |",
        f"|---|{'---:|' * len(COLUMNS)}",
        *(
            f"| {text} | {' | '.join(f'{100 * found[row][name]:.1f}' for name in COLUMNS)} |"
            for row, text in ROWS.items()
        ),
        "",
        "- Colour, shape and size: share of the shapes asked for; the i-th that the captioner names is held against "
        "the i-th asked for, both in reading order.",
        "- Place (asked): the captioner is asked where one of the shapes is, with four options; guessing gives 25 %. "
        "Its value on the true pictures says whether this captioner can answer that at all.",
        "- Quarters and ground are measured on the pixels, without the captioner: which quarters hold something, and "
        "which ground is nearest to the frame.",
        "- The texts name size, colour, shape, place and ground. Each shape stands in the middle of its quarter, "
        "upright, with one radius for each size, because classes are chosen independently given the text: where a "
        "small shape may stand anywhere in its quarter, the likeliest value of a coefficient is that of the ground. "
        "A painter of free places needs coefficients that depend on one another, which this one does not have.",
        "- Texts are drawn from a stream of their own. A text of one shape can also occur in training: there are 896 "
        "of them; two and three shapes make about 73,000 and 2.5 million.",
        "",
        f"Painter: {painter['parameters']:,} parameters, {painter['training_texts']:,} training texts, "
        f"{painter['cpu_s']:.0f} s of processor time, mean loss of the last 100 steps {painter['last_loss']:.3f}.",
        "",
        "![What was asked for, the true picture on the left, the painted one on the right](pictures.png)",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
