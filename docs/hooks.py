"""What the site has beyond its pages: a command reference made from the code; and no page loads a thing from elsewhere.

The command reference exists in the built site only, so it cannot disagree with the program.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = "reference/commands.md"
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_FOREIGN = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>", re.IGNORECASE
)


def command_reference() -> str:
    """Every command with its arguments and options, as Markdown."""
    from typer.main import get_command

    from harness.cli.main import app

    root = get_command(app)
    parts = [
        "# Commands",
        "Made from the code: what `--help` prints, on one page. [Exit codes](exit-codes.md) and the keys of "
        "[`--json`](json.md) have pages of their own.",
    ]
    for path, command, context in _leaves(root, None, "harness"):
        parts.append(f"## {path}")
        parts.append(f"```text\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```")
        parts.append(_plain(command.help or ""))
        rows = [_row(parameter, context) for parameter in command.get_params(context) if parameter.name != "help"]
        if rows:
            parts.append("\n".join(["| | |", "| --- | --- |", *rows]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _leaves(command: Any, parent: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """The program itself, then every command that does something, in the order of `--help`."""
    context = command.context_class(command, info_name=name, parent=parent)
    inner = getattr(command, "commands", None)
    if inner is None or parent is None:
        yield context.command_path, command, context
    for each in command.list_commands(context) if inner is not None else ():
        yield from _leaves(command.get_command(context, each), context, each)


def _row(parameter: Any, context: Any) -> str:
    name, text = parameter.get_help_record(context)
    return f"| `{name}` | {_cell(_plain(text))} |"


def _plain(text: str) -> str:
    """Paragraphs on one line each; brackets outside code are no links."""
    joined = re.sub(r"\n(?!\n)\s*", " ", text.replace("\n\n", "\0")).replace("\0", "\n\n").strip()
    return "`".join(
        part if number % 2 else re.sub(r"([\[\]])", r"\\\1", part) for number, part in enumerate(joined.split("`"))
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def without_outside_links(markdown: str, page: Path) -> str:
    """The page with links to files of the repository that the site does not hold turned into the files' names.

    Args:
        page: the page's file, below `docs`.
    """

    def replaced(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if re.match(r"[a-z][a-z+.-]*:", target):
            return match[0]
        place = Path(os.path.normpath(page.parent / target))
        if place.is_relative_to(ROOT / "docs") or not place.is_relative_to(ROOT) or not place.exists():
            return match[0]
        name = place.relative_to(ROOT).as_posix()
        return f"`{name}`" if words.strip("`") in (name, place.name) else f"{words} (`{name}`)"

    return _LINK.sub(replaced, markdown)


def foreign_resources(html: str) -> list[str]:
    """Tags of a built page that would load something from another machine; a plain link is none."""
    return [tag for tag in _FOREIGN.findall(html) if 'rel="canonical"' not in tag]


def on_files(files: Any, config: Any) -> Any:
    """Add the command reference."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, COMMANDS, content=command_reference()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Name files that the site does not hold."""
    return without_outside_links(markdown, ROOT / "docs" / page.file.src_uri)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Refuse a page that loads something from elsewhere."""
    from mkdocs.exceptions import PluginError

    foreign = foreign_resources(output)
    if foreign:
        raise PluginError(f"{page.file.src_uri}: loads something from another machine: {foreign[0]}")
    return output
