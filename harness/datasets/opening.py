"""Name and folder → reader: finds the benchmark's own folder and whether it is in the official or the hub's form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import registry
from harness.datasets.base import Dataset
from harness.errors import DatasetError

_SHOWN = 12


def open_dataset(name: str, data: Path | None = None, options: Mapping[str, Any] | None = None) -> Dataset:
    """The reader of benchmark `name`.

    Args:
        name: registry name, such as `chartqa`; plugins are found too.
        data: the benchmark's own folder, or a folder with one folder for each benchmark, named as in the registry;
            `None` takes the bundled mini data. A folder of that name is tried before `data` itself, and the official
            layout before the hub's (`save_to_disk`, parquet shards).
        options: options of the reader.

    Raises:
        UnknownNameError: no such data set.
        DatasetError: no such folder, or nothing in it has the layout; names what is expected and what was found.
    """
    reader: type[Dataset] = registry.load("datasets", name)
    if data is None:
        from harness.mini import bundled_data

        data = bundled_data()
    if not data.is_dir():
        raise DatasetError(f"{name}: {data} is not a folder; give the folder that holds {reader.layout or name}")
    places = [folder for folder in (data / name, data) if folder.is_dir()]
    for folder in places:
        if reader.matches(folder):
            return reader(folder, options)
        hub = _hub_form(name, folder, options)
        if hub is not None:
            return hub
    found = sorted(f"{path.name}/" if path.is_dir() else path.name for path in places[0].iterdir())
    shown = ", ".join(found[:_SHOWN]) + (f", … ({len(found)} in all)" if len(found) > _SHOWN else "")
    raise DatasetError(
        f"{name}: {places[0]} has not the layout of this benchmark. Expected: {reader.layout or 'see its reader'}; or "
        f"the hub's form (a save_to_disk folder or parquet shards). Found: {shown or 'nothing'}"
    )


def _hub_form(name: str, folder: Path, options: Mapping[str, Any] | None) -> Dataset | None:
    from harness.datasets.hub import COLUMNS, HubDataset

    if name in COLUMNS and HubDataset.matches(folder):
        return HubDataset(folder, options, name=name)
    return None
