"""A run of the harness beside a bare loop over the library's own calls, on a stock LLaVA of 34 M parameters on the CPU.

200 charts with three questions each. Bare loops: one question at a time, and batches of the harness's own size in the
harness's own order. Each row is timed in turn, the turns repeated; CPU seconds of the process, loading excluded.
Answers of all rows have to be equal, or the benchmark ends with an error.

    python benchmarks/engine.py [--charts 200] [--turns 3] [--batch 24]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from figures import Figure, add_option, write

QUESTIONS = (
    "How many items are shown in the chart?",
    "What is the value of the first item, and which one is the largest of all?",
    "Which item has the highest value?",
)
TEMPLATE = "USER: <image>\n{} ASSISTANT:"
SIDE_PX, PATCH_PX, NEW_TOKENS = 224, 16, 8


def make_checkpoint(folder: Path) -> int:
    """A LLaVA with random weights of a fixed seed; returns its parameters."""
    import torch
    from transformers import (
        AutoTokenizer,
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    import harness

    torch.manual_seed(0)
    zoo = Path(harness.__file__).parent / "zoo" / "nano-llava"
    tokenizer = AutoTokenizer.from_pretrained(zoo, local_files_only=True)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=384, intermediate_size=1536, num_hidden_layers=9, num_attention_heads=6, image_size=SIDE_PX,
            patch_size=PATCH_PX,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=448, intermediate_size=1216, num_hidden_layers=7,
            num_attention_heads=7, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 1.2 * weight[0].numel() ** -0.5)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def make_data(folder: Path, charts: int) -> list[tuple[Path, str]]:
    """A ChartQA folder of drawn charts; the (picture, question) pairs in file order."""
    import numpy as np
    from PIL import Image

    from harness.mini import charts as drawn

    test = folder / "ChartQA Dataset" / "test"
    (test / "png").mkdir(parents=True)
    rows, pairs = [], []
    for number in range(charts):
        picture = Image.fromarray(drawn.draw(np.random.default_rng(number)).image).resize((640, 480))
        picture.save(test / "png" / f"{number}.png")
        for question in QUESTIONS:
            rows.append({"imgname": f"{number}.png", "query": question, "label": "1"})
            pairs.append((test / "png" / f"{number}.png", question))
    (test / "test_human.json").write_text(json.dumps(rows))
    (test / "test_augmented.json").write_text("[]")
    return pairs


def bare(model: Any, processor: Any, pairs: Sequence[tuple[Path, str]], size: int) -> list[str]:
    """The library's own calls on batches of `size`."""
    import torch
    from PIL import Image

    answers: list[str] = []
    for start in range(0, len(pairs), size):
        batch = pairs[start : start + size]
        images = [Image.open(path).convert("RGB") for path, _ in batch]
        texts = [TEMPLATE.format(question) for _, question in batch]
        inputs = processor(images=images, text=texts, padding=True, padding_side="left", return_tensors="pt")
        with torch.inference_mode():
            ids = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS)
        answers += processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


SUITE = """\
name: speed
version: 1
description: charts of a benchmark
data: folder
tasks: [chartqa]
"""
CARD = """\
name: speed-model
run:
  family: llava
  checkpoint: {folder}
  template: "{template}"
  prompts: {{chart-qa: "{{{{ question }}}}"}}
  generation: {{"*": {{max_new_tokens: {tokens}}}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charts", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batch", type=int, default=24)
    add_option(parser)
    arguments = parser.parse_args()
    import torch
    import transformers
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    from harness.engine.run import run_suite

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = make_checkpoint(folder / "model")
        pairs = make_data(folder / "chartqa", arguments.charts)
        (folder / "speed.yaml").write_text(SUITE)
        template = TEMPLATE.format("{{ text }}").replace("\n", "\\n")
        card = CARD.format(folder=folder / "model", template=template, tokens=NEW_TOKENS)
        (folder / "speed-model.yaml").write_text(card)
        model = LlavaForConditionalGeneration.from_pretrained(folder / "model").eval()
        processor = LlavaProcessor.from_pretrained(folder / "model", backend="pil")
        # The harness puts long prompts first, the questions of an image together.
        order = sorted(range(len(pairs)), key=lambda n: (n // len(QUESTIONS), -len(pairs[n][1])))

        def batched() -> list[str]:
            made = bare(model, processor, [pairs[n] for n in order], arguments.batch)
            return [made[order.index(n)] for n in range(len(pairs))]

        def whole(turn: list[int], size: int | None) -> Callable[[], list[str]]:
            def run() -> list[str]:
                turn.append(0)
                out = folder / f"out-{size}-{len(turn)}"
                card = folder / "speed-model.yaml"
                done = run_suite(folder / "speed.yaml", [card], data=folder, out=out, batch_size=size)
                return [str(text).strip() for text in done.runs[0].samples()["text"]]

            return run

        rows: dict[str, Callable[[], list[str]]] = {
            "bare loop, one at a time": lambda: bare(model, processor, pairs, 1),
            f"bare loop, batches of {arguments.batch}": batched,
            f"harness, batches of {arguments.batch}": whole([], arguments.batch),
            "harness, batch found": whole([], None),
        }
        seconds: dict[str, list[float]] = {row: [] for row in rows}
        first: list[str] | None = None
        for _ in range(arguments.turns):
            for row, run in rows.items():
                start = time.process_time()
                answers = run()
                seconds[row].append(time.process_time() - start)
                first = first or answers
                if answers != first:
                    unlike = sum(a != b for a, b in zip(answers, first, strict=True))
                    raise SystemExit(f"{row}: {unlike} of {len(first)} answers differ from the first row's")
    assert first is not None
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, "
    )
    print(f"transformers {transformers.__version__}; {parameters / 1e6:.1f} M parameters, {len(pairs)} questions,")
    print(f"{len(set(first))} different answers, {arguments.turns} turns")
    reference = [statistics.median(seconds[row]) for row in list(rows)[:2]]
    print(f"{'':36} CPU s (median)   of one at a time   of bare batches")
    for row, values in seconds.items():
        middle = statistics.median(values)
        print(f"{row:36} {middle:14.1f} {middle / reference[0]:18.2f} {middle / reference[1]:17.2f}")
    same, found = (statistics.median(seconds[row]) for row in list(rows)[2:])
    write(
        arguments.json,
        [
            Figure("CPU seconds beside the bare loop, equal batches", same / reference[1], at_most=1.03),
            Figure("CPU seconds beside the bare loop one at a time, batch found", found / reference[0], at_most=0.45),
            Figure("answers that differ", 0, "", at_most=0),
        ],
    )


if __name__ == "__main__":
    main()
