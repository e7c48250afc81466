"""The tables of a comparison of runs, in the form that all writers print."""

from __future__ import annotations

from harness.cards.schema import ModelCard
from harness.compare.cards import card_tables
from harness.compare.comparison import Comparison, Pair, Standing
from harness.compare.cost import cost
from harness.compare.ledger import ledger
from harness.compare.overlap import Overlap, seen_in_training
from harness.compare.tables import Cell, Row, Table
from harness.compare.tables import Comparison as Tables
from harness.compare.words import caveats, joined, overview, probability, shown
from harness.records import MetricValue, RunRecord

_BLINDS = ("blank-image", "shuffled-image")


def run_tables(comparison: Comparison) -> Tables:
    """Overview in words, metrics with intervals and letters, pairs, breakdowns, unparsed answers, efficiency, runs."""
    tables = [_overview(comparison)]
    tables += [_metrics(comparison, task) for task in _tasks(comparison)]
    tables += [_pairs(comparison, main=True), _pairs(comparison, main=False)]
    tables += [_visual_gain(comparison), _breakdown(comparison), _unparsed(comparison), _efficiency(comparison)]
    tables.append(_ledger(comparison))
    tables += card_tables([run.record for run in comparison.runs])
    tables.append(_runs(comparison))
    models = ", ".join(dict.fromkeys(s.model for s in comparison.standings))
    return Tables(f"{comparison.runs[0].record.suite}: {models}", tuple(t for t in tables if t.rows))


def _tasks(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(s.task for s in comparison.standings))


def _models(comparison: Comparison) -> tuple[str, ...]:
    return tuple(dict.fromkeys(s.model for s in comparison.standings))


def _estimate(value: MetricValue) -> str:
    if value.estimate is None:
        return f"not computed: {value.reason}"
    low, high = value.low, value.high
    interval = f" [{shown(low, value.unit)}, {shown(high, value.unit)}]" if low is not None and high is not None else ""
    return f"{shown(value.estimate, value.unit)}{interval}"


def _origin(value: MetricValue) -> tuple[str, ...]:
    return tuple(filter(None, [value.signature, f"interval: {value.method}" if value.method else ""]))


def _overview(comparison: Comparison) -> Table:
    rows = [Row(heading, (Cell(joined(sentences)),)) for heading, sentences in overview(comparison)]
    rows += [Row("to know", (Cell(joined(lines)),)) for lines in [[*caveats(comparison), *comparison.missing]] if lines]
    note = (
        "Differences are paired by sample; p-values are permutation tests, corrected by Holm's method over all pairs "
        "and tasks of main metrics."
    )
    return Table("What differs, and what does not", ("in words",), tuple(rows), note)


def _metrics(comparison: Comparison, task: str) -> Table:
    models = _models(comparison)
    seen = {run.record.run_id: _seen(run.record, task) for run in comparison.runs}
    held: dict[str, dict[str, Standing]] = {}
    for standing in comparison.standings:
        if standing.task == task:
            held.setdefault(standing.metric, {})[standing.model] = standing
    rows = []
    for metric, standings in held.items():
        unit = " (%)" if next(iter(standings.values())).value.unit == "rate" else ""
        cells = tuple(_standing(standings[m], seen[standings[m].run]) if m in standings else Cell("–") for m in models)
        rows.append(Row(f"{metric}{unit}", cells))
    note = (
        "Value, 95 % interval, and letters: models that share a letter cannot be told apart. Below: rank interval, and "
        "how many of the samples were scored."
    )
    return Table(task, models, tuple(rows), note)


def _seen(record: RunRecord, task: str) -> list[Overlap]:
    """What the card's training data showed of the task's data set, the surest entry alone."""
    describe = ModelCard.model_validate(record.card).describe
    dataset = next((t.plan.dataset for t in record.tasks if t.plan.name == task), "")
    return seen_in_training(describe, dataset)[:1] if describe is not None else []


def _standing(standing: Standing, seen: list[Overlap]) -> Cell:
    value = standing.value
    rank = (
        str(standing.rank_low)
        if standing.rank_low == standing.rank_high
        else f"{standing.rank_low}–{standing.rank_high}"
    )
    lines = [f"{_estimate(value)} {standing.letters}", f"rank {rank}, {value.n_scored}/{value.n_total}"]
    lines += ["not alike, see above"] if standing.marks else []
    lines += [f"seen in training: {overlap.text}" for overlap in seen]
    return Cell(joined(lines), (*_origin(value), *(overlap.source for overlap in seen)))


def _pairs(comparison: Comparison, *, main: bool) -> Table:
    rows = [_pair(pair) for pair in comparison.pairs if pair.main is main]
    title = "Pairs on main metrics" if main else "Pairs on further metrics"
    columns = (
        "difference",
        "95 % interval",
        "p (Holm)",
        "p (BH)",
        "McNemar p",
        "only first / second",
        "detectable",
        "n",
    )
    note = (
        "First minus second; rates in percentage points. Detectable: the true difference found in 80 % of repetitions "
        "at 5 %, uncorrected. McNemar where every sample is its own cluster."
    )
    return Table(title, columns, tuple(rows), note)


def _pair(pair: Pair) -> Row:
    flips = "–" if pair.only_first is None else f"{pair.only_first} / {pair.only_second}"
    texts = [
        shown(pair.difference, pair.unit, signed=True),
        f"[{shown(pair.low, pair.unit, signed=True)}, {shown(pair.high, pair.unit, signed=True)}]",
        probability(pair.p_holm).removeprefix("= "),
        probability(pair.p_bh).removeprefix("= "),
        "–" if pair.mcnemar_p is None else probability(pair.mcnemar_p).removeprefix("= "),
        flips,
        shown(pair.detectable, pair.unit),
        str(pair.n_units) if pair.n_units == pair.n_clusters else f"{pair.n_units} in {pair.n_clusters} clusters",
    ]
    heading = f"{pair.task}, {pair.metric}: {pair.first} − {pair.second}"
    return Row(heading, (Cell(texts[0], (pair.signature, pair.method)), *(Cell(text) for text in texts[1:])))


def _named(comparison: Comparison) -> list[tuple[str, str, MetricValue]]:
    """(task, model, value) of every value, subsets included."""
    names = {s.run: s.model for s in comparison.standings}
    return [
        (task.plan.name, names[run.record.run_id], value)
        for run in comparison.runs
        if run.record.run_id in names
        for task in run.record.tasks
        for value in task.values
    ]


def _visual_gain(comparison: Comparison) -> Table:
    """Score minus the score of the same model without the picture, where both ran."""
    rows = []
    for pair in comparison.pairs:
        for model, control, sign in ((pair.first, pair.second, 1), (pair.second, pair.first, -1)):
            kind = next((k for k in _BLINDS if control == f"{k}:{model}"), None)
            if pair.main and kind is not None:
                ends = sorted((sign * pair.low, sign * pair.high))
                gain = shown(sign * pair.difference, pair.unit, signed=True)
                interval = f"[{shown(ends[0], pair.unit, signed=True)}, {shown(ends[1], pair.unit, signed=True)}]"
                texts = (gain, interval, probability(pair.p_holm).removeprefix("= "), str(pair.n_units))
                rows.append(Row(f"{pair.task}, {pair.metric}: {model} against {kind}", tuple(map(Cell, texts))))
    note = "What the picture is worth: the model minus the same model on a blank picture, or on another sample's."
    return Table("Visual gain", ("gain", "95 % interval", "p (Holm)", "n"), tuple(rows), note)


def _ledger(comparison: Comparison) -> Table:
    rows = []
    for run in comparison.runs:
        for entry in ledger(run):
            measured = "–"
            if entry.measured is not None:
                ends = (
                    f" [{entry.low:.1f}, {entry.high:.1f}]" if entry.low is not None and entry.high is not None else ""
                )
                measured = f"{entry.measured:.1f}{ends}"
            texts = (
                "–" if entry.published is None else f"{entry.published:g}",
                measured,
                entry.status,
                f"{entry.split}; {entry.protocol}",
            )
            source = f"{entry.source} (confidence {entry.confidence})"
            heading = f"{entry.model}, {entry.benchmark}: {entry.metric}"
            rows.append(Row(heading, (Cell(texts[0], (source,)), *map(Cell, texts[1:]))))
    note = (
        "Confidence A: read at the authors'; B: recalled and consistent with something read; C: recalled only, never "
        "judged. Reproduced: within 0.5 points (CIDEr 1) on the whole split under the same protocol."
    )
    return Table("Published scores", ("published", "measured", "status", "published protocol"), tuple(rows), note)


def _breakdown(comparison: Comparison) -> Table:
    models = _models(comparison)
    main = {(s.task, s.signature) for s in comparison.standings if s.main}
    held: dict[str, dict[str, MetricValue]] = {}
    for task, model, value in _named(comparison):
        if value.subset != "all" and (task, value.signature) in main:
            held.setdefault(f"{task}: {value.subset}", {})[model] = value
    rows = [
        Row(name, tuple(_share(values[m]) if m in values else Cell("–") for m in models))
        for name, values in held.items()
    ]
    return Table("By category, main metric", models, tuple(rows), "Value, 95 % interval, scored of all.")


def _share(value: MetricValue) -> Cell:
    return Cell(f"{_estimate(value)}, {value.n_scored}/{value.n_total}", _origin(value))


def _unparsed(comparison: Comparison) -> Table:
    models = _models(comparison)
    held: dict[str, dict[str, MetricValue]] = {}
    for task, model, value in _named(comparison):
        if value.subset == "all" and value.rules:
            name = f"{task}: {value.metric}{f'@{value.variant}' if value.variant else ''}"
            held.setdefault(name, {})[model] = value
    rows = [
        Row(name, tuple(_rules(values[m]) if m in values else Cell("–") for m in models))
        for name, values in held.items()
        if any(value.unparsed or len(value.rules) > 1 for value in values.values())
    ]
    note = (
        "How often each rule read the answer. Unparsed answers count as wrong; in brackets the value if all were right."
    )
    return Table("Rules that read the answers", models, tuple(rows), note)


def _rules(value: MetricValue) -> Cell:
    counted = ", ".join(f"{rule} {count}" for rule, count in sorted(value.rules.items(), key=lambda item: -item[1]))
    if value.unparsed and value.unit == "rate" and value.estimate is not None:
        most = value.estimate + value.unparsed / value.n_scored
        counted += f" [at most {shown(most, value.unit)}]"
    return Cell(counted)


def _efficiency(comparison: Comparison) -> Table:
    models = _models(comparison)
    names = {s.run: s.model for s in comparison.standings}
    held: dict[str, dict[str, MetricValue]] = {}
    for run in comparison.runs:
        for value in run.record.efficiency:
            held.setdefault(f"{value.metric} {value.variant}".strip(), {})[names.get(run.record.run_id, "")] = value
    rows = [
        Row(name, tuple(Cell(_measured(values[m]), _origin(values[m])) if m in values else Cell("–") for m in models))
        for name, values in held.items()
    ]
    costs = {names.get(run.record.run_id, ""): cost(run) for run in comparison.runs}
    claims: dict[str, dict[str, float | None]] = {
        "parameters (card)": {m: c.parameters for m, c in costs.items()},
        "image tokens (card)": {m: c.image_tokens for m, c in costs.items()},
        "multiply-adds a sample (estimated)": {m: c.multiply_adds for m, c in costs.items()},
    }
    for name, found in claims.items():
        if any(number is not None for number in found.values()):
            rows.append(Row(name, tuple(Cell(_large(found.get(m))) for m in models)))
    note = (
        "Times and memory of the requests asked in this run; answers from the cache are left out. Multiply-adds: "
        "parameters of the language model times its tokens plus those of the vision encoder times its patches."
    )
    return Table("Efficiency", models, tuple(rows), note)


def _large(number: float | None) -> str:
    if number is None:
        return "–"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"


def _measured(value: MetricValue) -> str:
    if value.estimate is None:
        return f"not measured: {value.reason}"
    if value.unit == "bytes":
        return f"{value.estimate / 2**20:.0f} MiB"
    interval = f" [{value.low:.3g}, {value.high:.3g}]" if value.low is not None and value.high is not None else ""
    return f"{value.estimate:.3g}{interval} {value.unit}"


def _runs(comparison: Comparison) -> Table:
    rows = []
    for run in comparison.runs:
        record = run.record
        commit = (record.provenance.get("commit") or {}).get("id") or f"version {record.harness_version}"
        versions = record.provenance.get("packages", {})
        shown_versions = ", ".join(f"{n} {versions[n]}" for n in ("torch", "transformers", "numpy") if n in versions)
        texts = [
            record.run_id,
            record.identity.weights[:40],
            str(record.timing.get("started", "")),
            f"{commit[:12]}; {shown_versions}",
            str(record.provenance.get("processor", "")),
        ]
        rows.append(Row(record.model, tuple(Cell(text) for text in texts)))
    return Table("Runs", ("run", "weights", "started", "program", "hardware"), tuple(rows))
