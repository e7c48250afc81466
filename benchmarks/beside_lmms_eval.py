"""Whole processes of the harness beside lmms-eval's on the same local task in ChartQA's form, on the CPU.

    python benchmarks/beside_lmms_eval.py [--charts 200] [--turns 3] [--null-turns 5]

Needs lmms-eval 0.7.3 (extra `lmms`, see docs/interop.md) and, for its `llava_hf`, the package decord. Rows, in
alternating order, each in a process of its own, wall and CPU seconds from start to end:

- 20 documents and a model that does nothing (`dummy` of lmms-eval, a fixed answer here);
- the stock LLaVA of 34 M parameters of benchmarks/engine.py, 200 charts with three questions each: `llava_hf` one at a
  time, which is all that it can, and a card of the harness with its batch found. The answers have to be equal.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine import CARD, NEW_TOKENS, SUITE, TEMPLATE, make_checkpoint, make_data
from figures import Figure, add_option, write

NULL_DOCUMENTS = 20


def write_tasks(folder: Path, charts: int) -> None:
    """Task definitions `charts` and `few`, with their tables."""
    import datasets
    import lmms_eval

    pairs = make_data(folder / "chartqa", charts)
    own = Path(lmms_eval.__path__[0]) / "tasks" / "chartqa" / "chartqa.yaml"
    features = datasets.Features(
        {"image": datasets.Image(), **{name: datasets.Value("string") for name in ("question", "answer", "type")}}
    )
    for name, rows in (("charts", pairs), ("few", pairs[:NULL_DOCUMENTS])):
        documents = [
            {"image": {"bytes": path.read_bytes(), "path": None}, "question": q, "answer": "1", "type": "human_test"}
            for path, q in rows
        ]
        datasets.Dataset.from_list(documents, features=features).to_parquet(folder / f"{name}.parquet")
        content = {
            "include": str(own),
            "task": name,
            "dataset_path": "parquet",
            "dataset_kwargs": {"data_files": {"test": f"{name}.parquet"}},
            "lmms_eval_specific_kwargs": {"default": {"pre_prompt": "", "post_prompt": ""}},
            "generation_kwargs": {"max_new_tokens": NEW_TOKENS, "temperature": 0, "do_sample": False},
        }
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in content.items())
        (folder / f"{name}.yaml").write_text(text)


def seconds(command: list[str], log: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a process and its children; an error ends the benchmark with its output."""
    start, before = time.perf_counter(), _children_s()
    with log.open("wb") as sink:
        done = subprocess.run(command, stdout=sink, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{log.read_text(errors='replace')[-2000:]}")
    return time.perf_counter() - start, _children_s() - before


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def theirs(folder: Path, task: str, model: str, arguments: str, out: Path) -> list[str]:
    """lmms-eval's command."""
    command = [sys.executable, "-m", "lmms_eval", "--model", model, "--model_args", arguments, "--tasks", task]
    return [*command, "--include_path", str(folder), "--batch_size", "1", "--log_samples", "--output_path", str(out)]


def ours(folder: Path, model: str, out: Path, *more: str) -> list[str]:
    """The harness's command on the same pictures and questions, by its own reader."""
    command = [sys.executable, "-m", "harness", "run", "--suite", str(folder / "speed.yaml"), "--data", str(folder)]
    return [*command, "--models", model, "--out", str(out), *more]


def their_answers(out: Path, printed: Path) -> list[str]:
    """The answers in lmms-eval's log; it ends with exit code 0 whatever happens, so a missing log is the error."""
    log = next(out.rglob("*_samples_*.jsonl"), None)
    if log is None:
        raise SystemExit(f"lmms-eval wrote no answers:\n{printed.read_text(errors='replace')[-2000:]}")
    return [str(json.loads(line)["filtered_resps"]).strip() for line in log.read_text().splitlines()]


def our_answers(out: Path) -> list[str]:
    """The answers in the sealed run."""
    from harness.store.runs import read_run

    (record,) = out.glob("*/record.json")
    return [str(text).strip() for text in read_run(record.parent).samples()["text"]]


def compare(title: str, rows: dict[str, list[tuple[float, float]]]) -> tuple[float, float]:
    """Print medians and ratios to the first row; gives the second row's."""
    print(f"\n{title}")
    middle = {row: [statistics.median(column) for column in zip(*times, strict=True)] for row, times in rows.items()}
    one_wall, one_cpu = next(iter(middle.values()))
    for row, (wall_s, cpu_s) in middle.items():
        print(
            f"  {row:34} wall {wall_s:7.1f} s {wall_s / one_wall:5.2f} x   CPU {cpu_s:7.1f} s {cpu_s / one_cpu:5.2f} x"
        )
    wall_s, cpu_s = list(middle.values())[1]
    return wall_s / one_wall, cpu_s / one_cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charts", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--null-turns", type=int, default=5)
    add_option(parser)
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()},", end=" ")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "lmms_eval")))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_tasks(folder, arguments.charts)
        parameters = make_checkpoint(folder / "checkpoint")
        (folder / "speed.yaml").write_text(SUITE)
        template = TEMPLATE.format("{{ text }}").replace("\n", "\\n")
        card = folder / "speed-model.yaml"
        card.write_text(CARD.format(folder=folder / "checkpoint", template=template, tokens=NEW_TOKENS))

        null: dict[str, list[tuple[float, float]]] = {"lmms-eval, dummy": [], "harness, always-a": []}
        few = str(NULL_DOCUMENTS)
        for turn in range(arguments.null_turns):
            out = folder / f"null-{turn}"
            command = theirs(folder, "few", "dummy", "response=A", out / "theirs")
            null["lmms-eval, dummy"].append(seconds(command, folder / "log"))
            null["harness, always-a"].append(
                seconds(ours(folder, "always-a", out / "ours", "--limit", few), folder / "log")
            )
        null_wall, null_cpu = compare(
            f"{NULL_DOCUMENTS} documents, a model that does nothing ({arguments.null_turns} turns)", null
        )

        # The words that the card's template gives.
        (folder / "checkpoint" / "chat_template.jinja").write_text(
            "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n{% endif %}"
            "{% endfor %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
            " ASSISTANT:{% endfor %}"
        )
        llava: dict[str, list[tuple[float, float]]] = {"lmms-eval, llava_hf": [], "harness, batch found": []}
        for turn in range(arguments.turns):
            out = folder / f"llava-{turn}"
            given = (
                f"pretrained={folder / 'checkpoint'},device=cpu,dtype=float32,attn_implementation=sdpa,device_map=cpu"
            )
            command = theirs(folder, "charts", "llava_hf", given, out / "theirs")
            llava["lmms-eval, llava_hf"].append(seconds(command, folder / "log"))
            one = their_answers(out / "theirs", folder / "log")
            llava["harness, batch found"].append(seconds(ours(folder, str(card), out / "ours"), folder / "log"))
            other = our_answers(out / "ours")
            if one != other:
                unlike = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
                raise SystemExit(f"{len(unlike)} of {len(one)} answers differ, such as {unlike[0]}")
        title = f"{parameters / 1e6:.1f} M parameters, {len(one)} questions, {len(set(one))} different answers"
        wall, cpu = compare(f"{title} ({arguments.turns} turns)", llava)
        write(
            arguments.json,
            [
                Figure("whole process beside lmms-eval, 20 documents, null model, CPU", null_cpu, at_most=0.25),
                Figure("the same, wall clock", null_wall, at_most=0.25),
                Figure("whole process beside lmms-eval's llava_hf, CPU", cpu, at_most=0.4),
                Figure("the same, wall clock", wall),
            ],
        )


if __name__ == "__main__":
    main()
