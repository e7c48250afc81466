"""Numbers as words: the tables and the sentences of the report, each sentence chosen by the numbers it states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import BASELINES, CONDITIONS, Analysis, Difference, Drop, Estimate, Missing, Row
from arms import FRONT_ENDS, TASKS

_WAVELETS = ("haar-dense", "haar-block-diagonal", "db2-dense", "pyramid")
"""The wavelet front ends of our own; `v1` and `v3` are replicas of published ones."""
_REPLICAS = ("v1", "v3")


@dataclass(frozen=True, slots=True)
class Table:
    """A table as strings, for HTML and Markdown alike."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def percent(value: float) -> str:
    """A rate as a percentage."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """A difference of rates in percentage points."""
    return f"{100 * value:+.1f}"


def interval(found: Estimate, *, rate: bool = True) -> str:
    """A mean with its interval."""
    scale, digits = (100, 1) if rate else (1, 2)
    if found.low is None or found.high is None:
        return f"{scale * found.value:.{digits}f} [none]"
    return f"{scale * found.value:.{digits}f} [{scale * found.low:.{digits}f}, {scale * found.high:.{digits}f}]"


def p_words(p: float) -> str:
    """A corrected p-value as `p = …` or `p < …`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _signed(found: Difference, *, rate: bool = True) -> str:
    mark = " *" if found.supported else " (*)" if found.tested_only else ""
    e = found.estimate
    scale, digits = (100, 1) if rate else (1, 2)
    ends = "" if e.low is None or e.high is None else f" [{scale * e.low:+.{digits}f}, {scale * e.high:+.{digits}f}]"
    return f"{scale * e.value:+.{digits}f}{ends}, {p_words(found.p_holm)}{mark}"


def count(value: float) -> str:
    """A large number with a unit prefix."""
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def main_table(analysis: Analysis, task: str) -> Table:
    """Size, cost, score, blind score and both differences of each arm."""
    rows = [_main_row(analysis, row) for row in analysis.rows if row.task == task]
    metric = TASKS[task].metric.replace("_", " ")
    how = (
        "share of captions that equal one of five true ones"
        if task == "scenes"
        else "mean over formulas of 1 - token edits / longer length (each formula counts alike, unlike in the "
        "metric's corpus value)"
    )
    return Table(
        f"{task}: {metric}",
        (
            "front end",
            "seeds",
            "parameters",
            "multiply-adds a sample",
            "CPU s (range)",
            "score % [95 %]",
            "by seed %",
            "blind % [95 %]",
            "minus patches, points",
            "minus patches-zca, points",
        ),
        tuple(rows),
        f"Score: {how}. Blind: pictures of other samples. Differences are paired; p is corrected over both tasks and "
        "both baselines (Holm). * supported: corrected p < 0.05 and the interval over pictures and seeds excludes 0; "
        "(*) these networks differ, but seeds vary too much, or are too few, to say it of the designs.",
    )


def _main_row(analysis: Analysis, row: Row) -> tuple[str, ...]:
    low, high = row.cpu_s_range
    against = [analysis.difference(row.task, row.arm, base) for base in BASELINES]
    return (
        row.arm,
        str(len(row.seeds)),
        f"{row.parameters / 1e6:.3f} M",
        count(row.multiply_adds_per_sample),
        f"{row.cpu_s:.0f} ({low:.0f} to {high:.0f})",
        interval(row.score),
        " / ".join(f"{100 * v:.1f}" for v in row.by_seed),
        "no picture" if row.blind is None else interval(row.blind),
        *("" if d is None else _signed(d) for d in against),
    )


def reach_table(analysis: Analysis, task: str) -> Table | None:
    """What each arm spends until it is where patches end."""
    found = [r for r in analysis.reach if r.task == task]
    if not found:
        return None
    rows = [
        (
            r.arm,
            *(
                ("not reached",) * 3
                if r.samples is None or r.cpu_s is None or r.multiply_adds is None
                else (f"{r.samples:,.0f}", f"{r.cpu_s:.0f}", count(r.multiply_adds))
            ),
        )
        for r in found
    ]
    return Table(
        f"{task}: cost of reaching {percent(found[0].target)} held-out exact, where patches end",
        ("front end", "training pictures", "CPU s", "multiply-adds"),
        tuple(rows),
        "On the mean curve, straight between validations; without an interval.",
    )


def drop_table(analysis: Analysis, task: str) -> Table | None:
    """Losses on pictures made worse."""
    mine: dict[str, dict[str, Drop]] = {}
    for drop in analysis.drops:
        if drop.task == task:
            mine.setdefault(drop.arm, {})[drop.condition] = drop
    if not mine:
        return None
    rows = [
        (
            arm,
            f"{100 * next(iter(by.values())).clean:.1f}",
            *(_signed(by[c].difference) if c in by else "" for c in CONDITIONS),
        )
        for arm, by in mine.items()
    ]
    return Table(
        f"{task}: worse minus clean, points",
        ("front end", "clean %", *CONDITIONS),
        tuple(rows),
        "First seed alone; interval over pictures; p corrected over all drops of both tasks. An arm with a low clean "
        "score has little "
        "to lose: read a small drop beside the clean score.",
    )  # fmt: skip


def frozen_tables(analysis: Analysis) -> tuple[Table, ...]:
    """Frozen and trained decoders, and the tests between them."""
    if not analysis.frozen:
        return ()
    rows = [
        (
            f.arm, interval(f.exact), interval(f.caption, rate=False),
            "no picture" if f.shuffled_caption is None else interval(f.shuffled_caption, rate=False),
            percent(f.fluent), percent(f.different),
        )
        for f in analysis.frozen
    ]  # fmt: skip
    tests = [
        (
            f"{d.arm}: right pictures minus exchanged ones" if d.arm == d.against else f"{d.arm} minus {d.against}",
            _signed(d, rate=False),
        )
        for d in analysis.frozen_differences
    ]
    return (
        Table(
            "scenes: before a decoder that learned blind and stays frozen",
            (
                "network", "exact % [95 %]", "CIDEr [95 %]", "CIDEr, exchanged pictures", "well-formed answers",
                "different answers",
            ),
            tuple(rows),
            "Well-formed: the answer has the grammar of a caption, true or not. Different: number of different answers "
            "over number of pictures.",
        ),
        Table("Differences of CIDEr, paired", ("pair", "difference [95 %], corrected p"), tuple(tests)),
    )  # fmt: skip


def compared(found: Difference, *, metric: str = "points") -> str:
    """One sentence on a difference, in the strength that the numbers allow."""
    e = found.estimate
    rate = metric == "points"
    size = f"{abs((100 if rate else 1) * e.value):.{1 if rate else 2}f} {metric}"
    way = "higher" if e.value > 0 else "lower"
    scale, digits = (100, 1) if rate else (1, 2)
    ends = (
        "no interval"
        if e.low is None or e.high is None
        else f"[{scale * e.low:+.{digits}f}, {scale * e.high:+.{digits}f}]"
    )
    if found.supported and e.n_seeds > 1:
        return f"{found.arm} scores {size} {way} than {found.against} ({ends}, corrected {p_words(found.p_holm)})."
    if found.supported or found.tested_only:
        why = (
            "one seed is no evidence about the design"
            if e.n_seeds == 1
            else f"the interval over seeds, {ends}, includes 0"
        )
        return (
            f"The trained {found.arm} networks score {size} {way} than those of {found.against} (corrected "
            f"{p_words(found.p_holm)}), but {why}."
        )
    return (
        f"{found.arm} and {found.against} are not told apart: difference {(100 if rate else 1) * e.value:+.{digits}f} "
        f"{metric}, {ends}, corrected {p_words(found.p_holm)}."
    )


def conclusions(analysis: Analysis, task: str) -> list[str]:
    """What the numbers of one task say about the question."""
    patches, zca = (analysis.row(task, base) for base in BASELINES)
    if patches is None:
        return [f"{task}: the patches are not trained and tested yet, so the question has no answer here."]
    said = [_answer(analysis, task), _pinned(analysis, task)]
    said += [compared(d) for arm in _WAVELETS if (d := analysis.difference(task, arm, "patches"))]
    if zca is None:
        said.append("The fair control, whitened patches, is missing: nothing here separates wavelets from whitening.")
    else:
        whitened = analysis.difference(task, "patches-zca", "patches")
        said += [compared(whitened)] if whitened else []
        said += [compared(d) for arm in _WAVELETS if (d := analysis.difference(task, arm, "patches-zca"))]
        said.append(_whitening(analysis, task))
    said += [compared(d) for arm in _REPLICAS if (d := analysis.difference(task, arm, "patches"))]
    scores = {r.arm: r.score.value for r in analysis.rows if r.task == task}
    best = [arm for arm, value in scores.items() if value == max(scores.values())]
    said.append(
        f"The highest mean of {task}, {percent(max(scores.values()))}, is that of {listed(best)}; being first is not "
        "tested."
    )
    return said


def _answer(analysis: Analysis, task: str) -> str:
    """The question answered in counts."""
    said = []
    for base, name in zip(BASELINES, ("patches", "whitened patches (the fair control)"), strict=True):
        found = [d for arm in _WAVELETS if (d := analysis.difference(task, arm, base))]
        above = sum(_firm(d) and d.estimate.value > 0 for d in found)
        below = sum(_firm(d) and d.estimate.value < 0 for d in found)
        if found:
            said.append(
                f"of {len(found)} wavelet front ends {above} firmly above {name}, {below} firmly below, "
                f"{len(found) - above - below} neither"
            )
    if not said:
        return "No wavelet front end is trained and tested beside patches yet."
    return f"In short: {'; '.join(said)}. Firm means supported (see the note of the table) with more than one seed."


def _pinned(analysis: Analysis, task: str) -> str:
    """Whether the scores need the picture at all."""
    gaps = [(r.arm, r.score.value - r.blind.value) for r in analysis.rows if r.task == task and r.blind is not None]
    overlapping = [
        r.arm
        for r in analysis.rows
        if r.task == task and r.blind is not None and r.blind.high is not None and r.score.low is not None
        and r.score.low <= r.blind.high
    ]  # fmt: skip
    least = min(gaps, key=lambda gap: gap[1])
    text = (
        f"With exchanged pictures every front end of {task} loses at least {100 * least[1]:.1f} points "
        f"({least[0]} loses least)."
    )
    if least[1] <= 0:
        text = (
            f"With exchanged pictures {least[0]} scores no less than with the right ones: nothing here shows that it "
            "uses them."
        )
    if overlapping:
        text += f" Score and blind score have overlapping intervals for {listed(overlapping)}."
    return text


def _whitening(analysis: Analysis, task: str) -> str:
    """What the control says about the wavelets that beat plain patches."""
    pairs = [
        (arm, first, second)
        for arm in _WAVELETS
        if (first := analysis.difference(task, arm, "patches"))
        and (second := analysis.difference(task, arm, "patches-zca"))
    ]  # fmt: skip
    winners = [(arm, second) for arm, first, second in pairs if _firm(first) and first.estimate.value > 0]
    if not winners:
        return (
            "No wavelet front end is firmly above plain patches here, so there is no gain for the control to explain."
        )
    beyond = [arm for arm, second in winners if _firm(second) and second.estimate.value > 0]
    below = [arm for arm, second in winners if _firm(second) and second.estimate.value < 0]
    alike = [arm for arm, _ in winners if arm not in beyond and arm not in below]
    said = []
    if beyond:
        said.append(f"The gain of {listed(beyond)} over patches is more than whitening the pixels gives.")
    if alike:
        said.append(
            f"For {listed(alike)} there is a gain over plain patches, but no firm difference from whitened ones: it "
            "cannot be credited to the wavelet rather than to inputs of equal scale."
        )
    if below:
        said.append(
            f"Whitened patches do better still than {listed(below)}: scale explains the gain, the wavelet does not."
        )
    return " ".join(said)


def _firm(found: Difference) -> bool:
    return found.supported and found.estimate.n_seeds > 1


def frozen_conclusions(analysis: Analysis) -> list[str]:
    """Whether the published failure came out, by the numbers."""
    known = {f.arm: f for f in analysis.frozen}
    if "v1-frozen" not in known:
        return [
            "The v1 mapping before a frozen blind decoder is not trained and tested yet: the failure is not reproduced."
        ]
    v1 = known["v1-frozen"]
    said = [
        f"v1 before the frozen decoder: {percent(v1.fluent)} of its answers are well-formed captions, and "
        f"{percent(v1.exact.value)} are right."
    ]
    if v1.fluent >= 0.9 and v1.exact.high is not None and v1.exact.high < 0.05:
        said.append("That is the published symptom: fluent text that is not about the picture.")
    else:
        said.append(
            "By these numbers the published symptom (fluent throughout, under 5 % right) did not come out in full."
        )
    for d in analysis.frozen_differences:
        if d.arm == d.against:
            if d.supported and d.estimate.value > 0:
                said.append(
                    f"{d.arm} still uses the picture: right pictures give {d.estimate.value:.2f} CIDEr more than "
                    f"exchanged ones (corrected {p_words(d.p_holm)})."
                )
            else:
                said.append(
                    f"{d.arm} scores no more than with exchanged pictures, as far as can be told: the blind level."
                )
        else:
            said.append(compared(d, metric="CIDEr"))
    trained = [
        d for d in analysis.frozen_differences if d.arm.removesuffix("-frozen") == d.against and d.arm != d.against
    ]
    if trained and all(_firm(d) and d.estimate.value < 0 for d in trained):
        said.append(
            "For every front end tried, freezing the blind decoder costs score; a better front end does not undo that "
            "here."
        )
    return said


def listed(names: Sequence[str]) -> str:
    """Names joined as in English."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def missing_table(missing: Sequence[Missing]) -> Table:
    """Trainings that the tables lack, seeds together."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        name, _, seed = one.name.rpartition("-s")
        grouped.setdefault((name, one.reason), []).append(seed)
    rows = tuple((name, ", ".join(seeds), reason) for (name, reason), seeds in grouped.items())
    return Table("Not in the tables", ("training", "seeds", "why"), rows, "All tables are without these trainings.")


def arms_table() -> Table:
    """What each front end is, from its design."""
    rows = []
    for arm, design in FRONT_ENDS.items():
        rows.append(
            (
                arm,
                design.wavelet or "none: pixels",
                str(design.levels),
                design.colour + (", centred" if design.centre else ""),
                design.layout,
                {
                    "none": "as they are",
                    "level": "one scale for each level",
                    "coefficient": "each feature",
                    "zca": "ZCA",
                }[design.normalise],
                design.projection + (f" {'/'.join(map(str, design.widths))}" if design.widths else ""),
                str(design.encoder_layers),
            )
        )
    return Table(
        "The front ends",
        ("arm", "wavelet", "levels", "colour", "layout", "standardised", "projection", "encoder layers"),
        tuple(rows),
        "Formulas are grey in every arm. Patches have one level: one scale for all pixels. The decoder has four layers "
        "behind an encoder and six without one.",
    )
