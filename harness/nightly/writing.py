"""A night on disk: findings as JSON for programs, a Markdown summary for the page of a CI job."""

from __future__ import annotations

import re
from pathlib import Path

from harness.compare.words import probability, shown
from harness.errors import NightlyError
from harness.fingerprint import plain
from harness.nightly.findings import Cause, Finding, Flip, Night
from harness.store.files import write_json

FLIPS_SHOWN = 10
_LONGEST = 80


def write_night(night: Night, folder: Path) -> Path:
    """The folder of this night's findings; `latest` files beside it always hold the last night.

    FOLDER/NIGHT/findings.json, summary.md    FOLDER/latest.json, latest.md

    Raises:
        NightlyError: the folder cannot be written.
    """
    stem = night.started.replace(":", "").replace("+0000", "Z")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while (place := folder / (stem if number == 1 else f"{stem}-{number}")).exists():
            number += 1
        place.mkdir()
        content, text = {**plain(night), "exit_code": night.exit_code}, summary(night)
        for json_file, text_file in (
            (place / "findings.json", place / "summary.md"),
            (folder / "latest.json", folder / "latest.md"),
        ):
            write_json(json_file, content)
            text_file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NightlyError(f"{folder}: cannot be written ({error.strerror}); give another `reports` folder") from error
    return place


def summary(night: Night) -> str:
    """The night in Markdown: verdict first, then findings with causes and flips, then every judged cell."""
    lines = [f"# Nightly gate: {_verdict(night)}", ""]
    lines += [
        f"{night.started}, runs: {len(night.runs)}, {night.cells} model × task cells, declared false-alarm rate "
        f"{100 * night.rate:g} % per night. An alarm is a corrected p at or below {night.rate:g}.",
        "",
    ]
    if night.failures:
        lines += ["## Failed", ""]
        lines += [f"- {_text(f'{failure.model} on {failure.suite}: {failure.reason}')}" for failure in night.failures]
        lines.append("")
    if night.findings:
        lines += ["## Findings", ""]
        for finding in night.findings:
            lines += [*_finding(finding), ""]
    if night.notes:
        lines += ["## Notes", "", *(f"- {_text(note)}" for note in night.notes), ""]
    if night.judged:
        lines += [*_table(night), ""]
    return "\n".join(lines)


def _verdict(night: Night) -> str:
    parts = []
    if night.interrupted:
        parts.append("interrupted")
    if night.failures:
        parts.append(f"{len(night.failures)} failed")
    if night.findings:
        parts.append(f"{len(night.findings)} finding{'s' if len(night.findings) > 1 else ''}")
    return ", ".join(parts) or "nothing found"


def _finding(finding: Finding) -> list[str]:
    lines = [f"### {finding.kind}: {_text(finding.model)} on {_text(finding.task)}", "", _text(finding.sentence), ""]
    lines += [f"- cause: {_cause(cause)}" for cause in finding.causes]
    if finding.flips:
        more = len(finding.flips) - FLIPS_SHOWN
        lines += ["", f"{len(finding.flips)} samples score otherwise{', the first of them:' if more > 0 else ':'}", ""]
        lines += ["| sample | before | after | answer before | answer after |", "| --- | --- | --- | --- | --- |"]
        lines += [_flip(flip) for flip in finding.flips[:FLIPS_SHOWN]]
        if more > 0:
            lines += ["", f"{more} more are in findings.json."]
    return lines


def _cause(cause: Cause) -> str:
    if cause.before is None and cause.after is None:
        return _text(f"{cause.kind}: {cause.what}")
    step = " **(changed on that night)**" if cause.at_step else ""
    return f"**{cause.kind}** {_text(cause.what)}: {_code(cause.before)} → {_code(cause.after)}{step}"


def _flip(flip: Flip) -> str:
    cells = [
        _code(flip.unit),
        f"{flip.before:.4g}",
        f"{flip.after:.4g}",
        _code(flip.answer_before),
        _code(flip.answer_after),
    ]
    return "| " + " | ".join(cells) + " |"


def _table(night: Night) -> list[str]:
    lines = [
        "## All judged",
        "",
        "| model | task | metric | baseline | tonight | difference | 95 % | p baseline | p history | nights | finds |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | --- | --- | ---: | ---: |",
    ]
    for cell in night.judged:

        def value(number: float | None, *, signed: bool = False, unit: str = cell.unit) -> str:
            return "–" if number is None else shown(number, unit, signed=signed)

        interval = "–" if cell.low is None else f"{value(cell.low, signed=True)} to {value(cell.high, signed=True)}"
        p_values = ["–" if p is None else probability(p) for p in (cell.p_baseline, cell.p_history)]
        model = f"**{_text(cell.model)}**" if cell.alarm else _text(cell.model)
        row = [model, _text(cell.task), _text(cell.metric), value(cell.before), value(cell.after)]
        row += [value(cell.difference, signed=True), interval, *p_values, str(cell.nights), value(cell.detectable)]
        lines.append("| " + " | ".join(row) + " |")
    lines += [
        "",
        "*finds*: the true difference to the baseline that one night finds in 80 % of cases at the corrected level. "
        "Rates are in per cent.",
    ]
    return lines


def _text(text: str) -> str:
    """Text that Markdown shows as it is written, on one line; backquotes keep their meaning."""
    return re.sub(r"([\\|*_<>\[\]#~])", r"\\\1", " ".join(text.split()))


def _code(value: object) -> str:
    """A value as code, cut where it is long; what a model wrote cannot end the code or the table."""
    if value is None:
        return "–"
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "¦")
    return f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`" if text else "(empty)"
