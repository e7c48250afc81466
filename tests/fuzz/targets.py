"""Everything that reads files of others, as functions of bytes: they return, or raise a `HarnessError`.

Each target writes its bytes where the reader looks, inside a folder of its own, and reads them as the program would.
`tests/fuzz/test_fuzz.py` and `benchmarks/fuzz.py` feed them.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.cards.loading import bundled_cards, load_card
from harness.datasets.audio import decode_audio
from harness.datasets.base import ImageError
from harness.datasets.images import decode
from harness.datasets.opening import open_dataset
from harness.interop.lmms.logs import import_lmms_eval
from harness.interop.vlmevalkit import import_vlmevalkit
from harness.mini import bundled_data
from harness.nightly.config import load_config
from harness.predictions.reading import read_predictions
from harness.store.journal import Journal, JournalledAnswers
from harness.store.runs import read_run
from harness.tasks.loading import load_suite
from harness.training.recipe import bundled_recipes, read_recipe

MINI = bundled_data()
_PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde\x00\x00\x00"
    b"\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One reader."""

    read: Callable[[bytes, Path], object]
    seeds: tuple[bytes, ...]
    """Whole files to start from."""


def _cut(path: Path, most: int = 4000) -> bytes:
    return path.read_bytes()[:most]


def _card(data: bytes, folder: Path) -> None:
    (folder / "x.yaml").write_bytes(data)
    card = load_card(folder / "x.yaml", cards=[bundled_cards()])
    if card.card.run is not None:
        card.settings()


def _suite(data: bytes, folder: Path) -> None:
    (folder / "x.yaml").write_bytes(data)
    load_suite(folder / "x.yaml")


def _gate(data: bytes, folder: Path) -> None:
    (folder / "gate.yaml").write_bytes(data)
    load_config(folder / "gate.yaml")


def _recipe(data: bytes, folder: Path) -> None:
    (folder / "x.yaml").write_bytes(data)
    read_recipe(folder / "x.yaml")


def _samples(dataset: str, folder: Path) -> None:
    reader = open_dataset(dataset, folder)
    for split in reader.splits():
        for number, sample in enumerate(reader.samples(split)):
            for image in sample.images if number < 3 else ():
                try:
                    decode(reader.image_bytes(image), image.locator)
                except ImageError:
                    continue


def _placed(dataset: str, place: str, others: Mapping[str, bytes]) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        for path, content in {**others, place: data}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        _samples(dataset, folder)

    return read


def _predictions(ending: str, dataset: str = "chartqa") -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        (folder / f"answers.{ending}").write_bytes(data)
        read_predictions(folder / f"answers.{ending}", dataset=dataset)

    return read


def _vlmevalkit(ending: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        (folder / f"m_ChartQA_TEST.{ending}").write_bytes(data)
        import_vlmevalkit([folder / f"m_ChartQA_TEST.{ending}"], folder / "out")

    return read


def _lmms(data: bytes, folder: Path) -> None:
    results = {"model_name": "m", "results": {"T": {"acc,none": 1.0}}, "configs": {"T": {}}}
    (folder / "1_results.json").write_text(json.dumps(results))
    (folder / "1_samples_T.jsonl").write_bytes(data)
    import_lmms_eval([folder], folder / "out")


def _lmms_results(data: bytes, folder: Path) -> None:
    (folder / "1_results.json").write_bytes(data)
    (folder / "1_samples_T.jsonl").write_text('{"doc_id": 0, "target": "a", "filtered_resps": "a", "acc": 1.0}\n')
    import_lmms_eval([folder], folder / "out")


def _journal(data: bytes, folder: Path) -> None:
    (folder / "t.jsonl").write_bytes(data)
    with Journal(folder / "t.jsonl") as journal:
        answers = JournalledAnswers(journal)
        try:
            for sample in ("a", "b"):
                answers.get(sample)
        finally:
            answers.close()


def _record(data: bytes, folder: Path) -> None:
    (folder / "record.json").write_bytes(data)
    read_run(folder)


def _image(data: bytes, folder: Path) -> None:
    decode(data, "x")


def _sound(data: bytes, folder: Path) -> None:
    decode_audio(data, "x.wav")


def _sheet() -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    assert book.active is not None
    for row in (("index", "question", "answer", "prediction"), (1, "How many?", "4", "4"), (2, "Who?", "Ann", "Bob")):
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _first_bytes(pattern: str) -> bytes:
    return next(iter(sorted(MINI.glob(pattern)))).read_bytes()


_QUESTIONS = json.dumps([{"imgname": "a.png", "query": "How many?", "label": "4"}]).encode()
_JOURNAL = b'{"fingerprint":"0a","task":"t","sample_id":"a","text":"x","failure":null,"batch_size":1}\n'
_LMMS = b'{"doc_id": 0, "target": "a", "filtered_resps": "a", "acc": 1.0, "input": "q"}\n'
_COCO = json.dumps(
    {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"id": 1, "image_id": 1, "caption": "a dog"}]}
).encode()
_SCIENCE = json.dumps(
    {
        "1": {
            "question": "q",
            "choices": ["a", "b"],
            "answer": 0,
            "hint": "",
            "image": None,
            "split": "test",
            "grade": "grade1",
            "subject": "s",
            "topic": "t",
            "category": "c",
            "skill": "k",
            "task": "closed choice",
            "lecture": "",
            "solution": "",
        }
    }
).encode()
_NLVR = b'{"identifier": "dev-1-0-0", "sentence": "s", "label": "True", "left_url": "", "right_url": ""}\n'
TARGETS: Mapping[str, Target] = {
    "card": Target(
        _card,
        (
            _cut(bundled_cards() / "llava-1.5-7b.yaml").replace(b"name: llava-1.5-7b", b"name: x"),
            b"name: x\nrun: {family: majority-answer}\n",
        ),
    ),
    "suite": Target(_suite, (b"name: x\nversion: 1\ndescription: d\ndata: bundled\ntasks: [chartqa]\n",)),
    "gate": Target(_gate, (b"suites: [smoke]\nmodels: [majority-answer]\nsubset: {first: 3}\n",)),
    "recipe": Target(_recipe, (_cut(bundled_recipes() / "nano-blind.yaml"),)),
    "chartqa": Target(
        _placed("chartqa", "ChartQA Dataset/test/test_human.json", {"ChartQA Dataset/test/png/a.png": _PIXEL}),
        (_QUESTIONS,),
    ),
    "coco": Target(_placed("coco", "annotations/captions_val2017.json", {"val2017/a.png": _PIXEL}), (_COCO,)),
    "mmbench": Target(_placed("mmbench", "mmbench_dev.tsv", {}), (_cut(MINI / "mmbench" / "mmbench_dev_mini.tsv"),)),
    "scienceqa": Target(
        _placed("scienceqa", "problems.json", {"pid_splits.json": b'{"test": ["1"]}', "images/x": b""}), (_SCIENCE,)
    ),
    "nlvr2": Target(
        _placed(
            "nlvr2", "data/dev.json", {"images/dev/dev-1-0-img0.png": _PIXEL, "images/dev/dev-1-0-img1.png": _PIXEL}
        ),
        (_NLVR,),
    ),
    "latex-csv": Target(_placed("latex", "pairs.csv", {"a.png": _PIXEL}), (b"image,formula\na.png,x^2\n",)),
    "latex-jsonl": Target(
        _placed("latex", "x/formulas.jsonl", {"x/images/a.png": _PIXEL}), (b'{"image": "a.png", "formula": "x"}\n',)
    ),
    "predictions-json": Target(
        _predictions("json"),
        (b'[{"imgname": "a.png", "query": "q", "prediction": "4", "split": "human", "answer": "4"}]',),
    ),
    "predictions-jsonl": Target(_predictions("jsonl"), (b'{"sample_id": "human/a/1", "text": "4"}\n',)),
    "predictions-xlsx": Target(_predictions("xlsx", "mmbench"), (_sheet(),)),
    "vlmevalkit-tsv": Target(_vlmevalkit("tsv"), (b"index\tquestion\tanswer\tprediction\n1\tq\t4\t4\n",)),
    "vlmevalkit-json": Target(
        _vlmevalkit("json"), (b'[{"index": 1, "question": "q", "answer": "4", "prediction": "4"}]',)
    ),
    "vlmevalkit-xlsx": Target(_vlmevalkit("xlsx"), (_sheet(),)),
    "lmms-samples": Target(_lmms, (_LMMS,)),
    "lmms-results": Target(
        _lmms_results, (b'{"model_name": "m", "results": {"T": {"acc,none": 1.0}}, "configs": {"T": {}}}',)
    ),
    "journal": Target(_journal, (_JOURNAL, _JOURNAL + _JOURNAL[:30])),
    "record": Target(_record, (_cut(Path(__file__).parents[1] / "stored" / "run-v1" / "record.json", 100_000),)),
    "image": Target(_image, (_PIXEL, _first_bytes("scienceqa/images/*/*/*.png"))),
    "sound": Target(
        _sound, (_first_bytes("librispeech/**/*.wav") if list(MINI.glob("librispeech/**/*.wav")) else b"RIFF",)
    ),
}


def mutated_sheet(sheet: bytes, part: bytes) -> bytes:
    """An Excel file whose first sheet is `part`: what unzips and is no sheet."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sheet)) as source, zipfile.ZipFile(made, "w") as target:
        for item in source.infolist():
            target.writestr(item, part if item.filename.endswith("sheet1.xml") else source.read(item))
    return made.getvalue()
