"""Prints how fast the mini benchmark generator draws: CPU milliseconds per item on one thread, and items per second."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from harness.mini import charts, formulas, questions, scenes, science, statements
from harness.mini.streams import stream

DRAWS: dict[str, Callable[[np.random.Generator], object]] = {
    "scene": scenes.draw,
    "chart": charts.draw,
    "formula": lambda rng: formulas.draw(rng, "train"),
    "choice question": questions.draw,
    "statement on two scenes": statements.draw,
    "school question with picture": lambda rng: science.draw(rng, with_image=True),
    "school question, text only": lambda rng: science.draw(rng, with_image=False),
}


def main(n: int = 4000) -> None:
    print(f"{'item':<30} {'ms':>8} {'per second':>12}")
    for name, draw in DRAWS.items():
        rng = stream(0, name, "train")
        for _ in range(n // 2):  # fills the caches of masks
            draw(rng)
        start = time.process_time()
        for _ in range(n):
            draw(rng)
        took = (time.process_time() - start) / n
        print(f"{name:<30} {took * 1e3:8.3f} {1 / took:12.0f}")


if __name__ == "__main__":
    main()
