r"""Compiling formulas: worked examples, hostile input, limits. Tests that need pdflatex skip where it is absent."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.errors import MetricError, MetricUnavailable
from harness.metrics import compile as compile_metric
from harness.metrics import tex_engine
from harness.metrics.base import ScoringContext
from harness.metrics.compile import MAX_CHARACTERS, CompileRate, document_body
from harness.metrics.tex_engine import Compiler, Limits, Verdict, open_compiler
from harness.records import Case, Sample, Score

LIMITS = Limits(cpu_s=1)


def _score(metric: CompileRate, texts: Sequence[str | None]) -> list[Score]:
    cases = [Case(Sample(str(i), references=("x",)), text) for i, text in enumerate(texts)]
    return metric.score(cases, ScoringContext())


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    try:
        with open_compiler(LIMITS) as opened:
            yield opened
    except MetricUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "answer",
    [
        r"\frac{a}{b}",
        r"$$\mathbb{R} \lesssim \hat{x}_1^{2}$$",
        "a\n\n= b",
        r"\begin{align} a &= b \\ c &= d \end{align}",
        r"\begin{array}{cc} a & b \\ c & d \end{array}",
        r"x \label{eq:1}",
    ],
)
def test_valid_formulas_compile(compiler: Compiler, answer: str) -> None:
    assert compiler.compile(document_body(answer)) == Verdict("compiled")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (r"\frac{a}{", "File ended|Missing|Runaway"),
        (r"a & b", "Misplaced alignment tab"),
        (r"\nosuchcommand", "Undefined control sequence"),
        ("\x00", "invalid character"),
        ("😀", "Unicode character"),
        (r"\font\x=nosuchfont \x a", "not loadable"),
        (r"\read16 to\x", "Emergency stop|cannot .read"),
    ],
)
def test_invalid_formulas_are_errors_with_texs_message(compiler: Compiler, answer: str, message: str) -> None:
    verdict = compiler.compile(document_body(answer))
    assert verdict.rule == "error"
    assert re.search(message, verdict.detail)


def test_files_outside_the_folder_are_refused(compiler: Compiler, tmp_path: Path) -> None:
    secret = tmp_path / "secret.tex"
    secret.write_text("x")
    target = tmp_path / "written.txt"
    for answer in (
        r"\input{/etc/passwd}",
        rf"\input{{{secret}}}",
        r"\input{../../../etc/passwd}",
        rf"\immediate\openout5={target} \immediate\write5{{x}}",
    ):
        assert compiler.compile(document_body(answer)).rule == "error", answer
    assert compiler.compile(document_body(rf"\openin5={secret} \ifeof5 \refused \else x \fi")).rule == "error"
    assert not target.exists()


def test_shell_commands_do_not_run(compiler: Compiler, tmp_path: Path) -> None:
    target = tmp_path / "touched"
    compiler.compile(document_body(rf"x \immediate\write18{{touch {target}}}"))
    compiler.compile(document_body(rf"x \input{{|touch {target}}}"))
    assert not target.exists()


@pytest.mark.parametrize("answer", [r"\def\x{\x}\x", r"\loop\iftrue\repeat"])
def test_endless_loops_end_as_timeouts(compiler: Compiler, answer: str) -> None:
    start = time.monotonic()
    assert compiler.compile(document_body(answer)) == Verdict("timeout", "processor time limit")
    assert time.monotonic() - start < 20


def test_wall_time_limit_kills_what_does_not_use_the_processor(tmp_path: Path) -> None:
    sleeper = tmp_path / "pdflatex"
    sleeper.write_text("#!/bin/sh\necho $$ > pid\n/bin/sleep 60 &\necho $! >> pid\nwait\n")
    sleeper.chmod(0o755)
    compiler = Compiler(sleeper, tmp_path, Limits(wall_s=0.5))
    assert compiler._run([], tmp_path) is None
    for number in (tmp_path / "pid").read_text().split():
        for _ in range(100):  # a killed orphan is gone once its new parent has noticed
            if not _alive(int(number)):
                break
            time.sleep(0.02)
        assert not _alive(int(number))


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat")
    return not status.is_file() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_memory_and_file_size_are_limited(compiler: Compiler) -> None:
    assert compiler.compile(document_body(r"\def\x{a\x}\x")).rule in ("error", "timeout")
    line = "a" * 200
    flood = compiler.compile(document_body(rf"\def\x{{\immediate\write-1{{{line}}}\x}}\x"))
    assert flood.rule in ("killed", "timeout")


@pytest.mark.parametrize("answer", [r"x\]\end{document}", r"x\]\csname @@end\endcsname", r"x\] \stop"])
def test_a_formula_that_ends_the_document_early_does_not_count(compiler: Compiler, answer: str) -> None:
    assert compiler.compile(document_body(answer)).rule == "ended_early"


def test_nothing_is_left_behind(compiler: Compiler) -> None:
    before = sorted(p.name for p in compiler._folder.iterdir())
    compiler.compile(document_body(r"\immediate\openout5=own.txt \immediate\write5{x} x"))
    assert sorted(p.name for p in compiler._folder.iterdir()) == before


@pytest.mark.usefixtures("tex")
def test_rate_counts_every_answer_and_names_each_verdict() -> None:
    metric = CompileRate(LIMITS)
    texts = ["x^2", r"\frac{a}", "", " $$ $$ ", "x" * (MAX_CHARACTERS + 1), None]
    scores = _score(metric, texts)
    assert [s.value for s in scores] == [1.0, 0.0, 0.0, 0.0, 0.0, None]
    assert [s.rule for s in scores] == ["compiled", "error", "empty", "empty", "too_long", ""]


def test_verdicts_are_remembered_but_timeouts_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    class Fake:
        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *error: object) -> None:
            return None

        def compile_all(self, bodies: Sequence[str], workers: int) -> dict[str, Verdict]:
            asked.append(list(bodies))
            return {body: Verdict("timeout" if "slow" in body else "compiled") for body in bodies}

    monkeypatch.setattr(compile_metric, "find_engine", lambda: Path("pdflatex"))
    monkeypatch.setattr(compile_metric, "open_compiler", lambda limits: Fake())
    metric = CompileRate()
    assert [s.rule for s in _score(metric, ["a", "$$a$$", "slow"])] == ["compiled", "compiled", "timeout"]
    assert [s.rule for s in _score(metric, ["a", "slow"])] == ["compiled", "timeout"]
    assert asked[1] == [document_body("slow")]


def test_each_distinct_document_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def judged(self: Compiler, body: str) -> Verdict:
        asked.append(body)
        return Verdict("compiled")

    monkeypatch.setattr(Compiler, "compile", judged)
    found = Compiler(Path("pdflatex"), tmp_path, Limits()).compile_all(["a", "b", "a"])
    assert sorted(asked) == sorted(found) == ["a", "b"]


def test_no_engine_is_not_computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MetricUnavailable, match=r"no TeX engine .*texlive-latex-base"):
        _score(CompileRate(), ["x"])


@pytest.mark.usefixtures("tex")
def test_missing_package_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tex_engine, "PACKAGES", ("nosuchpackage",))
    with pytest.raises(MetricUnavailable, match=r".*nosuchpackage"), open_compiler():
        raise AssertionError("the compiler must not open")


def test_child_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    program = tmp_path / "pdflatex"
    program.write_text("#!/bin/sh\n/usr/bin/env > seen\n")
    program.chmod(0o755)
    assert Compiler(program, tmp_path, Limits())._run([], tmp_path) == 0
    seen = (tmp_path / "seen").read_text()
    assert "openin_any=p" in seen
    assert "SECRET_TOKEN" not in seen


def test_variant_is_refused() -> None:
    with pytest.raises(MetricError, match='has no variant "xelatex"'):
        compile_metric.compile_rate_metric("xelatex")
