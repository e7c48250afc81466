"""A process that has imported the harness and forks a child for each command, which it kills after a given time.

python zygote.py          one JSON object a line: {"folder": "…", "arguments": ["run", …], "after_s": 0.2}
                          `after_s` null lets the command end; the reply is {"killed": …, "seconds": …, "code": …}
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  # imported before the fork, so that the instants fall on work and not on imports
import pyarrow.parquet  # noqa: F401
import scipy.special  # noqa: F401

from harness.cli.main import main as command


def child(order: dict[str, Any]) -> None:
    os.chdir(order["folder"])
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["harness", *order["arguments"]]
    try:
        command()
    except SystemExit as stopped:
        sys.stdout.flush()
        os._exit(stopped.code if isinstance(stopped.code, int) else 0)
    os._exit(0)


def carried_out(order: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(order)
    after_s = order["after_s"]
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        seconds = time.monotonic() - start
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {"killed": code == -signal.SIGKILL, "seconds": seconds, "code": code}
        if after_s is not None and seconds >= after_s:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)


def main() -> None:
    Path.cwd()
    for line in sys.stdin:
        print(json.dumps(carried_out(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
