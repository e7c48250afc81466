"""METEOR: agreement of the summed statistics with the jar's own EVAL, for single captions and for the corpus."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest

from harness.errors import MetricError
from harness.metrics import meteor
from harness.metrics.java import find_java, package_file
from harness.metrics.meteor import meteor_from_statistics, meteor_statistics, score_line

PAIRS = [
    ("a dog runs on the grass", ["a dog runs on the grass"]),
    ("a dog is running on grass", ["the dog runs in a field", "a brown dog ran over the grass"]),
    ("a vehicle in the road", ["a red car on a street", "a car is parked by the road"]),
    ("", ["two people eat pizza at a table", "people eating pizza"]),
    ("violin", ["a man plays guitar"]),
    ("young men play a lot of instruments", ["boys playing many instruments", "some guys are making music"]),
    ("dog", ["dog"]),
    ("on grass the a runs dog", ["a dog runs on the grass"]),
    ("it 's a bird in front of a 10 % sign , isn't it", ["a bird before a ten percent sign"]),
    ("the café 's owner looks at e-mail", ["the owner of the café is watching electronic mail"]),
]


def jar_scores() -> tuple[list[str], list[float]]:
    """The jar's statistics of `PAIRS`, and what its own EVAL makes of them: segment scores, then the final score."""
    command = [
        str(find_java()),
        "-Xmx2G",
        "-jar",
        str(package_file(meteor.JAR)),
        "-",
        "-",
        "-stdio",
        "-l",
        "en",
        "-norm",
    ]
    lines = [score_line(prediction, references) for prediction, references in PAIRS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as jar:
        assert jar.stdin is not None
        assert jar.stdout is not None
        jar.stdin.write("\n".join(lines) + "\n")
        jar.stdin.flush()
        statistics = [jar.stdout.readline().strip() for _ in lines]
        values = jar.communicate(" ||| ".join(["EVAL", *statistics]) + "\n", timeout=60)[0]
    return statistics, [float(value) for value in values.split()]


@pytest.mark.usefixtures("caption_tools")
@pytest.mark.parametrize("workers", [1, 3])
def test_statistics_are_those_with_the_whole_paraphrase_table(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meteor, "CAPTIONS_PER_WORKER", -(-len(PAIRS) // workers))
    monkeypatch.setattr(os, "cpu_count", lambda: workers)
    expected = [meteor._parse(line) for line in jar_scores()[0]]
    assert meteor_statistics(PAIRS) == expected
    assert sum(row[7] + row[9] for row in expected) > 0, "some match is a paraphrase or a synonym"


@pytest.mark.usefixtures("caption_tools")
def test_formula_on_summed_statistics_is_the_jars_final_score() -> None:
    printed, (*segments, final) = jar_scores()
    statistics = np.array([meteor._parse(line) for line in printed])
    assert meteor_from_statistics(statistics) == pytest.approx(segments, abs=1e-12)
    assert float(meteor_from_statistics(statistics.sum(0))) == pytest.approx(final, abs=1e-12)
    assert final != pytest.approx(np.mean(segments), abs=0.01), "the corpus value is not the mean of segments"


def _row(words: int, matched: int, chunks: int) -> np.ndarray:
    """Statistics of a prediction with content words alone, `matched` of them exact, against one of equal length."""
    return np.array([words, words, 0, 0, matched, matched, *[0] * 14, chunks, matched, matched, 1], dtype=float)


def test_formula_of_a_worked_example() -> None:
    # precision = recall = 1/2 so their weighted mean is 1/2; two chunks of four words cost 0.6 (2/4)^0.2
    assert float(meteor_from_statistics(_row(8, 4, 2))) == pytest.approx(0.5 * (1 - 0.6 * 0.5**0.2))


def test_no_match_is_0_and_no_sum_is_not_a_number() -> None:
    assert float(meteor_from_statistics(_row(5, 0, 0))) == 0
    assert np.isnan(meteor_from_statistics(np.zeros(24)))


def test_perfect_segments_add_no_chunk() -> None:
    line = "2.0 2.0 0.0 0.0 2.0 2.0" + " 0.0" * 14 + " 1.0 2.0 2.0"
    perfect = np.array(meteor._parse(line))
    assert float(meteor_from_statistics(perfect)) == 1
    assert float(meteor_from_statistics(5 * perfect)) == 1


def test_separator_and_line_breaks_in_a_caption_cannot_split_it() -> None:
    assert score_line("a ||| b\nc", ["x  y", "z"]) == "SCORE ||| x y ||| z ||| a b c"


@pytest.mark.parametrize(
    ("printed", "message"),
    [("1.0 2.0\n", "printed 2 numbers"), ("Error: no memory\n", "printed 'Error: no memory'"), ("", "printed 0 lines")],
)
def test_output_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, printed: str, message: str) -> None:
    monkeypatch.setattr(meteor, "run_java", lambda *a, **k: printed)
    monkeypatch.setattr(meteor, "package_file", lambda name: name)
    monkeypatch.setattr(meteor, "write_usable", lambda *a: 0)
    with pytest.raises(MetricError, match=message):
        meteor_statistics([("a", ["b"])])
