"""From sealed runs and cards to numbers: intervals over pictures and seeds, paired tests, drops, learning curves.

Scores of one arm on one task are an array (seeds, samples): the same samples in the same order for every arm. A mean
has two sources of chance, the pictures it was tested on and the seed it was trained with, and its interval carries
both: `Estimate.method` says how. Tests exchange the arms' scores picture by picture, on means over the seeds: they ask
whether *these* networks differ on new pictures. A difference counts as supported where the corrected test and the
interval, which also speaks of new seeds, both say so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from arms import FRONT_ENDS, TASKS
from testing import card_of, questions, sealed

from harness.errors import CardError
from harness.mini import scenes
from harness.stats.intervals import wilson
from harness.stats.multiplicity import holm
from harness.stats.paired import paired_differences
from harness.store.runs import Run
from harness.yaml_files import read_yaml

if TYPE_CHECKING:
    from run import Training

CLEAN, SHUFFLED = "clean", "shuffled"
BASELINES = ("patches", "patches-zca")
CONDITIONS = ("jpeg-3", "blur-3", "noise-3", "downscale-3")
CAPTION_METRIC = "cider"
"""Finer than exact captions where nearly none is exact."""
_PERMUTATIONS = 10_000
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95 % interval."""

    value: float
    low: float | None
    high: float | None
    n_samples: int
    n_seeds: int
    method: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One arm minus another, on the same pictures and the seeds that both have."""

    task: str
    arm: str
    against: str
    metric: str
    estimate: Estimate
    p_value: float
    p_holm: float
    """Corrected over all differences of its table."""

    @property
    def supported(self) -> bool:
        """Whether the corrected test and the interval over pictures and seeds both say that the arms differ."""
        low, high = self.estimate.low, self.estimate.high
        return self.p_holm < _ALPHA and low is not None and high is not None and (low > 0 or high < 0)

    @property
    def tested_only(self) -> bool:
        """Whether these networks differ, while seeds vary too much to say it of the designs."""
        return self.p_holm < _ALPHA and not self.supported


@dataclass(frozen=True, slots=True)
class Row:
    """One arm on one task."""

    task: str
    arm: str
    seeds: tuple[int, ...]
    parameters: int
    multiply_adds_per_sample: int
    cpu_s: float
    """Mean over the seeds."""
    cpu_s_range: tuple[float, float]
    score: Estimate
    by_seed: tuple[float, ...]
    blind: Estimate | None
    """With the pictures of other samples; `None` for a network without eyes."""


@dataclass(frozen=True, slots=True)
class Drop:
    """What an arm loses on pictures made worse: worse minus clean on the same pictures, one seed."""

    task: str
    arm: str
    condition: str
    clean: float
    worse: float
    difference: Difference


@dataclass(frozen=True, slots=True)
class Frozen:
    """A front end in front of a decoder that learned blind and was never trained again, or a row to set beside it."""

    arm: str
    exact: Estimate
    caption: Estimate
    """CIDEr."""
    shuffled_caption: Estimate | None
    """The same with exchanged pictures."""
    fluent: float
    """Share of answers that are a sentence of the captions' form, true or not."""
    different: float
    """Different answers for each picture, 1 where no two are the same; mean over the seeds."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What it takes until the mean curve reaches where patches end; `None`s where it never does."""

    task: str
    arm: str
    target: float
    samples: float | None
    cpu_s: float | None
    multiply_adds: float | None


@dataclass(frozen=True, slots=True)
class Missing:
    """A training that the tables lack, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that the report prints."""

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    frozen: tuple[Frozen, ...]
    frozen_differences: tuple[Difference, ...]
    drops: tuple[Drop, ...]
    reach: tuple[Reach, ...]
    missing: tuple[Missing, ...]

    def difference(self, task: str, arm: str, against: str) -> Difference | None:
        """The difference of the main table, where both arms have a seed in common."""
        return next((d for d in self.differences if (d.task, d.arm, d.against) == (task, arm, against)), None)

    def row(self, task: str, arm: str) -> Row | None:
        """The arm's row."""
        return next((r for r in self.rows if (r.task, r.arm) == (task, arm)), None)


@dataclass(frozen=True, slots=True)
class Frames:
    """What was measured, one table each."""

    trainings: pd.DataFrame
    """task, arm, seed, parameters, multiply_adds_per_sample, cpu_s, steps, samples."""
    curves: pd.DataFrame
    """task, arm, seed, step, samples, cpu_s, multiply_adds, exact."""
    scores: pd.DataFrame
    """task, arm, seed, condition, metric, sample, value."""
    answers: pd.DataFrame
    """task, arm, seed, sample, text: clean pictures alone."""
    missing: tuple[Missing, ...]


def label(training: Training) -> str:
    """Name of the arm in tables."""
    return f"{training.arm}-frozen" if training.frozen else training.arm


def read_frames(trainings: Sequence[Training], out: Path) -> Frames:
    """Cards and sealed runs of the experiment's folder."""
    made: dict[str, list[Any]] = {"trainings": [], "curves": [], "scores": [], "answers": []}
    missing: list[Missing] = []
    for training in trainings:
        path = card_of(training, out)
        name = training.folder(out).name
        if path is None:
            missing.append(Missing(name, "not trained yet"))
            continue
        runs = [sealed(suite, card, out) for suite, card in questions(training, out)]
        who = {"task": training.task, "arm": label(training), "seed": training.seed}
        fault = next((f for f in map(_fault, runs) if f), "")
        if fault:
            missing.append(Missing(name, fault))
            continue
        trained = read_yaml(path, CardError).data["trained"]
        made["trainings"].append({**who, **{k: v for k, v in trained.items() if isinstance(v, int | float)}})
        made["curves"] += [_point(point, trained, who) for point in trained["curve"]]
        for run, shuffled in zip(runs, (False, True), strict=False):
            assert run is not None
            made["scores"].append(_scores(run, who, shuffled=shuffled))
        assert runs[0] is not None
        asked = runs[0].samples()
        asked = asked[asked["task"] == training.task][["sample_id", "text"]]
        made["answers"].append(asked.rename(columns={"sample_id": "sample"}).assign(**who))
    columns = {
        "scores": ["task", "arm", "seed", "condition", "metric", "sample", "value"],
        "answers": ["task", "arm", "seed", "sample", "text"],
    }
    tables = {
        name: pd.concat(made[name], ignore_index=True) if made[name] else pd.DataFrame(columns=wanted)
        for name, wanted in columns.items()
    }
    names = ["task", "arm", "seed"]
    return Frames(
        pd.DataFrame(made["trainings"]) if made["trainings"] else pd.DataFrame(columns=names),
        pd.DataFrame(made["curves"]) if made["curves"] else pd.DataFrame(columns=names),
        tables["scores"],
        tables["answers"],
        tuple(missing),
    )


def _fault(run: Run | None) -> str:
    """Why a run cannot be used."""
    if run is None:
        return "trained, not tested yet"
    lost = sum(task.n_samples - task.n_answered for task in run.record.tasks)
    return f"tested, but {lost} pictures have no answer" if lost else ""


def _point(point: Mapping[str, float], trained: Mapping[str, Any], who: Mapping[str, Any]) -> dict[str, Any]:
    samples = point["step"] * trained["samples"] / trained["steps"]
    cost = samples * trained["multiply_adds_per_sample"]
    return {**who, **point, "samples": samples, "multiply_adds": cost}


def _scores(run: Run, who: Mapping[str, Any], *, shuffled: bool) -> pd.DataFrame:
    """The per-sample scores of a run, with the condition read from the task's name."""
    scores = run.scores()
    first = who["task"]
    names = {
        t.plan.name: t.plan.name.removeprefix(f"{first}-") if t.plan.variant_of else CLEAN for t in run.record.tasks
    }
    condition = SHUFFLED if shuffled else scores["task"].map(names)
    return pd.DataFrame(
        {
            **who,
            "condition": condition,
            "metric": scores["signature"].str.partition("|")[0].str.partition("@")[0],
            "sample": scores["sample_id"],
            "value": scores["value"],
        }
    )


def array(
    scores: pd.DataFrame, task: str, arm: str, condition: str = CLEAN, metric: str = ""
) -> tuple[tuple[int, ...], np.ndarray]:
    """Seeds and scores (seeds, samples), samples in the order of their ids.

    Raises:
        ValueError: the seeds were not tested on the same samples, or an answer has no score.
    """
    chosen = scores[
        (scores["task"] == task)
        & (scores["arm"] == arm)
        & (scores["condition"] == condition)
        & (scores["metric"] == (metric or TASKS[task].metric))
    ]
    wide = chosen.pivot(index="seed", columns="sample", values="value").sort_index().sort_index(axis=1)
    if wide.isna().to_numpy().any():
        raise ValueError(f"{task}, {arm}, {condition}: seeds differ in their samples, or an answer has no score")
    return tuple(int(s) for s in wide.index), wide.to_numpy(dtype=float)


def estimate(values: np.ndarray, *, rate: bool = True) -> Estimate:
    """Mean of scores (seeds, samples) with an interval for new pictures and new seeds.

    The variance is that of a two-way layout with both sides random (pictures, seeds, and their interaction with the
    noise), by the analysis of variance, never below what the pictures alone give; t with Satterthwaite's degrees of
    freedom, which are few where the seeds differ much. On simulated rates with 3 seeds and 400 pictures it covers 92
    to 97 % for seed deviations of 0 to 0.1, where a bootstrap of pictures and seeds falls to 81 % and pictures alone
    to 42 %. One seed has no variance between seeds: then the interval is over pictures alone, and says so. Scores that
    are all 0 or all 1 have Wilson's interval for the number of pictures; differences that are all equal have none.

    Args:
        values: (seeds, samples).
        rate: whether values lie in [0, 1], so that ends are cut there.
    """
    from scipy.stats import t

    n_seeds, n = values.shape
    mean = float(values.mean())
    if n < 2:
        return Estimate(mean, None, None, n, n_seeds, "none: one picture")
    if rate and (bool((values == 0).all()) or bool((values == 1).all())):
        low, high = wilson(n * mean, n)
        return Estimate(mean, low, high, n, n_seeds, "wilson|n=pictures|every score equal")
    if bool((values == values[0, 0]).all()):
        return Estimate(mean, None, None, n, n_seeds, "none: every value equal")
    pictures = n_seeds * float(values.mean(0).var(ddof=1))
    if n_seeds == 1:
        variance, freedom, method = pictures / n, float(n - 1), "t|pictures alone: one seed"
    else:
        seeds = n * float(values.mean(1).var(ddof=1))
        rest = values - values.mean(0, keepdims=True) - values.mean(1, keepdims=True) + mean
        noise = float((rest**2).sum()) / ((n - 1) * (n_seeds - 1))
        total = max(pictures + seeds - noise, pictures)
        parts = pictures**2 / (n - 1) + seeds**2 / (n_seeds - 1) + noise**2 / ((n - 1) * (n_seeds - 1))
        variance = total / (n * n_seeds)
        freedom = max(total**2 / parts if parts else 1.0, n_seeds - 1.0)
        method = "t|two-way random effects of pictures and seeds|satterthwaite"
    half = float(t.ppf(0.975, freedom)) * math.sqrt(variance)
    ends = (max(0.0, mean - half), min(1.0, mean + half)) if rate else (mean - half, mean + half)
    return Estimate(mean, *ends, n, n_seeds, method)


def difference(
    scores: pd.DataFrame, task: str, arm: str, against: str, *, metric: str = "",
    conditions: tuple[str, str] = (CLEAN, CLEAN),
) -> Difference | None:  # fmt: skip
    """`arm` minus `against`, not yet corrected; `None` where they have no seed in common.

    Args:
        scores: as in `Frames`.
        task: the task of both.
        arm: the first arm.
        against: the second.
        metric: the task's own where left out.
        conditions: how the first and the second were shown the pictures.

    Raises:
        ValueError: the two were not tested on the same number of samples.
    """
    first_seeds, first = array(scores, task, arm, conditions[0], metric)
    second_seeds, second = array(scores, task, against, conditions[1], metric)
    shared = [seed for seed in first_seeds if seed in second_seeds]
    if not shared:
        return None
    first = first[[first_seeds.index(seed) for seed in shared]]
    second = second[[second_seeds.index(seed) for seed in shared]]
    if first.shape != second.shape:
        raise ValueError(f"{task}: {arm} and {against} were tested on {first.shape[1]} and {second.shape[1]} samples")
    n = first.shape[1]
    per_sample = np.stack([first.mean(0), second.mean(0)])
    statistics = np.stack([per_sample, np.ones_like(per_sample)], axis=-1)
    p = 1.0
    if n >= 2:
        tested = paired_differences(
            statistics, [str(k) for k in range(n)], lambda totals: totals[..., 0] / totals[..., 1],
            resamples=200, permutations=_PERMUTATIONS,
        )  # fmt: skip
        p = float(tested.p_value[0])
    found = estimate(first - second, rate=False)
    if metric != CAPTION_METRIC and found.low is not None and found.high is not None:
        found = replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))
    return Difference(task, arm, against, metric or TASKS[task].metric, found, p, p)


def corrected(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """The differences with Holm's correction over all of them."""
    adjusted = holm([d.p_value for d in found])
    return tuple(replace(d, p_holm=float(p)) for d, p in zip(found, adjusted, strict=True))


def analyse(frames: Frames) -> Analysis:
    """All numbers of the report."""
    scores = frames.scores
    done = {task: set(scores.loc[scores["task"] == task, "arm"]) for task in TASKS}
    order = ["blind", *FRONT_ENDS]
    rows = [_row(frames, task, arm) for task in TASKS for arm in order if arm in done[task]]
    differences = [
        found
        for task in TASKS
        for arm in FRONT_ENDS
        for base in BASELINES
        if arm != base and {arm, base} <= done[task] and (arm, base) != ("patches", "patches-zca")
        and (found := difference(scores, task, arm, base)) is not None
    ]  # fmt: skip
    frozen, frozen_differences = _frozen(frames, done.get("scenes", set()))
    return Analysis(
        tuple(rows),
        corrected(differences),
        frozen,
        frozen_differences,
        _drops(scores, done),
        _reach(frames.curves),
        frames.missing,
    )


def _row(frames: Frames, task: str, arm: str) -> Row:
    seeds, values = array(frames.scores, task, arm)
    made = frames.trainings
    made = made[(made["task"] == task) & (made["arm"] == arm)]
    _, shuffled = array(frames.scores, task, arm, SHUFFLED)
    return Row(
        task=task,
        arm=arm,
        seeds=seeds,
        parameters=int(made["parameters"].iloc[0]),
        multiply_adds_per_sample=int(made["multiply_adds_per_sample"].iloc[0]),
        cpu_s=float(made["cpu_s"].mean()),
        cpu_s_range=(float(made["cpu_s"].min()), float(made["cpu_s"].max())),
        score=estimate(values),
        by_seed=tuple(float(v) for v in values.mean(1)),
        blind=estimate(shuffled) if shuffled.size else None,
    )


def _frozen(frames: Frames, done: set[str]) -> tuple[tuple[Frozen, ...], tuple[Difference, ...]]:
    """Front ends before a frozen blind decoder, the same ones trained whole, and the language model alone."""
    frozen = sorted(arm for arm in done if arm.endswith("-frozen"))
    if not frozen:
        return (), ()
    trained = [arm.removesuffix("-frozen") for arm in frozen]
    shown = [arm for arm in ("blind", *frozen, *trained) if arm in done]
    known = {caption_form(reference) for reference in _all_captions()}
    found: list[Frozen] = []
    for arm in shown:
        _, exact = array(frames.scores, "scenes", arm)
        _, caption = array(frames.scores, "scenes", arm, metric=CAPTION_METRIC)
        _, shuffled = array(frames.scores, "scenes", arm, SHUFFLED, CAPTION_METRIC)
        given = frames.answers[(frames.answers["task"] == "scenes") & (frames.answers["arm"] == arm)]
        found.append(
            Frozen(
                arm,
                estimate(exact),
                estimate(caption, rate=False),
                estimate(shuffled, rate=False) if shuffled.size else None,
                float(given["text"].map(lambda text: caption_form(text) in known).mean()),
                float(given.groupby("seed")["text"].agg(lambda texts: texts.nunique() / len(texts)).mean()),
            )
        )
    pairs = [(arm, arm, (CLEAN, SHUFFLED)) for arm in frozen]
    pairs += [
        (arm, arm.removesuffix("-frozen"), (CLEAN, CLEAN)) for arm in frozen if arm.removesuffix("-frozen") in done
    ]
    pairs += [(first, second, (CLEAN, CLEAN)) for first in frozen for second in frozen if first < second]
    tested = [
        difference(frames.scores, "scenes", first, second, metric=CAPTION_METRIC, conditions=conditions)
        for first, second, conditions in pairs
    ]
    return tuple(found), corrected([d for d in tested if d is not None])


def _all_captions() -> list[str]:
    """Captions of two thousand scenes, all five of each: enough for every form that captions have."""
    rng = np.random.default_rng(0)
    return [caption for _ in range(2000) for caption in scenes.draw(rng).captions]


def caption_form(text: str) -> str:
    """A caption with its colours, shapes, sizes, places and grounds masked: its grammar alone."""
    masked = re.sub(rf"\b({'|'.join(scenes.PLACES)})\b", "PLACE", text.strip().lower())
    for name, words in (
        ("GROUND", scenes.GROUNDS),
        ("COLOUR", scenes.COLOURS),
        ("SHAPE", scenes.SHAPES),
        ("SIZE", scenes.RADII),
    ):
        masked = re.sub(rf"\b({'|'.join(words)})\b", name, masked)
    return re.sub(r"\ban (?=COLOUR)", "a ", masked)


def _drops(scores: pd.DataFrame, done: Mapping[str, set[str]]) -> tuple[Drop, ...]:
    found: list[tuple[str, str, str, float, float, Difference]] = []
    for task in TASKS:
        for arm in FRONT_ENDS:
            for condition in CONDITIONS:
                seeds, worse = array(scores, task, arm, condition) if arm in done[task] else ((), np.empty((0, 0)))
                if not seeds:
                    continue
                changed = difference(scores, task, arm, arm, conditions=(condition, CLEAN))
                assert changed is not None
                all_seeds, clean = array(scores, task, arm)
                clean = clean[[all_seeds.index(seed) for seed in seeds]]
                found.append((task, arm, condition, float(clean.mean()), float(worse.mean()), changed))
    adjusted = corrected([row[-1] for row in found])
    return tuple(Drop(*row[:-1], changed) for row, changed in zip(found, adjusted, strict=True))


def mean_curve(curves: pd.DataFrame, task: str, arm: str) -> pd.DataFrame:
    """The curve of an arm averaged over its seeds, step by step, over the steps that all seeds have."""
    own = curves[(curves["task"] == task) & (curves["arm"] == arm)]
    n_seeds = own["seed"].nunique()
    counted = own.groupby("step").size()
    whole = own[own["step"].isin(counted[counted == n_seeds].index)]
    return whole.groupby("step", as_index=False)[["samples", "cpu_s", "multiply_adds", "exact"]].mean()


def _reach(curves: pd.DataFrame) -> tuple[Reach, ...]:
    """Where each mean curve first crosses the end of the patches' mean curve, straight between two validations."""
    found: list[Reach] = []
    if curves.empty:
        return ()
    for task in TASKS:
        base = mean_curve(curves, task, "patches")
        if base.empty or base["exact"].iloc[-1] <= 0:
            continue
        target = float(base["exact"].iloc[-1])
        for arm in FRONT_ENDS:
            curve = mean_curve(curves, task, arm)
            if curve.empty:
                continue
            costs = [crossing(curve[axis], curve["exact"], target) for axis in ("samples", "cpu_s", "multiply_adds")]
            found.append(Reach(task, arm, target, *costs))
    return tuple(found)


def crossing(cost: Sequence[float], score: Sequence[float], target: float) -> float | None:
    """The cost at which the score first reaches the target, straight between two points and from (0, 0) on."""
    before = (0.0, 0.0)
    for x, y in zip(cost, score, strict=True):
        if y >= target:
            share = (target - before[1]) / (y - before[1]) if y > before[1] else 1.0
            return float(before[0] + share * (x - before[0]))
        before = (float(x), float(y))
    return None
