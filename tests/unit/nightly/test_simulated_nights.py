"""The gate's decision functions on simulated nights: false alarms at no more than the declared rate, and power.

Every question has a state of its own; between any two nights 10 % of the answers differ at random: on a fifth of the
questions each night's answer is a coin toss (0.2 × 2 × ½ × ½ = 10 %), on the others it never changes.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.nightly.judge import Levels
from harness.stats.change import discordance_p, window_tests

MODELS, TASKS, NIGHTS, QUESTIONS = 8, 6, 365, 2000
LEVELS = Levels(0.05, MODELS * TASKS)
UNSTABLE = 0.2
SEED = 20_240_611


def simulated(rng: np.random.Generator, nights: int, questions: int, moved: np.ndarray | None = None) -> np.ndarray:
    """(nights, questions) of right and wrong; `moved[t]` is the drop of the true rate on night t."""
    stable = (rng.random(questions) < 0.6).astype(np.int8)
    tossed = rng.random(questions) < UNSTABLE
    coins = rng.integers(0, 2, size=(nights, questions), dtype=np.int8)
    answers = np.where(tossed, coins, stable)
    if moved is not None:
        # a right answer is lost with the probability that lowers the rate by `moved`; half the answers are right
        lost = rng.random(questions) < moved[:, None] / answers.mean(axis=1, keepdims=True)
        answers = np.where(lost, 0, answers)
    return np.asarray(answers, dtype=np.int8)


def baseline_p(answers: np.ndarray) -> np.ndarray:
    """p of each later night against the first."""
    first, later = answers[0], answers[1:]
    return discordance_p((first > later).sum(axis=1), (first < later).sum(axis=1))


def year(rng: np.random.Generator, questions: int) -> tuple[float, float, float]:
    """Share of nights with an alarm among 48 cells: by the baseline, by the history, by either."""
    by_baseline = np.zeros(NIGHTS - 1, dtype=bool)
    by_history = np.zeros(NIGHTS - 1, dtype=bool)
    for _ in range(LEVELS.cells):
        answers = simulated(rng, NIGHTS, questions)
        by_baseline |= LEVELS.alarms(baseline_p(answers))
        by_history |= LEVELS.alarms(window_tests(answers).corrected())
    return float(by_baseline.mean()), float(by_history.mean()), float((by_baseline | by_history).mean())


def test_years_without_change_alarm_at_no_more_than_the_declared_rate() -> None:
    # eight years of small tasks and one of full size; their mean has a standard error near 0.8 % of nights, because the
    # luck of one baseline lasts a year
    rng = np.random.default_rng(SEED)
    shares = np.array([year(rng, 400) for _ in range(8)] + [year(rng, QUESTIONS)])
    paired, history, either = shares.mean(axis=0)
    assert paired <= LEVELS.rate / 2 + 0.01
    assert history <= LEVELS.rate / 2 + 0.01
    assert 0.005 <= either <= LEVELS.rate  # and the rate is used, not wasted


@pytest.mark.parametrize(("drop", "wanted"), [(0.03, 0.75), (0.04, 0.95)])
def test_a_drop_is_found_the_same_night_by_the_baseline_alone(drop: float, wanted: float) -> None:
    # 10 % of the answers differ, `drop` more lost than won; the normal approximation gives 0.78 and 0.98
    rng = np.random.default_rng(SEED)
    counts = rng.multinomial(QUESTIONS, [(0.1 + drop) / 2, (0.1 - drop) / 2, 0.9], size=20_000)
    assert LEVELS.alarms(discordance_p(counts[:, 0], counts[:, 1])).mean() >= wanted


def alarms_of(answers: np.ndarray) -> np.ndarray:
    """Whether each night from the second on alarms, by either test."""
    return np.asarray(LEVELS.alarms(baseline_p(answers)) | LEVELS.alarms(window_tests(answers).corrected()))


@pytest.mark.parametrize(("drop", "wanted"), [(0.03, 0.75), (0.04, 0.95)])
def test_a_drop_on_top_of_the_flips_is_found_the_same_night_with_two_weeks_of_history(
    drop: float, wanted: float
) -> None:
    rng = np.random.default_rng(SEED)
    moved = np.zeros(15)
    moved[-1] = drop
    found = [alarms_of(simulated(rng, 15, QUESTIONS, moved))[-1] for _ in range(300)]
    assert np.mean(found) >= wanted


@pytest.mark.parametrize("quiet", [1, 30])
def test_a_slide_of_0_3_points_a_night_is_found_within_14_nights(quiet: int) -> None:
    rng = np.random.default_rng(SEED)
    moved = np.concatenate([np.zeros(quiet), 0.003 * np.arange(1, 15)])
    found = [alarms_of(simulated(rng, len(moved), QUESTIONS, moved))[-14:].any() for _ in range(200)]
    assert np.mean(found) >= 0.95


def test_simulated_nights_flip_as_declared() -> None:
    answers = simulated(np.random.default_rng(SEED), 20, 50_000)
    assert np.abs(np.diff(answers.astype(int), axis=0)).mean() == pytest.approx(0.1, abs=0.002)
    moved = simulated(np.random.default_rng(SEED), 2, 200_000, np.array([0.0, 0.03]))
    assert moved[0].mean() - moved[1].mean() == pytest.approx(0.03, abs=0.005)
