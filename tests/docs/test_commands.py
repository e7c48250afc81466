"""Every command and every Python block of the documents is run, or the document says why not.

A document's blocks are run in order in one folder. Names that stand for something of the reader's (`DATA`, `RUN_A`)
are replaced by something that is there, runs take four samples, and trainings a recipe of two steps; the rest is as it
is written. All `harness` lines are parsed by the real command line, those that are not run too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command
from tests.docs.documents import DOCUMENTS, PROGRAMS, ROOT, Block, blocks

MINI = ROOT / "harness" / "mini" / "data"
TUTORIAL = [ROOT / "docs" / "tutorial" / f"{name}.md" for name in ("first-run", "your-model", "compare")]
RUNNABLE = [
    path
    for path in DOCUMENTS
    if path not in TUTORIAL and any(b.is_run and (b.is_commands or b.language == "python") for b in blocks(path))
]
_MARK = re.compile(r"(not run|exits [12]): \S.{7,}")


@cache
def command_tree() -> Any:
    """The real commands, options and types, with nothing behind them."""
    from typer.main import get_command

    from harness.cli.main import app

    def emptied(command: Any) -> Any:
        command.callback = None
        for parameter in command.params:
            parameter.callback = None
        for inner in getattr(command, "commands", {}).values():
            emptied(inner)
        return command

    return emptied(get_command(app))


def parse(words: list[str]) -> None:
    """Raises what the command line would say of the words."""
    alone = words[1:2] in (["--install-completion"], ["--show-completion"])  # the program stops there before a command
    command_tree().main(args=words[1:] + ["list", "suites"] * alone, prog_name="harness", standalone_mode=False)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_one_the_program_knows(document: Path) -> None:
    for block in blocks(document):
        if not block.is_commands or block.is_included:
            continue
        for words in block.commands:
            assert words[0] in PROGRAMS or block.mark, f"{block.where}: {words[0]} is neither run nor marked"
            if words[0] == "harness":
                try:
                    parse(words)
                except Exception as error:
                    pytest.fail(f"{block.where}: {' '.join(words)}: {error}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_mark_gives_its_reason(document: Path) -> None:
    for block in blocks(document):
        assert not block.mark or _MARK.fullmatch(block.mark), f"{block.where}: {block.mark}"


def test_an_unknown_option_and_an_unknown_command_are_found() -> None:
    for line in (
        "harness run --suite mini --models x --fast",
        "harness fly",
        "harness list modles",
        "harness cards chek",
    ):
        with pytest.raises(Exception, match=r"(?i)no such|not one of|invalid"):
            parse(line.split())


@pytest.mark.parametrize("document", RUNNABLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_blocks_of_a_document_work(document: Path, harness: Command, folder: Path) -> None:
    work_through([document], harness, folder)


def test_the_tutorial_works_from_an_empty_folder(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="the models extra is not installed")
    monkeypatch.chdir(tmp_path)
    work_through(TUTORIAL, harness, tmp_path)
    assert (tmp_path / "first-report" / "index.html").is_file()
    assert "my-captioner" in (tmp_path / "comparison" / "comparison.md").read_text()


def work_through(documents: list[Path], harness: Command, folder: Path) -> None:
    """Write the titled blocks, run the others."""
    for block in [block for document in documents for block in blocks(document)]:
        if block.title and not block.is_included:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.body)
        elif block.is_run and block.language == "python" and not block.is_included:
            exec(compile(block.body, block.where, "exec"), {"__name__": "__main__"})
        elif block.is_run and block.is_commands:
            run_block(block, harness, folder)


def run_block(block: Block, harness: Command, folder: Path) -> None:
    """Every line ends with 0, the last with what the document says."""
    for number, written in enumerate(block.commands, start=1):
        words = made_runnable(written, folder)
        expected = block.exit_code if number == len(block.commands) else 0
        if words[0] == "harness":
            code, out, err = harness(*words[1:])
        elif words[0] == "python":
            done = subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True)
            code, out, err = done.returncode, done.stdout, done.stderr
        else:
            pytest.fail(f"{block.where}: {words[0]} cannot be run inside a test; mark the block")
        assert code == expected, f"{block.where}: {' '.join(words)}\n{out[-2000:]}\n{err[-2000:]}"


def made_runnable(words: list[str], folder: Path) -> list[str]:
    """The command with the reader's own things replaced by what is in the folder, and with few samples."""
    results = sorted((folder / "results").glob("*/record.json"), key=lambda path: path.stat().st_mtime)
    runs = sorted(path.parent for path in results)
    replaced = []
    for word in words:
        if word in ("DATA", "/data/benchmarks"):
            word = str(MINI)
        elif word in ("RUN_A", "RUN_B"):
            word = str(runs[["RUN_A", "RUN_B"].index(word)])
        elif re.fullmatch(r"results/(RUN|\S+--1a2b3c4d--001)", word):
            word = str(results[-1].parent)
        replaced.append("majority-answer" if word == "my-model" else word)
    if words[1:2] == ["train"]:
        replaced[2] = "RECIPE.yaml"
    if words[1:2] == ["run"]:
        replaced = ["smoke" if word == "mini" else word for word in replaced]
        if "--limit" in replaced:
            place = replaced.index("--limit") + 1
            replaced[place] = str(min(4, int(replaced[place])))
        elif "--dry-run" not in replaced:
            replaced += ["--limit", "4"]
    if words[1:3] == ["data", "make-mini"]:
        replaced[replaced.index("--n") + 1] = "4"
    return replaced
