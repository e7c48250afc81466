"""All caption metrics beside pycocoevalcap's own sequence: seconds, ratios, and that the values are the same.

    python benchmarks/caption_metrics.py [--captions captions_val2017.json] [--images 5000] [--turns 3]

BLEU-1 to 4, METEOR, ROUGE-L and CIDEr; SPICE is left out of both, because its parser is not part of the package.
Without `--captions` (a file in COCO's form) sentences are made from a small grammar. An image's prediction is its own
first caption, its five references are its other four and one of the next image. Wall and CPU seconds (with those of the
Java programs) in alternating order, each row in a process of its own; loading the captions is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from figures import Figure, add_option, write

Pairs = list[tuple[str, list[str]]]
"""Prediction and references of each image."""
NAMES = ("bleu-1", "bleu-2", "bleu-3", "bleu-4", "meteor", "rouge-l", "cider")


def made_up(images: int) -> list[list[str]]:
    """Five captions of each image, from a grammar of a few hundred words."""
    rng = np.random.default_rng(0)
    words = [
        f"{a}{b}{c}" for a in ("ba", "do", "ki", "lu", "me") for b in ("ra", "to", "ni", "su") for c in ("", "n", "r")
    ]
    verbs = [f"{word}s" for word in words[::2]]

    def sentence(subject: str) -> str:
        place, verb, thing = rng.choice(words), rng.choice(verbs), rng.choice(words)
        tail = f" near the {rng.choice(words)}" if rng.random() < 0.5 else ""
        return f"A {subject} {verb} the {thing} on a {place}{tail}."

    return [[sentence(str(rng.choice(words))) for _ in range(5)] for _ in range(images)]


def read_captions(path: Path, images: int) -> list[list[str]]:
    """Five captions of each of the first images of a file in COCO's form; images with fewer are left out."""
    held: dict[int, list[str]] = {}
    for item in json.loads(path.read_text())["annotations"]:
        held.setdefault(item["image_id"], []).append(item["caption"])
    return [captions[:5] for captions in held.values() if len(captions) >= 5][:images]


def pairs_of(captions: Sequence[Sequence[str]]) -> Pairs:
    """Each image's first caption with its others and one of the next image."""
    following = [*captions[1:], captions[0]]
    return [(own[0], [*own[1:], other[1]]) for own, other in zip(captions, following, strict=True)]


def theirs(pairs: Pairs) -> dict[str, float]:
    """pycocoevalcap's sequence: tokenise, then one scorer after the other, as its `eval.py`."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokeniser = PTBTokenizer()
    with contextlib.redirect_stdout(io.StringIO()):
        references = tokeniser.tokenize({n: [{"caption": c} for c in refs] for n, (_, refs) in enumerate(pairs)})
        predictions = tokeniser.tokenize({n: [{"caption": text}] for n, (text, _) in enumerate(pairs)})
        bleu, _ = Bleu(4).compute_score(references, predictions)
        meteor, _ = Meteor().compute_score(references, predictions)
        rouge, _ = Rouge().compute_score(references, predictions)
        cider, _ = Cider().compute_score(references, predictions)
    return dict(zip(NAMES, (*bleu, meteor, rouge, cider), strict=True))


def ours(pairs: Pairs) -> dict[str, float]:
    """The harness: the same metrics, with each image's statistics."""
    from harness.engine.plan import load_metric
    from harness.metrics.base import ScoringContext
    from harness.records import Case, Sample

    cases = [Case(Sample(str(n), references=tuple(refs)), text) for n, (text, refs) in enumerate(pairs)]
    context, found = ScoringContext(), {}
    for name in NAMES:
        metric = load_metric(name)
        scores = metric.score(cases, context)
        found[name] = float(metric.aggregate(np.array([score.statistics for score in scores]).sum(axis=0)))
    return found


def timed(work: Callable[[Pairs], dict[str, float]], pairs: Pairs) -> tuple[dict[str, float], float, float]:
    """Values, wall seconds and CPU seconds with those of child processes."""
    start, before = time.perf_counter(), _cpu_s()
    values = work(pairs)
    return values, time.perf_counter() - start, _cpu_s() - before


def _cpu_s() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--turns", type=int, default=3)
    add_option(parser)
    arguments = parser.parse_args()
    captions = read_captions(arguments.captions, arguments.images) if arguments.captions else made_up(arguments.images)
    pairs = pairs_of(captions)
    rows = {"pycocoevalcap": theirs, "harness": ours}
    seconds: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
    values: dict[str, dict[str, float]] = {}
    fresh = multiprocessing.get_context("spawn")
    for _ in range(arguments.turns):
        for row, work in rows.items():
            with fresh.Pool(1) as pool:
                values[row], wall_s, cpu_s = pool.apply(timed, (work, pairs))
            seconds[row].append((wall_s, cpu_s))
    source = arguments.captions.name if arguments.captions else "made-up captions"
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; {len(pairs):,} images of")
    print(f"{source} with 5 references, {arguments.turns} turns, medians")
    middle = {row: [statistics.median(column) for column in zip(*times, strict=True)] for row, times in seconds.items()}
    for row, (wall_s, cpu_s) in middle.items():
        one, two = middle["pycocoevalcap"]
        print(f"{row:14} wall {wall_s:6.1f} s {wall_s / one:5.2f} x   CPU {cpu_s:6.1f} s {cpu_s / two:5.2f} x")
    worst = max(abs(values["harness"][name] - values["pycocoevalcap"][name]) for name in NAMES)
    print(f"largest difference of a value: {worst:.1e}")
    (one, two), (wall_s, cpu_s) = middle["pycocoevalcap"], middle["harness"]
    write(
        arguments.json,
        [
            Figure("caption metrics beside pycocoevalcap, wall clock", wall_s / one, at_most=0.6),
            Figure("caption metrics beside pycocoevalcap, CPU", cpu_s / two, at_most=0.6),
            Figure("largest difference of a value", worst, "", at_most=1e-9),
        ],
    )
    if worst > 1e-9:
        raise SystemExit(f"values differ: {values}")


if __name__ == "__main__":
    main()
