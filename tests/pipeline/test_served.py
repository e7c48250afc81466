"""Served models from the command line, and `transformers serve` against the same checkpoint loaded here.

Evidence: every file of a run searched for a planted key; requests counted by the server; agreement of two programs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from harness.models.llava import Llava
from harness.models.served import Served
from harness.records import ModelSettings
from harness.store.runs import Run, read_run
from tests.chat_server import ChatServer
from tests.model_inputs import GREEDY, QUESTIONS, item, items, settings

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-planted-0123456789abcdef"
CARD = """\
name: served
run:
  family: openai
  options:
    base_url: {url}
    model: tiny
    api_key_env: PLANTED_KEY
    concurrency: 2
    retries: 1
    backoff_s: 0.001
    give_up_after: 3
"""


def run(folder: Path, server: ChatServer, code: int = 0, options: Sequence[str] = ()) -> str:
    """`harness run --suite smoke` on the server; gives everything that was printed."""
    card = folder / "served.yaml"
    card.write_text(CARD.format(url=server.url))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PLANTED_KEY": KEY}
    command = [sys.executable, "-m", "harness", "run", "--suite", "smoke", "--models", str(card), "--batch-size", "4"]
    command += options
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def sealed(folder: Path) -> list[Run]:
    return [read_run(path.parent) for path in sorted(folder.glob("results/*/record.json"))]


@pytest.mark.parametrize("options", [(), ("--isolate", "--time-limit", "60")])
def test_a_suite_runs_on_a_server_and_the_key_is_in_no_file_no_output_and_no_title(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    titles: set[str] = set()

    def behaviour(number: int, _: object) -> int | str:
        titles.update(" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
        return 400 if number == 5 else "answer"

    with ChatServer(behaviour, key=KEY) as server:
        printed = run(tmp_path, server, options=options)
        assert server.asked == 20
    assert sum(str(tmp_path) in title for title in titles) >= 1
    assert [title for title in titles if KEY in title] == []
    assert "19/20" in printed
    assert "refused x1" in printed
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"record.json", "plan.json", "samples.parquet", "responses.sqlite"} <= {path.name for path in files}
    (found,) = sealed(tmp_path)
    frame = found.samples()
    assert KEY not in printed + frame.to_csv() + found.scores().to_csv()
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    (failure,) = frame["failure_message"].dropna()
    assert failure == "status 400: status 400 for Bearer [key]"
    assert frame["prompt_tokens"].dropna().unique().tolist() == [11]
    assert any("cannot be verified" in warning for warning in found.record.warnings)


def test_a_server_that_dies_halfway_is_left_quickly_and_a_rerun_asks_the_rest_alone(tmp_path: Path) -> None:
    with ChatServer(lambda number, _: "answer" if number <= 7 else "drop", key=KEY) as server:
        run(tmp_path, server)
        (first,) = sealed(tmp_path)
        assert first.record.tasks[0].unscored == {"no_connection": 13}
        # three requests with one retry each, and at most the two that were under way when the third was lost
        assert 7 + 3 * 2 <= server.asked <= 7 + (3 + 2) * 2
        before = server.asked
        server.behaviour = lambda number, _: "answer"
        run(tmp_path, server)
        assert server.asked - before == 13
    second = sealed(tmp_path)[-1]
    assert second.record.tasks[0].n_answered == 20
    answered = first.samples().dropna(subset=["text"]).set_index("sample_id")["text"]
    assert answered.to_dict().items() <= second.samples().set_index("sample_id")["text"].to_dict().items()


def test_a_server_that_is_not_there_stops_the_model_before_the_run(tmp_path: Path) -> None:
    with ChatServer(key=KEY) as server:
        pass
    printed = run(tmp_path, server, code=2)
    assert re.search(r"failed: served: .*no_connection.*start the server", printed)
    assert KEY not in printed
    assert sealed(tmp_path) == []


CHAT = (
    "{% for message in messages %}USER: {% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}ASSISTANT:"
)
"""The template of the family `llava` as a chat template."""


@pytest.fixture(scope="module")
def served_llava(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoints: dict[str, Path]
) -> Iterator[tuple[str, Path]]:
    """Address and checkpoint of a `transformers serve` on a free port, stopped at the end."""
    for name in ("fastapi", "uvicorn", "openai"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (transformers[serving])")
    folder = tmp_path_factory.mktemp("serve")
    checkpoint = Path(shutil.copytree(tiny_checkpoints["llava"], folder / "llava"))
    (checkpoint / "chat_template.jinja").write_text(CHAT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "serve", str(checkpoint), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--dtype", "float32"], env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        end = time.monotonic() + 120
        while not _healthy(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", checkpoint
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(json.load(reply) == {"status": "ok"})
    except OSError:
        return False


@pytest.mark.slow
def test_transformers_serve_answers_as_the_same_checkpoint_loaded_here(served_llava: tuple[str, Path]) -> None:
    url, checkpoint = served_llava
    given = ModelSettings("served", "openai", options={"base_url": url, "model": str(checkpoint), "concurrency": 2})
    assert Served.identify(given).weights.startswith(f"served:{checkpoint}@127.0.0.1:")
    served = Served.load(given)
    asked = [item(n, question) for n, question in enumerate(QUESTIONS)]
    answers = served.generate(served.prepare(asked), GREEDY)
    served.close()
    here = Llava.load(settings("llava", {"llava": checkpoint}))
    assert answers == here.generate(here.prepare(items("llava")), GREEDY)
