"""What the program prints: safe for a terminal, within its width, without unwanted colour, calm in a log."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import output
from harness.codec import encode
from harness.records import Problem
from harness.store.files import write_json
from harness.store.runs import find_runs, read_run
from tests.conftest import Command
from tests.docs.test_commands import MINI, command_tree

TITLE = "\x1b]0;owned\x07"
CLEAR = "\x9b2J"
COLOUR = re.compile(r"\x1b\[(?:\d*;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")


def raw(text: str) -> list[str]:
    """Control characters that a terminal would obey."""
    return re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def leaf_commands() -> list[list[str]]:
    found: list[list[str]] = []

    def walk(command: object, words: list[str]) -> None:
        inner = getattr(command, "commands", {})
        found.append(words)
        for name, each in inner.items():
            walk(each, [*words, name])

    walk(command_tree(), [])
    return found


@pytest.fixture
def hostile(folder: Path) -> Path:
    """The runs of `folder` with escapes in the model's name, the task's reasons and warnings."""
    for path in find_runs(folder / "results"):
        record = read_run(path).record
        tasks = tuple(
            replace(
                task,
                unscored={f"odd{TITLE}": 1},
                values=(
                    *task.values[:-1],
                    replace(task.values[-1], estimate=None, low=None, high=None, reason=f"why{CLEAR}"),
                ),
            )
            for task in record.tasks
        )
        changed = replace(record, model=f"{record.model}{TITLE}", tasks=tasks, warnings=(f"{CLEAR}look",))
        write_json(path / "record.json", encode(changed))
    return folder


@pytest.mark.parametrize("columns", ["80", ""])
def test_escapes_in_records_never_reach_the_terminal(
    harness: Command, hostile: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for arguments in (["show", "results"], ["show", "results", "--json"], ["compare", "results", "--allow"],
                      ["compare", "results", "--allow", "--json"], ["history", "results"]):  # fmt: skip
        _, out, err = harness(*arguments)
        assert raw(out + err) == [], arguments
        assert "owned" in out + err or "look" in out + err or arguments[0] == "history", arguments
    assert "\\x1b]0;owned\\x07" in harness("show", "results")[1].replace("\n", "")


def test_escapes_in_cards_answers_and_ids_are_shown_as_text(harness: Command, folder: Path) -> None:
    (folder / "model_cards").mkdir()
    (folder / "model_cards" / f"bad{TITLE}.yaml").write_text("name: other\nrun: {family: random-choice}\n")
    _, out, err = harness("list", "models")
    assert raw(out + err) == []
    assert "bad\\x1b" in out
    code, out, err = harness("cards", "check", f"model_cards/bad{TITLE}.yaml")
    assert code == 1
    assert raw(out + err) == []
    code, _, err = harness("run", "--suite", "smoke", "--models", f"nobody{TITLE}")
    assert code == 2
    assert raw(err) == []
    assert "nobody\\x1b]0;owned\\x07" in err
    (folder / "answers.jsonl").write_text('{"sample_id": "x\\u001b]0;owned\\u0007", "text": "a\\u001b[2J"}\n')
    _, out, err = harness("score", "chartqa", "--predictions", "answers.jsonl", "--data", MINI)
    assert raw(out + err) == []
    assert "owned" in out + err


def test_log_lines_and_tracebacks_are_safe() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(output.PrintableFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("x")
    logger.addHandler(handler)
    try:
        raise ValueError(TITLE)
    except ValueError:
        logger.exception("sample %s", CLEAR)
    assert raw(stream.getvalue()) == []
    assert "\\x9b2J" in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_a_fault_of_the_program_is_2_and_safe(harness: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError(TITLE)

    monkeypatch.setattr("harness.engine.catalogue.suites", broken)
    code, _, err = harness("list", "suites")
    assert code == 2
    assert "RuntimeError" in err
    assert "fault of the program" in err
    assert raw(err) == []


def test_progress_shows_names_safely_and_without_control_characters_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.cli import running, training
    from harness.training.state import Point

    clock = iter(float(second) for second in range(1000))
    monkeypatch.setattr(running.time, "monotonic", lambda: next(clock))
    lines = running.Lines()
    lines.model(f"m{TITLE}", 1, 1)
    lines.task("captions", 50)
    for _ in range(50):
        lines.answered(1, 0, 0)
    trained = training.Lines()
    trained.begin(f"t{TITLE}", 100, 0)
    for step in range(1, 101):
        trained.step(step, 0.5)
    trained.validated(Point(100, 400, 1.0, 1.0, 0.5, 0.25, 0.4, 4, {f"k{CLEAR}": (1, 4)}))
    err = capsys.readouterr().err
    assert raw(err) == []
    assert "m\\x1b]0;owned" in err
    assert "50/50 answered" in err
    assert len(err.splitlines()) < 25


def on_a_terminal(*arguments: str, cwd: Path, **environment: str) -> str:
    """What the program writes to a terminal of 80 columns."""
    main, side = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "HOME": str(cwd), "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments], cwd=cwd, env=variables, stdin=side, stdout=side, stderr=side
    )
    os.close(side)
    parts = []
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    process.wait()
    os.close(main)
    return b"".join(parts).decode()


def test_no_color_is_respected(folder: Path) -> None:
    for arguments in (["--help"], ["fly"], ["history", "results"]):
        assert not COLOUR.search(on_a_terminal(*arguments, cwd=folder, NO_COLOR="1")), arguments
    assert "\x1b[1m" in on_a_terminal("history", "results", cwd=folder)
    assert "\x1b" not in on_a_terminal("history", "results", cwd=folder, NO_COLOR="1")


def test_a_log_has_no_control_characters_and_a_terminal_one_line(folder: Path) -> None:
    run = ["run", "--suite", "smoke", "--models", "majority-answer", "--limit", "3", "--out", "new"]
    seen = on_a_terminal(*run, cwd=folder)
    assert "\r\x1b[2K" in seen
    assert max(len(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", part)) for part in re.split(r"[\r\n]", seen)) <= 80
    done = subprocess.run(
        [sys.executable, "-m", "harness", *run[:-1], "logged"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert raw(done.stdout + done.stderr) == []
    assert len(done.stderr.splitlines()) <= 2


def too_wide(text: str) -> list[str]:
    """Lines over 80 columns that could have been broken: those of more than one word."""
    return [line for line in text.splitlines() if len(line) > 80 and len(line.split()) > 1]


@pytest.mark.parametrize("words", leaf_commands(), ids=" ".join)
def test_help_fits_80_columns(harness: Command, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = harness(*words, "--help")
    assert code == 0
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_results_fit_80_columns(harness: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = [["list", kind] for kind in ("models", "datasets", "metrics", "tasks", "suites")]
    commands += [["show", "results"], ["compare", "results"], ["history", "results"], ["data", "check", "chartqa"]]
    commands += [["compare-cards", "deplot", "ofa-large"], ["cards", "check", "deplot"]]
    for arguments in commands:
        code, out, err = harness(*arguments)
        assert code == 0, (arguments, err)
        assert too_wide(out) == [], arguments


def test_a_pipe_gets_markdown_and_whole_sentences(
    harness: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert harness("compare", "results")[1].startswith("# ")


def test_json_keeps_what_tables_escape(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    value = Problem(kind=f"a{TITLE}", message=f"{CLEAR}\u202e\ud800 zwölf")
    output.print_json(value)
    out = capsys.readouterr().out
    assert raw(out) == []
    assert "zwölf" in out
    assert json.loads(out) == {"kind": value.kind, "message": value.message}
