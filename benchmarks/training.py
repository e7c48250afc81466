"""Training samples a CPU second of each nano trainee, on its own recipe's first batches; one thread."""

from __future__ import annotations

import statistics
import time

import torch

from harness.training.examples import batches
from harness.training.recipe import bundled_recipes, read_recipe
from harness.training.sources import mixture_of
from harness.training.train import made_optimiser, made_trainee, update

STEPS = 6


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, median of {STEPS} steps after one, one thread")
    for path in sorted(bundled_recipes().glob("nano-*.yaml")):
        recipe = read_recipe(path)
        source = mixture_of(recipe, str(path))
        trainee = made_trainee(recipe, source, str(path))
        optimiser = made_optimiser(trainee, recipe)
        seconds = []
        for step, batch in enumerate(batches(source, recipe.seed, recipe.optimiser.batch, STEPS + 1)):
            begun = time.process_time()
            update(trainee, optimiser, recipe, step, batch)
            seconds.append(time.process_time() - begun)
        middle = statistics.median(seconds[1:])
        size = sum(p.numel() for p in trainee.network.parameters())
        speed = recipe.optimiser.batch / middle
        print(f"  {recipe.name:<24} {size / 1e6:5.2f} M  {speed:7.1f} samples/s  {middle:.3f} s a step")


if __name__ == "__main__":
    main()
