"""`harness train`: a recipe → a checkpoint with its model card; and which recipes there are."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.completion import recipes_named

if TYPE_CHECKING:
    from harness.training.state import Point

_LINE_EVERY_S = 10.0


def train_command(
    recipe: Annotated[
        str,
        typer.Argument(help="YAML file of a recipe, or the name of a bundled one.", autocompletion=recipes_named),
    ],
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, card and state.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training that was begun in --out.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Another number of steps than the recipe's.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the tensor library.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network from a recipe; killed at any moment, it goes on with --resume and ends with the same weights."""
    from harness.cli.output import print_json, printable
    from harness.training.recipe import changed, find_recipe, read_recipe

    path = find_recipe(recipe)
    chosen = changed(read_recipe(path), seed=seed, steps=steps)

    import torch

    from harness.training.train import train

    torch.set_num_threads(threads)
    done = train(chosen, out, resume=resume, where=str(path), progress=Lines(), device=device)
    best = done.curve[-1] if not done.curve else max(done.curve, key=lambda p: (p.exact, -p.held_out_loss))
    if as_json:
        print_json({"card": str(done.card), "checkpoint": str(done.checkpoint), "kept": best, "curve": done.curve})
    else:
        early = " (stopped early)" if done.stopped_early else ""
        print(printable(f"card: {done.card}{early}"))
        print(printable(f"try it: harness run --suite mini --models {done.card}"))


class Lines:
    """Progress as lines on the error stream: step, loss, held-out score, time left."""

    def __init__(self) -> None:
        self._steps = self._first = 0
        self._begun = self._shown = time.monotonic()

    def begin(self, name: str, steps: int, done: int) -> None:
        """Where the training stands."""
        self._steps, self._first = steps, done
        self._begun = self._shown = time.monotonic()
        _say(f"{name}: {steps} steps" + (f", going on after {done}" if done else ""))

    def step(self, done: int, loss: float) -> None:
        """A line every ten seconds."""
        now = time.monotonic()
        if now - self._shown < _LINE_EVERY_S:
            return
        self._shown = now
        left = (now - self._begun) / (done - self._first) * (self._steps - done)
        _say(f"step {done}/{self._steps}  loss {loss:.4f}  about {_span(left)} left")

    def validated(self, point: Point) -> None:
        """The held-out score, by kind of example."""
        kinds = ", ".join(f"{kind} {right}/{asked}" for kind, (right, asked) in point.by_kind.items())
        _say(
            f"step {point.step}/{self._steps}  held out: {100 * point.exact:.1f} % of {point.n} exact, "
            f"loss {point.held_out_loss:.4f}  ({kinds})"
        )

    def end(self, card: Path) -> None:
        """Nothing; the command prints the card."""


def _say(text: str) -> None:
    from harness.cli.output import printable

    print(printable(text), file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
