"""One model in a process of its own: what it does to its process it does to no other, and a request may be timed out.

The process may be that of another virtual environment, where the card names one; the harness has to be installed there
in the same version. Answers come back here and are journalled, cached and scored here, as with the local executor.
A process that dies is started again, and what it had not answered is asked again; a request that takes its processes
with it, or more than the time limit, has a named failure and no answer.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, ClassVar

from harness import registry
from harness.engine.groups import LOSSES, Answerer, Group, Totals, after_a_loss, group_size, groups
from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan, OpenTask
from harness.engine.requests import WorkItem
from harness.errors import HarnessError, ModelError
from harness.models.base import Model
from harness.records import ModelIdentity, ModelSettings, Problem, Response, TaskPlan
from harness.version import __version__

_WATCH_S = 1.0
"""How often the process looks whether the one that started it is still there."""
_GONE = (EOFError, ConnectionError, BrokenPipeError)


class _Lost(Exception):
    """The process is gone: why, and whether it was stopped for being late."""

    def __init__(self, reason: str, *, late: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.late = reason, late


class _Process:
    """The other process and the line to it."""

    def __init__(self, python: str | None) -> None:
        here, there = socket.socketpair()
        environment = dict(os.environ)
        if python is None:  # plugins that this process finds are found there too
            environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
        self._python = python or sys.executable
        command = [self._python, "-m", "harness.engine.isolated", str(there.fileno())]
        try:
            self._child = subprocess.Popen(
                command, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, env=environment
            )
        except OSError as error:
            here.close()
            raise ModelError(f"{self._python} cannot be started ({error.strerror}); run.python of the card") from error
        finally:
            there.close()
        self._line = Connection(here.detach())
        version = self._reply_or_refusal()
        if version != __version__:
            self.kill()
            raise ModelError(f"{self._python} has harness {version} and this is {__version__}; install the same there")

    def _reply_or_refusal(self) -> Any:
        try:
            return self._line.recv()
        except _GONE as error:
            code = self._child.wait()
            raise ModelError(
                f"{self._python} ended with {_ended(code)} before it could be asked anything; is the harness installed "
                "there?"
            ) from error

    def ask(self, message: tuple[Any, ...], limit_s: float | None = None) -> Any:
        """The reply to a message.

        Raises:
            _Lost: the process ended, or took longer than `limit_s` and was killed.
            ModelError: it reports an error.
        """
        try:
            self._line.send(message)
            if not self._line.poll(limit_s):
                self.kill()
                raise _Lost(f"no answer within {limit_s:g} s", late=True)
            kind, value = self._line.recv()
        except _GONE as error:
            raise _Lost(_ended(self._child.wait())) from error
        if kind == "error":
            raise ModelError(value)
        return value

    def kill(self) -> None:
        """End the process at once."""
        self._child.kill()
        self._child.wait()
        self._line.close()


def _ended(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def identify(settings: ModelSettings, python: str) -> ModelIdentity:
    """What a model is in another virtual environment, whose versions are part of it.

    Raises:
        ModelError: the environment cannot be used, or the family refuses the settings there.
    """
    process = _Process(python)
    try:
        identity: ModelIdentity = process.ask(("identify", settings))
    except _Lost as lost:
        raise ModelError(f"{python}: ended with {lost.reason}") from lost
    finally:
        process.kill()
    return identity


class IsolatedExecutor:
    """The executor `process`; see `Executor`."""

    isolates: ClassVar[bool] = True

    def __init__(self, plan: ModelPlan, options: RunOptions) -> None:
        self._plan, self._options = plan, options
        self._position = -1
        self._process: _Process | None = None
        self._loaded = -1
        self._now = Totals()
        self._left: list[Totals] = []

    @property
    def asked(self) -> int:
        """Requests given to the model; those of a lost process's last group are not known."""
        return sum(totals.asked for totals in (*self._left, self._now))

    @property
    def busy_s(self) -> float:
        """Seconds spent in the model."""
        return sum(totals.busy_s for totals in (*self._left, self._now))

    @property
    def batch_size(self) -> int | None:
        """The size that the process has found; `None` while it is sought."""
        return self._now.settled

    @property
    def next_batch(self) -> int:
        """The requests of the next group."""
        return group_size(self._options, (self._now,))

    @property
    def load_s(self) -> float | None:
        """Seconds of the slowest loading."""
        every = (totals.load_s for totals in (*self._left, self._now))
        return max((seconds for seconds in every if seconds is not None), default=None)

    def start_task(self, opened: OpenTask, task: TaskPlan) -> None:
        """From here on the items are of `task`."""
        self._position = next(n for n, (_, planned) in enumerate(self._plan.tasks) if planned.name == task.name)

    def answer(self, work: Iterable[Sequence[WorkItem]], stop: Callable[[], bool]) -> Iterator[list[Response]]:
        """Responses group by group; see `Executor.answer`."""
        source = groups(work, lambda: self.next_batch)
        again: deque[Group] = deque()
        while group := again.popleft() if again else next(source, None):
            yield self._answered(group, again) if group.items else []
            if stop():
                return

    def _answered(self, group: Group, again: deque[Group]) -> list[Response]:
        process = self._ready(any(item.problem is None for item in group.items))
        limit_s = self._options.time_limit_s
        try:
            responses, self._now = process.ask(
                ("answer", self._position, group.items), None if limit_s is None else limit_s * len(group.items)
            )
        except _Lost as lost:
            self._forget()
            if not lost.late:
                return after_a_loss(group, again, "worker_died", lost.reason)
            if len(group.items) > 1:
                again.extend(Group([item], LOSSES - 1) for item in group.items)
                return []
            request = group.items[0].request
            problem = Problem("time_limit", lost.reason)
            return [Response(request.fingerprint, request.task, request.sample_id, None, problem)]
        return list(responses)

    def _ready(self, asks: bool) -> _Process:
        """The process, with the model loaded if it will be asked; loading has no time limit."""
        if self._process is None:
            self._process = _Process(self._plan.python)
            self._process.ask(("plan", self._plan, self._options.batch_size, self._options.first_batch))
            self._loaded = -1
        if asks and self._loaded != self._position:
            try:
                self._process.ask(("load", self._position))
            except _Lost as lost:
                self._forget()
                raise ModelError(f"its process ended with {lost.reason} while the model was loaded") from lost
            self._loaded = self._position
        return self._process

    def _forget(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._left.append(self._now)
        self._process, self._now = None, Totals()

    def peak_memory(self) -> tuple[int, str]:
        """The highest of all processes that answered."""
        return max((totals.memory for totals in (*self._left, self._now)), default=(0, "process"))

    def close(self) -> None:
        """End the process."""
        self._forget()


def _orphaned(parent: int) -> None:
    """End this process when the one that started it is gone, whatever the model is doing."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


def _serve(line: Connection) -> None:
    answerer: Answerer | None = None
    while True:
        try:
            command, *arguments = line.recv()
        except _GONE:
            return
        try:
            if command == "identify":
                (settings,) = arguments
                family: type[Model] = registry.load("models", settings.family)
                value: Any = family.identify(settings)
            elif command == "plan":
                answerer, value = Answerer(*arguments), None
            elif answerer is None:
                raise RuntimeError("the plan comes first")
            elif command == "load":
                answerer.load(*arguments)
                value = None
            else:
                value = answerer.answer(*arguments)
        except HarnessError as error:
            line.send(("error", str(error)))
        except Exception as error:  # a fault of the program: its place is on standard error, its words in the record
            traceback.print_exc()
            line.send(("error", f"{type(error).__name__}: {error}"))
        else:
            line.send(("ok", value))


def main() -> None:
    """The other process: answers over the line whose number is its argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starter's: it finishes the batch
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a model prints is no result of the program
    threading.Thread(target=_orphaned, args=(os.getppid(),), daemon=True).start()
    line = Connection(int(sys.argv[1]))
    line.send(__version__)
    _serve(line)


if __name__ == "__main__":
    main()
