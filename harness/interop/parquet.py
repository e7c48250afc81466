"""Runs as one folder of Parquet that DuckDB, pandas, Polars and Spark read as it lies.

OUT/values.parquet                                one row for each metric value, with all that belongs to it
OUT/scores/suite=SUITE/model=MODEL/part.parquet   one row for each unit and metric
OUT/samples/suite=SUITE/model=MODEL/part.parquet  one row for each question and its answer
OUT/README.md                                     the columns

A second run of one model and suite is `part-002.parquet`. Folder names are percent-encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from harness.interop.exporting import Exported, ExportOptions, new_folder
from harness.interop.measurements import measurements
from harness.interop.secrets import clean_text
from harness.store.runs import Run, answers_file
from harness.store.tables import SCORES, read_frame

_FREE_TEXT = ("failure_message", "problem_message", "unscored_message", "text")
"""Columns that may quote a server's address or a header."""
_NUMBERS = ("estimate", "low", "high", "confidence")
_COUNTS = (
    "n_scored",
    "n_total",
    "n_clusters",
    "unparsed",
    "n_samples",
    "n_answered",
    "suite_version",
    "schema_version",
)
_FLAGS = ("higher_is_better", "dirty")
_COLUMNS: Mapping[str, str] = {
    "run": "run id; joins all three tables",
    "suite, model, task": "what was run; `suite` and `model` of scores and samples are the folders' names",
    "signature": "exact definition of the metric: compare only equal ones",
    "estimate, low, high, confidence, interval_method": "value and its interval; empty where not computed (`reason`)",
    "n_scored, n_total, n_clusters": "units scored, units there, independent clusters among them",
    "sample_set, data_revision": "SHA-256 of the samples asked, and of the annotation files",
    "commit, dirty, harness_version, weights, packages, processor, started": "where the number comes from",
    "scores.value": "score of one unit; empty is unscored (`unscored_kind`), never 0",
    "scores.statistics": "sufficient statistics; their sums over units give the corpus value",
    "samples.text": "raw answer; empty where none came (`failure_kind`)",
    "samples.prompt, fingerprint, image_sha256": "what was asked, exactly",
}


def write_parquet(runs: Sequence[Run], out: str, options: ExportOptions) -> Exported:
    """The folder above; samples are left out only where `options.samples` is false."""
    folder = new_folder(out)
    notes: list[str] = []
    files = [_values(runs, folder / "values.parquet")]
    for run in runs:
        sources = {"scores": run.path / SCORES, "samples": answers_file(run.path)}
        if options.samples is False:
            del sources["samples"]
        there = {table: source for table, source in sources.items() if source.exists()}
        files += [_part(run, table, source, folder) for table, source in there.items()]
        if len(there) < len(sources):
            absent = " and ".join(table for table in sources if table not in there)
            notes.append(f"{run.path}: holds no {absent}; the rest is exported")
    readme = folder / "README.md"
    readme.write_text(_readme(), encoding="utf-8")
    return Exported(tuple(map(str, [*files, readme])), tuple(notes))


def _values(runs: Sequence[Run], path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [measurement.facts() for run in runs for measurement in measurements(run.record)]
    kinds = (
        dict.fromkeys(_NUMBERS, pa.float64()) | dict.fromkeys(_COUNTS, pa.int64()) | dict.fromkeys(_FLAGS, pa.bool_())
    )
    names = list(rows[0]) if rows else ["run", "signature", "estimate"]
    schema = pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in names])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")
    return path


def _part(run: Run, table: str, source: Path, folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = run.record
    place = folder / table / f"suite={quote(record.suite, safe='')}" / f"model={quote(record.model, safe='')}"
    place.mkdir(parents=True, exist_ok=True)
    number = len(list(place.glob("part*.parquet"))) + 1
    path = place / ("part.parquet" if number == 1 else f"part-{number:03d}.parquet")
    read_frame(source, ["task"])
    content = pq.read_table(source, partitioning=None)
    for name in set(_FREE_TEXT) & set(content.column_names):
        cleaned = [None if text is None else clean_text(text) for text in content.column(name).to_pylist()]
        content = content.set_column(content.column_names.index(name), name, pa.array(cleaned, pa.string()))
    sets = {task.plan.name: task.sample_set for task in record.tasks}
    content = content.append_column("run", pa.array([record.run_id] * len(content), pa.string()))
    tasks = content.column("task").to_pylist()
    content = content.append_column("sample_set", pa.array([sets.get(task) for task in tasks], pa.string()))
    pq.write_table(content, path, compression="zstd")
    return path


def _readme() -> str:
    rows = "\n".join(f"| {name} | {meaning} |" for name, meaning in _COLUMNS.items())
    return f"""# Runs of vlm-harness as Parquet

```sql
-- DuckDB, from inside this folder
SELECT model, task, metric, variant, estimate, low, high, n_scored, n_total, signature
FROM 'values.parquet' WHERE subset = 'all' ORDER BY task, signature, estimate DESC;

SELECT model, task, avg(value), count(value)
FROM read_parquet('scores/*/*/*.parquet', hive_partitioning = true) GROUP BY ALL;
```

| column | meaning |
| --- | --- |
{rows}

A mean over `scores.value` is the metric only where the metric is a mean; corpus metrics are computed from `statistics`.
"""
