"""METEOR 1.5 with a corpus value that can be summed.

The jar that pycocoevalcap brings aligns each prediction with its best reference and prints 23 counts. The corpus value
is METEOR's formula on the sums of these counts, as in pycocoevalcap; it is not the mean over images.

Statistics of one image: words of prediction and reference, function words of both; for each of four kinds of match
(exact, stem, synonym, paraphrase) the content words matched in prediction and reference and the function words matched
in both; chunks; matched words of prediction and reference; and 1. A perfect match counts no chunk, because METEOR gives
it no fragmentation penalty, alone or within a sum.
Source: Denkowski and Lavie 2014, parameters of the task "rank" for English; a test compares with the jar's own EVAL.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MetricError
from harness.metrics.base import ScoringContext
from harness.metrics.caption_tokens import CaptionMetric, CaptionTokens
from harness.metrics.java import package_file, run_java
from harness.metrics.paraphrases import write_usable
from harness.records import MetricInfo

if TYPE_CHECKING:
    import numpy as np

JAR = "meteor/meteor-1.5.jar"
PARAPHRASES = "meteor/data/paraphrase-en.gz"
CAPTIONS_PER_WORKER = 1000
"""Captions that are worth a further run of the jar beside the first."""
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
WEIGHTS = (1.0, 0.6, 0.8, 0.6)
"""Of exact, stem, synonym and paraphrase matches."""
_COUNTS = 23
_CHUNKS = 20


def score_line(prediction: str, references: Sequence[str]) -> str:
    """The line that asks the jar for the statistics of one tokenised prediction."""
    fields = (" ".join(text.replace("|||", "").split()) for text in (*references, prediction))
    return " ||| ".join(("SCORE", *fields))


def meteor_statistics(pairs: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[float, ...]]:
    """The 24 statistics of each (prediction, references), from runs of the jar side by side.

    Raises:
        MetricUnavailable: no Java or no jar.
        MetricError: the jar fails or prints something else.
    """
    if not pairs:
        return []
    lines = [score_line(prediction, references) + "\n" for prediction, references in pairs]
    workers = min(os.cpu_count() or 1, -(-len(lines) // CAPTIONS_PER_WORKER))
    size = -(-len(lines) // workers)
    shards = [lines[start : start + size] for start in range(0, len(lines), size)]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "paraphrases.gz"
        write_usable(package_file(PARAPHRASES), lines, table)
        with ThreadPoolExecutor(len(shards)) as pool:
            printed = list(pool.map(lambda shard: _run(shard, table), shards))
    return [_parse(line) for shard in printed for line in shard]


def _run(lines: Sequence[str], paraphrases: Path) -> list[str]:
    """What one run of the jar prints for these lines."""
    # Without the second compiler and with the plain collector the program has ended before they would have paid.
    arguments = ["-Xmx2G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(package_file(JAR)), "-", "-"]
    arguments += ["-stdio", "-l", "en", "-norm", "-a", str(paraphrases)]
    printed = run_java(arguments, "".join(lines), timeout_s=180 + len(lines) / 5).splitlines()
    if len(printed) != len(lines):
        raise MetricError(f"METEOR printed {len(printed)} lines for {len(lines)} captions; its output is not usable")
    return printed


def _parse(line: str) -> tuple[float, ...]:
    try:
        counts = [float(field) for field in line.split()]
    except ValueError as error:
        raise MetricError(f"METEOR printed {line[:200]!r} where {_COUNTS} numbers should be") from error
    if len(counts) != _COUNTS:
        raise MetricError(f"METEOR printed {len(counts)} numbers where {_COUNTS} should be")
    matched, matched_reference = _all_matches(counts)
    if counts[_CHUNKS] == 1 and matched == counts[0] and matched_reference == counts[1]:
        counts[_CHUNKS] = 0.0
    return (*counts, 1.0)


def _all_matches(counts: Sequence[float]) -> tuple[float, float]:
    """Words of the prediction and of the reference in any match; stages are (content, content, function, function)."""
    return sum(counts[4:20:4]) + sum(counts[6:20:4]), sum(counts[5:20:4]) + sum(counts[7:20:4])


def meteor_from_statistics(totals: np.ndarray) -> np.ndarray:
    """METEOR of summed statistics: (..., 24) → (...); 0 where nothing matches, NaN where nothing was summed."""
    import numpy as np

    stages = totals[..., 4:20].reshape(*totals.shape[:-1], 4, 4)  # (..., kind of match, who and which words)
    weights = np.array(WEIGHTS)
    matches = DELTA * (stages[..., 0:2] * weights[:, None]).sum(-2)
    matches = matches + (1 - DELTA) * (stages[..., 2:4] * weights[:, None]).sum(-2)  # (..., prediction and reference)
    words, function = totals[..., 0:2], totals[..., 2:4]
    lengths = DELTA * (words - function) + (1 - DELTA) * function
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.moveaxis(matches / lengths, -1, 0)
        mean = 1.0 / ((1 - ALPHA) / precision + ALPHA / recall)
        fragmentation = totals[..., 20] / ((totals[..., 21] + totals[..., 22]) / 2)
        score = mean * (1 - GAMMA * fragmentation**BETA)
    score = np.where(np.isnan(score), 0.0, np.maximum(score, 0.0))
    return np.where(totals[..., 23] > 0, score, np.nan)


class Meteor(CaptionMetric):
    """Corpus METEOR; the value of one image is METEOR's own segment score."""

    info = MetricInfo(
        name="meteor",
        variant="",
        signature="meteor|1.5|en|norm|tok=ptb-3.4.1|v1",
        source="Denkowski and Lavie 2014; pycocoevalcap 1.2",
    )

    def statistics(
        self, scored: Sequence[CaptionTokens], everything: Sequence[CaptionTokens], context: ScoringContext
    ) -> list[tuple[float, ...]]:
        """The jar's counts per image; an empty prediction adds its reference's words, and so lowers the recall."""
        return meteor_statistics([(t.prediction or "", t.references) for t in scored])

    def aggregate(self, totals: np.ndarray) -> np.ndarray:
        """METEOR of summed counts: (..., 24) → (...)."""
        return meteor_from_statistics(totals)
