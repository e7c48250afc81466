"""`harness convert`: released weights of an older layout → a folder that a card can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.completion import families_named


def convert_command(
    family: Annotated[str, typer.Argument(help="Model family, such as mplug.", autocompletion=families_named)],
    source: Annotated[Path, typer.Argument(help="The released .pth or .bin file.")],
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert released weights to safetensors; tensors are read of a pickle and nothing else."""
    from harness import registry
    from harness.cli.output import print_json, say

    done = registry.load("models", family).convert(source, target)
    if as_json:
        print_json(done)
        return
    say(f"{done.kept} tensors written to {done.folder}, {len(done.dropped)} of training left out")
    if done.copied:
        say(f"copied: {', '.join(done.copied)}")
    if done.lacks:
        say(f"a run also needs: {', '.join(done.lacks)}")
