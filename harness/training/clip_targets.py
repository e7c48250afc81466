"""Approximates a CLIP's image embeddings with a wavelet eye, and says how near it comes.

    python -m harness.training.clip_targets RECIPE.yaml --out DIR

The recipe is one of `recipe.Recipe` with the trainee `wavelet-clip`, on any source of pictures; answers are not read:

    name: wavelet-clip-scenes
    description: Haar coefficients to the image embeddings of CLIP ViT-B/32
    trainee: wavelet-clip
    network: {clip: FOLDER_OF_A_CLIP, design: {levels: 3}, width: 128}
    data: [{source: scenes}]
    optimiser: {learning_rate: 0.001, batch: 64, steps: 2000}
    validation: {examples: 512}

`harness train` does not take it, because no model family answers with such a network.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import HarnessError, TrainingError
from harness.store.files import write_json
from harness.training.examples import Source
from harness.training.fitting import fit, fresh
from harness.training.progress import Progress
from harness.training.recipe import Recipe, read_recipe
from harness.training.sources import mixture_of
from harness.training.trainees.wavelet_clip import WaveletClipTrainee
from harness.training.validation import held_out_examples

TRAINEE = "wavelet-clip"
_MEASURED = 256


@dataclass(frozen=True, slots=True)
class Approximation:
    """How near an embedder comes to CLIP on held-out pictures."""

    cosine: float
    """Mean cosine between the two embeddings of a picture."""
    constant_cosine: float
    """The same for one vector for all pictures: the mean of CLIP's own embeddings of them. CLIP's embeddings lie close
    together, so that this is far from 0, and only what is above it was learned from pictures."""
    retrieval: float
    """Share of pictures whose nearest other picture by our embeddings is that by CLIP's; equal pictures are counted
    once."""
    retrieval_chance: float
    """What a random choice among the other pictures would reach."""
    n: int
    """Different held-out pictures."""


def approximate_clip(
    recipe: Recipe, out: Path, *, where: str = "recipe", progress: Progress | None = None
) -> Approximation:
    """Train an embedder to the end of its recipe and measure it; writes `checkpoint/` and `results.json` in `out`.

    A training that was begun in `out` goes on.

    Raises:
        TrainingError: the recipe is for another trainee, there is no CLIP where it says, or the folder holds another
            training.
    """
    if recipe.trainee != TRAINEE:
        raise TrainingError(f"{where}: trainee is {recipe.trainee}; this training is for {TRAINEE}")
    source = mixture_of(recipe, where)
    trainee = fresh(WaveletClipTrainee, recipe, source, where, measured=_MEASURED)
    state = fit(trainee, recipe, source, out, progress=progress)
    found = measured(trainee, source, recipe)
    spent = {"steps": state.step, "samples": state.samples, "cpu_s": round(state.cpu_s, 1), "data_sha256": state.data}
    write_json(out / "results.json", {"recipe": recipe.model_dump(mode="json"), **spent, **asdict(found)})
    return found


def measured(trainee: WaveletClipTrainee, source: Source, recipe: Recipe) -> Approximation:
    """The embedder against CLIP on the held-out pictures of the recipe.

    Raises:
        TrainingError: they hold fewer than two different pictures.
    """
    pictures = list(chain.from_iterable(e.images for e in held_out_examples(source, recipe)))
    different = list({(p.shape, p.tobytes()): p for p in pictures}.values())
    if len(different) < 2:
        raise TrainingError("the held-out examples have fewer than two different pictures; raise validation.examples")
    trainee.network.eval()
    ours, theirs = trainee.embeddings(different), trainee.targets(different)
    constant = functional.normalize(theirs.mean(0), dim=0)
    return Approximation(
        cosine=float((ours * theirs).sum(-1).mean()),
        constant_cosine=float((theirs @ constant).mean()),
        retrieval=float((nearest(ours) == nearest(theirs)).double().mean()),
        retrieval_chance=1 / (len(different) - 1),
        n=len(different),
    )


def nearest(vectors: Tensor) -> Tensor:
    """Index of the nearest other row of each row, by the product of rows of length 1."""
    near = vectors @ vectors.T
    return near.fill_diagonal_(-torch.inf).argmax(dim=1)


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 for wrong usage or data."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or one in which this was begun")
    options = parser.parse_args(arguments)
    try:
        found = approximate_clip(read_recipe(options.recipe), options.out, where=str(options.recipe))
    except HarnessError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(
        f"cosine {found.cosine:.4f} (one vector for all: {found.constant_cosine:.4f}); nearest neighbour as CLIP's "
        f"{100 * found.retrieval:.1f} % (chance {100 * found.retrieval_chance:.1f} %); {found.n} held-out pictures"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
