"""Small benchmark folders in their official layouts, with whatever fault a test needs."""

from __future__ import annotations

import base64
import csv
import io
import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MMBENCH_COLUMNS = (
    "index",
    "question",
    "hint",
    "A",
    "B",
    "C",
    "D",
    "answer",
    "category",
    "image",
    "l2-category",
    "split",
)


def png(color: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (8, 6)) -> bytes:
    """A PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG with some detail, so that cutting it short loses pixels."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares this size and holds almost no data: small on disk, huge when decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\x00" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def write(path: Path, content: bytes | str | Any) -> Path:
    """`path` with bytes, text, or anything else as JSON; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        path.write_bytes(text.encode("utf-8"))
    return path


def chartqa(root: Path, rows: Iterable[Any], *, subset: str = "human", split: str = "test") -> Path:
    """A ChartQA folder with one question file and the pictures `a.png` and `b.png`."""
    folder = root / "ChartQA Dataset" / split
    write(folder / f"{split}_{subset}.json", list(rows))
    write(folder / "png" / "a.png", png())
    write(folder / "png" / "b.png", png((0, 0, 250)))
    return root


def coco(root: Path, images: Iterable[Any], annotations: Iterable[Any], *, split: str = "val2017") -> Path:
    """A COCO folder with one annotation file and the pictures `1.jpg` and `2.jpg`."""
    content = {"info": {}, "annotations": list(annotations), "images": list(images)}
    write(root / "annotations" / f"captions_{split}.json", content)
    for name in ("1.jpg", "2.jpg"):
        write(root / "val2017" / name, jpeg())
    return root


def caption(image_id: int | str, text: str) -> dict[str, Any]:
    """One annotation."""
    return {"image_id": image_id, "id": 0, "caption": text}


def mmbench_row(**changes: str) -> dict[str, str]:
    """A question with four options whose answer is B."""
    row = {
        "index": "7",
        "question": "Which?",
        "A": "one",
        "B": "two",
        "C": "three",
        "D": "four",
        "answer": "B",
        "category": "colour",
        "image": base64.b64encode(png()).decode(),
        "l2-category": "perception",
        "split": "dev",
    }
    return {**row, **changes}


def mmbench(root: Path, rows: Iterable[Mapping[str, str]], *, name: str = "MMBench_dev") -> Path:
    """An MMBench folder with one TSV file."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, MMBENCH_COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(root / f"{name}.tsv", buffer.getvalue())
    return root


def scienceqa(root: Path, problems: Mapping[str, Any], splits: Mapping[str, list[str]] | None = None) -> Path:
    """A ScienceQA folder; all problems are in `test` unless said otherwise."""
    write(root / "problems.json", dict(problems))
    write(root / "pid_splits.json", splits or {"test": list(problems)})
    return root


def problem(**changes: Any) -> dict[str, Any]:
    """A ScienceQA problem without picture whose answer is B."""
    base = {"question": "Which?", "choices": ["x", "y", "z"], "answer": 1, "hint": "", "image": None, "split": "test"}
    return {**base, **changes}


def nlvr2(root: Path, rows: Iterable[Any], *, name: str = "dev") -> Path:
    """An NLVR2 folder with one file of JSON lines; text rows are written as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    write(root / "data" / f"{name}.json", "\n".join(lines) + "\n")
    return root


def pair(identifier: str = "dev-1-0-0", **changes: Any) -> dict[str, Any]:
    """An NLVR2 example."""
    return {"identifier": identifier, "sentence": "Two dogs.", "label": "True", **changes}
