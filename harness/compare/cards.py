"""Cards beside each other: architecture, tasks, training data, domain and universality, each cell with its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from harness.cards.loading import LoadedCard, load_card
from harness.cards.schema import Component, Describe, Fact, ModelCard, PublishedScore
from harness.compare.overlap import Overlap, benchmarks, overlaps
from harness.compare.tables import Cell, Comparison, Row, Table
from harness.compare.universality import Measured, measured, read_records
from harness.errors import CardError
from harness.records import RunRecord
from harness.vocabulary import TaskKind

TASK_KINDS: tuple[str, ...] = get_args(TaskKind)
NOT_KNOWN = "not known"
_SEEN = {"questions": "trained on it", "images": "saw its images", "possible": "not excluded"}


def compare_cards(
    names: Sequence[str | Path],
    *,
    folders: Iterable[Path] = (),
    runs: Path | None = None,
    only: Sequence[str] = (),
) -> Comparison:
    """The comparison of two or more described models.

    Args:
        names: card names or files, in the order of the columns.
        folders: further folders of cards.
        runs: folder of sealed runs, for measured universality.
        only: benchmarks that the overlap and score tables are limited to; all where empty.

    Raises:
        CardError: fewer than two cards, one without `describe:`, or an unknown benchmark.
        StoreError: there is no sealed run in `runs`.
    """
    extra = tuple(folders)
    cards = [load_card(name, cards=extra) for name in names]
    if len(cards) < 2 or len({card.name for card in cards}) < len(cards):
        raise CardError("a comparison needs two or more different cards; `harness list models` shows their names")
    described = [(card, _described(card)) for card in cards]
    known = sorted({*benchmarks(), *(score.benchmark for _, d in described for score in d.published)})
    wrong = [name for name in only if name not in known]
    if wrong:
        raise CardError(f"no benchmark named {', '.join(wrong)} here; known: {', '.join(known)}")
    records = read_records(runs) if runs is not None else []
    tables = [
        _five_points(described, records, ran=runs is not None),
        _overlap_table(described, only),
        _score_table(described, only),
    ]
    title = " and ".join(d.title for _, d in described) if len(cards) == 2 else f"{len(cards)} models"
    return Comparison(f"Comparison of {title}", tuple(table for table in tables if table.rows))


def card_tables(records: Sequence[RunRecord]) -> tuple[Table, ...]:
    """The five points, the data overlap and the published scores of the cards that runs were made with.

    Runs of cards without `describe:` have no column. The tables are empty where no card describes its model.
    """
    cards = [ModelCard.model_validate(record.card) for record in records]
    loaded = {card.name: LoadedCard(card, Path(f"{card.name}.yaml")) for card in cards if card.describe is not None}
    described = [(card, _described(card)) for card in loaded.values()]
    if not described:
        return ()
    tables = (_five_points(described, list(records), ran=True), _overlap_table(described, ()))
    return tuple(table for table in tables if table.rows)


def _described(loaded: LoadedCard) -> Describe:
    if loaded.card.describe is None:
        raise CardError(f"{loaded.path}: {loaded.name} has no `describe:`; add one to compare it")
    return loaded.card.describe


def _five_points(described: list[tuple[LoadedCard, Describe]], records: list[RunRecord], *, ran: bool) -> Table:
    lines: list[tuple[str, Callable[[LoadedCard, Describe], Cell]]] = [
        ("Model", lambda _, d: Cell(d.title)),
        ("Year", lambda _, d: _fact(d.year, str)),
        ("Organisation", lambda _, d: Cell(d.organisation)),
        ("Licence of the weights", lambda _, d: _fact(d.licence, str)),
        ("How it takes part", lambda card, _: _part(card)),
        ("Architecture: vision encoder", lambda _, d: _component(d.architecture.vision_encoder)),
        ("Architecture: audio encoder", lambda _, d: _component(d.architecture.audio_encoder)),
        ("Architecture: connector", lambda _, d: Cell(d.architecture.connector or "none")),
        ("Architecture: language model", lambda _, d: _component(d.architecture.language_model)),
        ("Architecture: fusion", lambda _, d: Cell(d.architecture.fusion)),
        ("Architecture: image tokens", lambda _, d: _fact(d.architecture.image_tokens, _count)),
        ("Architecture: parameters", lambda _, d: _fact(d.architecture.parameters, _count)),
        ("Architecture: training stages", lambda _, d: _stages(d)),
        ("Tasks", lambda _, d: Cell(", ".join(d.tasks))),
        ("Training data", lambda _, d: _training(d)),
        ("Domain", lambda _, d: Cell(d.domain)),
        ("Domain: limits", lambda _, d: Cell("; ".join(d.limits))),
        ("Universality: claimed", lambda _, d: _claimed(d)),
    ]
    if ran:
        lines.append(("Universality: measured", lambda card, _: _measured_cell(measured(records, card.name))))
    rows = [Row(heading, tuple(cell(card, d) for card, d in described)) for heading, cell in lines]
    silent = Cell("none")
    rows = [row for row in rows if row.heading != "Architecture: audio encoder" or set(row.cells) != {silent}]
    note = (
        f"Claimed universality is the share of the {len(TASK_KINDS)} kinds of tasks of this program that the card "
        "claims. Measured, a kind counts where a run's main metric is better than that of the best control on the same "
        "samples. Numbers in brackets are footnotes: where a value stands, or why it is not known."
    )
    return Table("Five points", tuple(card.name for card, _ in described), tuple(rows), note)


def _fact(fact: Fact[Any], show: Callable[[Any], str]) -> Cell:
    if fact.value is None:
        return Cell(NOT_KNOWN, (f"not known: {fact.why}",))
    return Cell(show(fact.value), (str(fact.source),))


def _count(value: int) -> str:
    return f"{value:,}"


def _part(loaded: LoadedCard) -> Cell:
    card = loaded.card
    if card.run is not None:
        return Cell(f"runs: family {card.run.family}, {card.run.checkpoint or 'no checkpoint'}")
    way = "by files of answers" if card.takes_part == "prediction-files" else "by description only"
    return Cell(way, (str(card.why_no_run),))


def _component(part: Component | None) -> Cell:
    """Name and sizes of a part, with the source of each."""
    if part is None:
        return Cell("none")
    units = {"parameters": "parameters", "layers": "layers", "input_px": "px", "patch_px": "px patch"}
    units |= {"sample_rate_hz": "Hz"}
    pieces = [part.name]
    sources: list[str] = []
    for field, unit in units.items():
        fact: Fact[int] | None = getattr(part, field, None)
        if fact is None:
            continue
        cell = _fact(fact, _count)
        pieces.append(f"{cell.text} {unit}" if fact.value is not None else f"{unit} {NOT_KNOWN}")
        sources += cell.sources
    return Cell(", ".join(pieces), tuple(dict.fromkeys(sources)))


def _stages(describe: Describe) -> Cell:
    texts = [
        f"{stage.stage}: trained {', '.join(stage.trained)}"
        + (f"; frozen {', '.join(stage.frozen)}" if stage.frozen else "; nothing frozen")
        for stage in describe.architecture.stages
    ]
    sources = dict.fromkeys(stage.source for stage in describe.architecture.stages)
    return Cell(" | ".join(texts) or "none", tuple(sources))


def _training(describe: Describe) -> Cell:
    texts: list[str] = []
    sources: list[str] = []
    for data in describe.training_data:
        size = _fact(data.size, _count)
        amount = f"{size.text} {data.unit}" if data.size.value is not None else f"number of {data.unit} not known"
        texts.append(f"{data.stage}: {data.dataset} ({amount}; {data.kind})")
        sources += size.sources
    return Cell(" | ".join(texts) or "none named", tuple(dict.fromkeys(sources)))


def _claimed(describe: Describe) -> Cell:
    count = len(set(describe.tasks))
    return Cell(f"{count} of {len(TASK_KINDS)} kinds ({100 * count / len(TASK_KINDS):.0f} %)")


def _measured_cell(rows: list[Measured]) -> Cell:
    if not rows:
        return Cell("no run")
    kinds = sorted({row.kind for row in rows})
    done = sorted({row.kind for row in rows if row.beats})
    silent = sorted(
        {row.kind for row in rows if row.beats is None} - {row.kind for row in rows if row.beats is not None}
    )
    text = f"{len(done)} of {len(kinds)} kinds run" + (f": {', '.join(done)}" if done else "")
    if silent:
        text += f"; no control for {', '.join(silent)}"
    sources = [
        f"run {row.run_id}, {row.task}: {row.metric} {row.value:.4f}"
        + (f" against {row.control_value:.4f} of {row.control}" if row.control_value is not None else "")
        for row in rows
    ]
    return Cell(text, tuple(sources))


def _overlap_table(described: list[tuple[LoadedCard, Describe]], only: Sequence[str]) -> Table:
    found = [overlaps(d, only or None) for _, d in described]
    rows = []
    for benchmark in only or benchmarks():
        cells = tuple(_overlap_cell([o for o in entries if o.benchmark == benchmark]) for entries in found)
        if only or any(
            entry.kind != "possible" for entries in found for entry in entries if entry.benchmark == benchmark
        ):
            rows.append(Row(benchmark, cells))
    note = (
        "Read from the data sets that the cards name. `not named` is no proof of absence; `not excluded` is web data "
        "or a mixture that nobody searched for the benchmark. `trained on it` means its training part: the test "
        "questions are held back by the split, the images need not be."
    )
    return Table("What training showed of the benchmarks", tuple(card.name for card, _ in described), tuple(rows), note)


def _overlap_cell(entries: list[Overlap]) -> Cell:
    if not entries:
        return Cell("not named")
    kinds = dict.fromkeys(entry.kind for entry in entries)
    texts = [f"{_SEEN[kind]}: {'; '.join(e.text for e in entries if e.kind == kind)}" for kind in kinds]
    return Cell(". ".join(texts), tuple(dict.fromkeys(entry.source for entry in entries)))


def _score_table(described: list[tuple[LoadedCard, Describe]], only: Sequence[str]) -> Table:
    scores = [[s for s in d.published if not only or s.benchmark in only] for _, d in described]
    rows = []
    for key in sorted({_score_key(score) for column in scores for score in column}):
        cells = tuple(_score_cell([s for s in column if _score_key(s) == key]) for column in scores)
        rows.append(Row(", ".join(key), cells))
    note = (
        "Scores that others published. Protocols differ between the models of one row: read the footnotes before "
        "comparing. A: read in the authors' own repository; B: recalled and consistent with something read; C: "
        "recalled only."
    )
    return Table("Published scores", tuple(card.name for card, _ in described), tuple(rows), note)


def _score_key(score: PublishedScore) -> tuple[str, str, str]:
    return score.benchmark, score.split, score.metric


def _score_cell(scores: list[PublishedScore]) -> Cell:
    if not scores:
        return Cell("none")
    texts = [f"{s.value:g} ({s.confidence})" if s.value is not None else NOT_KNOWN for s in scores]
    sources = [f"{s.source}; {s.protocol}" + (f"; {s.why}" if s.why else "") for s in scores]
    return Cell("; ".join(texts), tuple(sources))
