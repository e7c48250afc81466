"""A comparison as Markdown, CSV, LaTeX (booktabs) and one self-contained HTML page. Whatever a card says is escaped."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.compare.tables import Cell, Comparison, Table
from harness.errors import CardError

_STEM = "comparison"


def write_comparison(comparison: Comparison, folder: Path, formats: Iterable[str]) -> list[Path]:
    """The files written, `comparison.FORMAT` in `folder`.

    Raises:
        CardError: an unknown format.
    """
    wanted = list(dict.fromkeys(formats))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        raise CardError(f"no format named {', '.join(unknown) or 'at all'}; known: {', '.join(FORMATS)}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in wanted:
        path = folder / f"{_STEM}.{name}"
        path.write_text(FORMATS[name](comparison), encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def _marks(cell: Cell, notes: Mapping[str, int]) -> list[int]:
    return sorted(notes[source] for source in cell.sources)


# Markdown


def to_markdown(comparison: Comparison) -> str:
    """GitHub Markdown, ending in a newline; footnotes as a numbered list."""
    notes = comparison.footnotes()
    parts = [f"# {_markdown(comparison.title)}"]
    for table in comparison.tables:
        parts += [f"## {_markdown(table.title)}", _markdown_table(table, notes), _markdown(table.note)]
    parts += ["## Sources", "\n".join(f"{number}. {_markdown(text)}" for text, number in notes.items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(text: str) -> str:
    """Text that Markdown shows as it is written, on one line; backquotes keep their meaning."""
    return re.sub(r"([\\|*_<>\[\]#~])", r"\\\1", " ".join(text.split()))


def _markdown_table(table: Table, notes: Mapping[str, int]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def shown(cell: Cell) -> str:
        numbers = ", ".join(map(str, _marks(cell, notes)))
        text = "<br>".join(_markdown(part) for part in cell.text.split(" | "))
        return f"{text} [{numbers}]" if numbers else text

    head = [line(["", *(_markdown(name) for name in table.columns)]), line(["---"] * (len(table.columns) + 1))]
    return "\n".join(head + [line([_markdown(r.heading), *map(shown, r.cells)]) for r in table.rows])


# CSV


def to_csv(comparison: Comparison) -> str:
    """One line for each cell: table, row, card, value, sources (joined by ` | `)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "row", "card", "value", "sources"])
    for table in comparison.tables:
        for row in table.rows:
            for name, cell in zip(table.columns, row.cells, strict=True):
                fields = [table.title, row.heading, name, cell.text, " | ".join(cell.sources)]
                writer.writerow([_plain_field(field) for field in fields])
    return out.getvalue()


def _plain_field(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would run as a formula; numbers stay numbers."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not re.fullmatch(r"[-+]?[\d.,]+", text):
        return f"'{text}"
    return text


# LaTeX

_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "—": "---",
    "×": r"\(\times\)",
    "±": r"\(\pm\)",
    "≈": r"\(\approx\)",
    "→": r"\(\to\)",
}


def tex(text: str) -> str:
    """Text that LaTeX prints as it is written; characters beyond Latin-1 that have no command become `[U+XXXX]`."""
    return "".join(_TEX.get(c) or (c if ord(c) < 0x100 else f"[U+{ord(c):04X}]") for c in " ".join(text.split()))


def to_latex(comparison: Comparison) -> str:
    """A document of its own that `pdflatex` compiles; needs booktabs and longtable."""
    notes = comparison.footnotes()
    lines = [
        r"\documentclass[10pt,a4paper,landscape]{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[utf8]{inputenc}",
        r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}",
        r"\usepackage[margin=15mm]{geometry}",
        r"\usepackage{booktabs,longtable,array}",
        r"\setlength{\parindent}{0pt}",
        r"\begin{document}",
        rf"\section*{{{tex(comparison.title)}}}",
        r"\footnotesize\sloppy",
    ]
    for table in comparison.tables:
        lines += [rf"\subsection*{{{tex(table.title)}}}", *_latex_table(table, notes), tex(table.note), ""]
    lines += [r"\subsection*{Sources}"]
    lines += [rf"[{number}] {tex(text)}\par" for text, number in notes.items()]
    return "\n".join([*lines, r"\end{document}"]) + "\n"


def _latex_table(table: Table, notes: Mapping[str, int]) -> list[str]:
    def shown(cell: Cell) -> str:
        numbers = ", ".join(map(str, _marks(cell, notes)))
        text = r"\newline ".join(tex(part) for part in cell.text.split(" | "))
        return f"{text} [{numbers}]" if numbers else text

    count = len(table.columns)
    share = (0.86 - 0.008 * (count + 1)) / max(1, count)  # the rest is the heading's column and the gaps of 6 pt
    column = r">{\raggedright\arraybackslash}p{%.3f\linewidth}"
    spec = column % 0.12 + (column % share) * count
    head = " & ".join(["", *(rf"\textbf{{{tex(name)}}}" for name in table.columns)]) + r" \\"
    body = [" & ".join([tex(row.heading), *map(shown, row.cells)]) + r" \\" for row in table.rows]
    rules = [r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endlastfoot"]
    return [r"\setlength{\tabcolsep}{3pt}", rf"\begin{{longtable}}{{{spec}}}", *rules, *body, r"\end{longtable}"]


# HTML

_STYLE = """\
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #c9c9c9; --band: #f2f2f2; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #161616; --line: #484848; --band: #222222; --link: #8ab8f0; }
}
body { color: var(--ink); background: var(--paper); font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
  max-width: 90rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: bold; font-size: 1.2rem; padding: 1rem 0 .5rem; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .6rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; min-width: 9rem; }
thead th { border-bottom: 2px solid var(--ink); }
tbody tr:nth-child(even) { background: var(--band); }
a { color: var(--link); } sup a { text-decoration: none; }
li { overflow-wrap: anywhere; }
"""


def to_html(comparison: Comparison) -> str:
    """One page without any file beside it, readable in light and dark."""
    notes = comparison.footnotes()
    title = html.escape(comparison.title)
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>',
        f"<style>\n{_STYLE}</style></head>",
        f"<body><h1>{title}</h1>",
        *(_html_table(table, notes) for table in comparison.tables),
        "<h2>Sources</h2>",
        "<ol>",
        *(f'<li id="source-{number}">{html.escape(text)}</li>' for text, number in notes.items()),
        "</ol></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _html_table(table: Table, notes: Mapping[str, int]) -> str:
    def shown(cell: Cell) -> str:
        links = ", ".join(f'<a href="#source-{n}">{n}</a>' for n in _marks(cell, notes))
        text = "<br>".join(html.escape(part) for part in cell.text.split(" | "))
        return f"<td>{text}{f' <sup>[{links}]</sup>' if links else ''}</td>"

    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(row.heading)}</th>{"".join(map(shown, row.cells))}</tr>'
        for row in table.rows
    )
    return (
        f'<div class="wide"><table><caption>{html.escape(table.title)}</caption>\n'
        f"<thead><tr><td></td>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
        f"<p>{html.escape(table.note)}</p>"
    )


FORMATS: Mapping[str, Callable[[Comparison], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "tex": to_latex,
    "html": to_html,
}
"""Name of a format (and of its file's ending) → writer."""
