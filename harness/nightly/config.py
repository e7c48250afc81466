"""The YAML file of a nightly gate: what is run, where it is kept, and how many false alarms are accepted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from harness.errors import NightlyError
from harness.tasks.schema import Spec, Subset, Text
from harness.yaml_files import checked, read_yaml


class NightlyConfig(Spec):
    """One gate. Paths are relative to the folder of the file."""

    suites: Annotated[list[Text], Field(min_length=1)]
    """Names or YAML files."""
    models: Annotated[list[Text], Field(min_length=1)]
    """Card names, YAML files or `family:card`."""
    data: str | None = None
    """A benchmark's folder or a folder of benchmarks; left out for suites whose data is bundled."""
    out: Text = "results"
    """Where run folders go, and where earlier nights are looked for."""
    cards: tuple[Text, ...] = ()
    """Further folders of model cards."""
    subset: Subset | None = None
    """Replaces the tasks' own subsets."""
    device: Text = "auto"
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Left out, the size is found."""
    isolate: bool = False
    """Whether each model has a process of its own, so that one which dies leaves the night to the others."""
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    """Most seconds for a request; needs `isolate`."""
    false_alarms_per_night: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Probability of an alarm in a night without any change, over all models and tasks."""
    lost_answers: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of samples that may newly stay without an answer before it is a finding."""
    baselines: Text | None = None
    """Folder of accepted baselines; left out, `baselines` in `out`."""
    reports: Text | None = None
    """Folder of findings; left out, `nightly` in `out`."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for field in ("suites", "models"):
            names = getattr(self, field)
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f'{field}: "{twice[0]}" is given twice; keep one')
        return self

    @model_validator(mode="after")
    def _only_a_process_is_stopped(self) -> Self:
        if self.time_limit_s is not None and not self.isolate:
            raise ValueError("time_limit_s needs `isolate: true`: only a process can be stopped")
        return self


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration with its paths found."""

    path: Path
    config: NightlyConfig
    out: Path
    baselines: Path
    reports: Path
    data: Path | None
    cards: tuple[Path, ...]
    suites: tuple[str, ...]
    models: tuple[str, ...]


def load_config(path: str | Path) -> LoadedConfig:
    """The configuration in a YAML file.

    Raises:
        NightlyError: naming file, line, field and what to write instead.
    """
    file = Path(path)
    config = checked(read_yaml(file, NightlyError), NightlyConfig, NightlyError)
    folder = file.resolve().parent
    out = folder / config.out
    return LoadedConfig(
        path=file,
        config=config,
        out=out,
        baselines=folder / config.baselines if config.baselines else out / "baselines",
        reports=folder / config.reports if config.reports else out / "nightly",
        data=folder / config.data if config.data else None,
        cards=tuple(folder / name for name in config.cards),
        suites=tuple(_placed(name, folder) for name in config.suites),
        models=tuple(_placed(name, folder) for name in config.models),
    )


def _placed(name: str, folder: Path) -> str:
    """A YAML file relative to the configuration; any other name as it is. The part before `family:` stays."""
    family, colon, rest = name.rpartition(":")
    if not rest.endswith((".yaml", ".yml")):
        return name
    return f"{family}{colon}{folder / rest}"
