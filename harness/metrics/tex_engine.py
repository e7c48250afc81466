r"""Running pdfTeX on text that nobody has checked.

Each formula is compiled in a folder of its own that is deleted afterwards, without shell escape, with TeX's own refusal
of files outside that folder (`openin_any=p`, `openout_any=p`), with limits on processor time, memory and file size set
in the child, and with a limit on wall time after which the whole process group is killed. Nothing but a verdict leaves
the folder. Only pdfTeX is used: LuaTeX would run any program that a formula holds (`\directlua`), and rates of two
engines are different numbers.

The preamble is compiled once into a format file, which takes a formula from 0.3 s to about 0.05 s.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MetricError, MetricUnavailable

PACKAGES = ("amsmath", "amssymb")
_FORMAT = "harness"
_LIMITED = """
ulimit -c 0; ulimit -n 64; ulimit -f "$1"; ulimit -S -t "$2"; ulimit -H -t "$3"
ulimit -v "$4"
shift 4
exec "$@"
"""
"""A shell sets the limits because code between fork and exec is not safe in a process with threads. macOS has no limit
on address space (`-v`); there TeX's own capacities are what bounds memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one formula may use."""

    cpu_s: int = 5
    wall_s: float = 30.0
    """Generous, so that a busy machine does not change the verdict; processor time is what stops an endless loop."""
    memory_bytes: int = 1 << 30
    file_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one document."""

    rule: str
    """`compiled`, `error`, `timeout`, `ended_early` (TeX stopped before the end of the document) or `killed`."""
    detail: str = ""
    """TeX's first error message."""


def find_engine() -> Path:
    """The `pdflatex` program on PATH.

    Raises:
        MetricUnavailable: there is none; says what to install.
    """
    found = shutil.which("pdflatex")
    if found is None:
        raise MetricUnavailable(
            "no TeX engine (pdflatex) on PATH; install TeX Live, for example `apt-get install texlive-latex-base`"
        )
    return Path(found)


class Compiler:
    """pdfTeX with the preamble loaded; made by `open_compiler`."""

    def __init__(self, engine: Path, folder: Path, limits: Limits) -> None:
        self._engine = engine
        self._folder = folder
        self._limits = limits

    def compile(self, body: str) -> Verdict:
        """The verdict on a document with this body; it is `compiled` only if TeX reached the document's end."""
        mark = f"harness-{secrets.token_hex(8)}"  # unknown to the formula, which could print a fixed word itself
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            cwd = Path(name)
            text = f"\\begin{{document}}\n{body}\n\\typeout{{{mark}}}\n\\end{{document}}\n"
            (cwd / "formula.tex").write_bytes(text.encode("utf-8", "replace"))
            arguments = ["-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "formula.tex"]
            status = self._run([f"-fmt={_FORMAT}", *arguments], cwd)
            return _verdict(status, _log(cwd / "formula.log"), mark)

    def compile_all(self, bodies: Iterable[str], workers: int = 2) -> dict[str, Verdict]:
        """Body → verdict, each distinct body compiled once, `workers` at a time."""
        distinct = list(dict.fromkeys(bodies))
        with ThreadPoolExecutor(workers) as pool:
            return dict(zip(distinct, pool.map(self.compile, distinct), strict=True))

    def dump_format(self) -> None:
        """Compile the preamble into a format file.

        Raises:
            MetricUnavailable: TeX lacks a class or package, or does not work at all.
        """
        packages = ",".join(PACKAGES)
        preamble = f"\\documentclass{{article}}\n\\usepackage{{{packages}}}\n\\dump\n"
        (self._folder / f"{_FORMAT}.tex").write_text(preamble, encoding="ascii")
        arguments = ["-ini", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", f"-jobname={_FORMAT}"]
        status = self._run([*arguments, "&pdflatex", f"{_FORMAT}.tex"], self._folder)
        if status != 0 or not (self._folder / f"{_FORMAT}.fmt").is_file():
            reason = _first_error(_log(self._folder / f"{_FORMAT}.log")) or f"exit status {status}"
            raise MetricUnavailable(
                f"{self._engine} cannot load article, {packages} ({reason}); install "
                "texlive-latex-base with amsmath and amsfonts"
            )

    def _run(self, arguments: Sequence[str], cwd: Path) -> int | None:
        """Exit status (negative: the signal), or `None` after the wall time limit."""
        limits = self._limits
        numbers = [limits.file_bytes // 512, limits.cpu_s, limits.cpu_s + 1, limits.memory_bytes // 1024]
        command = ["/bin/sh", "-c", _LIMITED, "sh", *map(str, numbers), str(self._engine), *arguments]
        try:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise MetricError(f"{self._engine} cannot be started: {error}") from error
        try:
            return child.wait(limits.wall_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(child)

    def _environment(self) -> Mapping[str, str]:
        folder = str(self._folder)
        private = dict.fromkeys(("HOME", "TEXMFHOME", "TEXMFVAR", "TEXMFCONFIG", "TMPDIR"), folder)
        no_scripts = dict.fromkeys(("MKTEXTFM", "MKTEXPK", "MKTEXTEX", "MKTEXFMT", "MKTEXMF"), "0")
        return {
            "PATH": os.pathsep.join((str(self._engine.parent), "/usr/bin", "/bin")),
            "LC_ALL": "C",
            "TEXFORMATS": f"{folder}:",  # the trailing colon adds TeX's own formats
            "openin_any": "p",
            "openout_any": "p",
            "shell_escape": "f",
            "max_print_line": "1000",
            **private,
            **no_scripts,
        }


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # usually the group is gone, as it should be
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextmanager
def open_compiler(limits: Limits | None = None) -> Iterator[Compiler]:
    """A compiler with its preamble loaded; its folder is deleted at the end.

    Raises:
        MetricUnavailable: no pdflatex, or one without the packages.
    """
    engine = find_engine()
    with tempfile.TemporaryDirectory(prefix="harness-tex-") as folder:
        compiler = Compiler(engine, Path(folder), limits or Limits())
        compiler.dump_format()
        yield compiler


def _log(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _first_error(log: str) -> str:
    return next((line[2:200] for line in log.splitlines() if line.startswith("! ")), "")


def _verdict(status: int | None, log: str, mark: str) -> Verdict:
    if status is None:
        return Verdict("timeout", "wall time limit")
    if status in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return Verdict("timeout", "processor time limit")
    if status < 0:
        return Verdict("killed", signal.Signals(-status).name)
    if status != 0:
        return Verdict("error", _first_error(log) or f"exit status {status}")
    if not any(line.strip() == mark for line in log.splitlines()):
        return Verdict("ended_early", "TeX stopped before the end of the document")
    return Verdict("compiled")
