"""SPICE, where its parser is installed.

pycocoevalcap brings SPICE without the Stanford CoreNLP 3.6.0 jars (0.4 GB) that it parses with, and downloads them when
asked for SPICE. Nothing is downloaded here: without the jars SPICE is "not computed".
Source: Anderson et al. 2016; pycocoevalcap 1.2 `spice.py`: the mean over images of the F-score of all tuples.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import MetricError, MetricUnavailable
from harness.metrics.base import MeanMetric, ScoringContext
from harness.metrics.caption_tokens import CaptionMetric, CaptionTokens
from harness.metrics.java import find_java, package_file, run_java
from harness.records import MetricInfo

JAR = "spice/spice-1.0.jar"
PARSER_JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def _spice_jar() -> Path:
    """The jar, with the parser beside it.

    Raises:
        MetricUnavailable: a file is missing; says which and where it goes.
    """
    find_java()
    jar = package_file(JAR)
    missing = [name for name in PARSER_JARS if not (jar.parent / "lib" / name).is_file()]
    if missing:
        raise MetricUnavailable(
            f"SPICE needs {' and '.join(missing)}; put them (from Stanford CoreNLP 3.6.0) into "
            "pycocoevalcap's folder spice/lib"
        )
    return jar


def spice_scores(pairs: Sequence[tuple[str, Sequence[str]]]) -> list[float]:
    """The F-score of each (prediction, references), in [0, 1]; a prediction without tuples has 0.

    Raises:
        MetricUnavailable: Java or a jar is missing.
        MetricError: the program fails or its output does not fit.
    """
    jar = _spice_jar()
    if not pairs:
        return []
    with tempfile.TemporaryDirectory() as folder:
        given, written = Path(folder) / "captions.json", Path(folder) / "scores.json"
        items = [{"image_id": i, "test": p, "refs": list(r)} for i, (p, r) in enumerate(pairs)]
        given.write_text(json.dumps(items), encoding="utf-8")
        arguments = ["-Xmx8G", "-jar", str(jar), str(given), "-out", str(written), "-subset", "-silent"]
        run_java(arguments, "", timeout_s=600 + 2 * len(pairs), cwd=jar.parent)
        try:
            results: list[dict[str, Any]] = json.loads(written.read_text(encoding="utf-8"))
            found = {int(item["image_id"]): item["scores"]["All"]["f"] for item in results}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MetricError(f"SPICE wrote no usable scores ({type(error).__name__}: {error})") from error
    if sorted(found) != list(range(len(pairs))):
        raise MetricError(f"SPICE scored {len(found)} of {len(pairs)} captions; its output is not usable")
    return [float(found[i] or 0.0) for i in range(len(pairs))]


class Spice(MeanMetric, CaptionMetric):
    """Mean SPICE over images."""

    info = MetricInfo(
        name="spice",
        variant="",
        signature="spice|1.0|corenlp-3.6.0|tok=ptb-3.4.1|v1",
        source="Anderson et al. 2016; pycocoevalcap 1.2",
    )

    def statistics(
        self, scored: Sequence[CaptionTokens], everything: Sequence[CaptionTokens], context: ScoringContext
    ) -> list[tuple[float, ...]]:
        """(value, 1) per image; an empty prediction has no tuples and is 0."""
        values = spice_scores([(t.prediction or "", t.references) for t in scored])
        return [(value, 1.0) for value in values]
