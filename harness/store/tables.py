"""The two tables of a run: what was asked and answered, and how each unit was scored. Parquet, one schema each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from harness.errors import StoreError
from harness.quick_records import quickly_made
from harness.records import SCHEMA_VERSION, Case, ImageRef, Problem, Response, Sample, Score
from harness.store.files import publish, writing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SAMPLES, SCORES = "samples.parquet", "scores.parquet"
_ROWS_PER_GROUP = 4096
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True)
_TEXTS = "list<string>"
_Columns = Mapping[str, tuple[str, Callable[[Any], Any]]]
"""Kind and content of each column."""


@lru_cache(1024)
def _metadata(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """The metadata as JSON; many samples have the same."""
    return _JSON.encode(dict(zip(names, values, strict=True)))


def _keys(refs: tuple[ImageRef, ...]) -> list[str]:
    return [ref.key for ref in refs]


def _locators(refs: tuple[ImageRef, ...]) -> list[str]:
    return [ref.locator for ref in refs]


@quickly_made
@dataclass(frozen=True, slots=True)
class Answered:
    """One row of the sample table: a sample, how it was asked, and what came back."""

    sample: Sample
    prompt: str
    image_sha256: tuple[str, ...]
    response: Response
    audio_sha256: tuple[str, ...] = ()


_SAMPLE_COLUMNS: _Columns = {
    "task": ("string", attrgetter("response.task")),
    "sample_id": ("string", attrgetter("sample.sample_id")),
    "question": ("string", attrgetter("sample.question")),
    "hint": ("string", attrgetter("sample.hint")),
    "choices": (_TEXTS, attrgetter("sample.choices")),
    "references": (_TEXTS, attrgetter("sample.references")),
    "cluster": ("string", attrgetter("sample.cluster")),
    "group": ("string", attrgetter("sample.group")),
    "metadata": ("string", lambda row: _metadata(tuple(row.sample.metadata), tuple(row.sample.metadata.values()))),
    "image_locators": (_TEXTS, lambda row: row.sample.images and _locators(row.sample.images)),
    "image_keys": (_TEXTS, lambda row: row.sample.images and _keys(row.sample.images)),
    "image_sha256": (_TEXTS, attrgetter("image_sha256")),
    "problem_kind": ("string", lambda row: row.sample.problem and row.sample.problem.kind),
    "problem_message": ("string", lambda row: row.sample.problem and row.sample.problem.message),
    "prompt": ("string", attrgetter("prompt")),
    "fingerprint": ("string", attrgetter("response.fingerprint")),
    "text": ("string", attrgetter("response.text")),
    "failure_kind": ("string", lambda row: row.response.failure and row.response.failure.kind),
    "failure_message": ("string", lambda row: row.response.failure and row.response.failure.message),
    "latency_s": ("double", attrgetter("response.latency_s")),
    "batch_size": ("int64", attrgetter("response.batch_size")),
    "prompt_tokens": ("int64", attrgetter("response.prompt_tokens")),
    "output_tokens": ("int64", attrgetter("response.output_tokens")),
    "choice_scores": ("list<double>", attrgetter("response.choice_scores")),
    "cached": ("bool", attrgetter("response.cached")),
    "audio_locators": (_TEXTS, lambda row: row.sample.audio and _locators(row.sample.audio)),
    "audio_keys": (_TEXTS, lambda row: row.sample.audio and _keys(row.sample.audio)),
    "audio_sha256": (_TEXTS, attrgetter("audio_sha256")),
    "steps": ("string", lambda row: _JSON.encode(row.response.steps) if row.response.steps else None),
}
TIMING_COLUMNS = ("latency_s", "batch_size", "cached")
"""Columns in which two equal runs may differ."""


class _Scored(NamedTuple):
    """One row of the score table."""

    task: str
    signature: str
    score: Score


_SCORE_COLUMNS: _Columns = {
    "task": ("string", attrgetter("task")),
    "signature": ("string", attrgetter("signature")),
    "unit": ("string", attrgetter("score.unit")),
    "sample_id": ("string", attrgetter("score.sample_id")),
    "cluster": ("string", attrgetter("score.cluster")),
    "value": ("double", attrgetter("score.value")),
    "statistics": ("list<double>", attrgetter("score.statistics")),
    "extracted": ("string", attrgetter("score.extracted")),
    "reference": ("string", attrgetter("score.reference")),
    "rule": ("string", attrgetter("score.rule")),
    "detail": ("string", attrgetter("score.detail")),
    "unscored_kind": ("string", lambda row: row.score.unscored and row.score.unscored.kind),
    "unscored_message": ("string", lambda row: row.score.unscored and row.score.unscored.message),
}


def _schema(columns: _Columns) -> pa.Schema:
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "double": pa.float64(),
        "int64": pa.int64(),
        "bool": pa.bool_(),
        _TEXTS: pa.list_(pa.string()),
        "list<double>": pa.list_(pa.float64()),
    }
    fields = [pa.field(name, kinds[kind]) for name, (kind, _) in columns.items()]
    return pa.schema(fields, metadata={"harness_schema_version": str(SCHEMA_VERSION)})


RowT = TypeVar("RowT")


class _Table(Generic[RowT]):
    """Rows streamed into one Parquet file, which appears under its name when the `with` block ends well."""

    def __init__(self, path: Path, columns: _Columns) -> None:
        import pyarrow.parquet as pq

        self._path, self._schema = path, _schema(columns)
        self._contents = [content for _, content in columns.values()]
        self._temporary = path.with_name(f".{path.name}.writing")
        with writing(path):
            self._file = self._temporary.open("wb")
            # Without dictionaries the files are smaller, and written in less time.
            self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd", use_dictionary=False)
        self._rows: list[RowT] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            # A full disk refuses the rest of a file that nobody will read.
            with suppress(OSError):
                self._writer.close()
            with suppress(OSError):
                self._file.close()

    def _add(self, rows: Iterable[RowT]) -> None:
        self._rows += rows
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = zip(self._schema, self._contents, strict=True)
            arrays = [_array(list(map(content, self._rows)), field.type) for field, content in columns]
            with writing(self._path):
                self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows = []

    def _finish(self) -> None:
        self._flush()
        with writing(self._path):
            self._writer.close()
            self._file.close()
            publish(self._temporary, self._path)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The column; halves of surrogate pairs, which JSON may hold and no file takes, become U+FFFD."""
    import pyarrow as pa

    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([_whole(value) for value in values], kind)


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


class SampleTable(_Table[Answered]):
    """`samples.parquet` of a run: what was asked and answered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / SAMPLES, _SAMPLE_COLUMNS)

    def add(self, row: Answered) -> None:
        """Write one sample, of the task that its response names."""
        self._add([row])


class ScoreTable(_Table[_Scored]):
    """`scores.parquet` of a run or a rescoring: how each unit was scored."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / SCORES, _SCORE_COLUMNS)

    def add(self, task: str, signature: str, units: Sequence[Score]) -> None:
        """Write scores of one metric of `task`."""
        self._add([_Scored(task, signature, unit) for unit in units])


def read_frame(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A Parquet table of a run as a frame.

    Raises:
        StoreError: missing, damaged, or of a later schema version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=list(columns) if columns else None)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: is missing; the run is not sealed, start it again with the same command") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path}: is damaged ({error}); restore it or run again") from error
    version = int((table.schema.metadata or {}).get(b"harness_schema_version", b"0"))
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path}: schema version {version} is later than {SCHEMA_VERSION}; update the harness")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def read_answers(path: Path, task: str) -> Iterator[Answered]:
    """The rows of one task of a sample table as records, in order."""
    import pyarrow.parquet as pq

    read_frame(path, ["task"])
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS_PER_GROUP):
            for row in batch.to_pylist():
                if row["task"] == task:
                    yield _answered(row)


def _answered(row: dict[str, Any]) -> Answered:
    images = zip(row["image_locators"], row["image_keys"], strict=True)
    # Runs sealed before there were recordings have none of their columns.
    audio = zip(row.get("audio_locators", ()), row.get("audio_keys", ()), strict=True)
    sample = Sample(
        sample_id=row["sample_id"],
        question=row["question"],
        images=tuple(ImageRef(locator, key) for locator, key in images),
        references=tuple(row["references"]),
        choices=tuple(row["choices"]),
        hint=row["hint"],
        cluster=row["cluster"],
        group=row["group"],
        metadata=json.loads(row["metadata"]),
        problem=_problem(row, "problem"),
        audio=tuple(ImageRef(locator, key) for locator, key in audio),
    )
    response = Response(
        fingerprint=row["fingerprint"],
        task=row["task"],
        sample_id=row["sample_id"],
        text=row["text"],
        failure=_problem(row, "failure"),
        latency_s=row["latency_s"],
        batch_size=row["batch_size"],
        prompt_tokens=row["prompt_tokens"],
        output_tokens=row["output_tokens"],
        choice_scores=tuple(row["choice_scores"]),
        cached=row["cached"],
        steps=tuple((name, text) for name, text in json.loads(row.get("steps") or "[]")),
    )
    return Answered(sample, row["prompt"], tuple(row["image_sha256"]), response, tuple(row.get("audio_sha256", ())))


def _problem(row: dict[str, Any], field: str) -> Problem | None:
    return None if row[f"{field}_kind"] is None else Problem(row[f"{field}_kind"], row[f"{field}_message"])


def case(row: Answered) -> Case:
    """What metrics score of a row of the sample table."""
    return Case(row.sample, row.response.text, row.response.failure)
