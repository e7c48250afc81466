"""Cards found by name: bundled ones, `./model_cards`, `--cards` folders, installed packages, or a YAML file's path."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import registry
from harness.cards.schema import ModelCard
from harness.errors import CardError, UnknownNameError
from harness.records import ModelSettings
from harness.yaml_files import YamlDocument, checked, read_yaml

_PACKAGE = Path(__file__).resolve().parents[1]
ZOO = "zoo:"
"""Beginning of a checkpoint that comes with the package."""
IN_DATA = "data:"
"""Beginning of a file name that is relative to the benchmarks' folder."""
_PATHS = ("path", "font", "features", "labels", "tokenizer", "original_decoder")
"""Options that name a file, relative to the card."""


@dataclass(frozen=True, slots=True)
class LoadedCard:
    """A card, resolved, and where it came from."""

    card: ModelCard
    path: Path
    wrapped: LoadedCard | None = None
    """The card of the model that this one wraps."""
    parts: Mapping[str, LoadedCard] = field(default_factory=dict)
    """The cards of the models that this one is made of, by their part in it."""

    @property
    def name(self) -> str:
        """Name of the card; a wrapper made on the command line is `family:card`."""
        return self.card.name if self.wrapped is None else self.card.name.replace("--on--", ":")

    def content(self) -> dict[str, Any]:
        """The resolved card as JSON types, for the record."""
        return self.card.model_dump(mode="json")

    def settings(
        self, *, device: str = "auto", remote_code_commit: str | None = None, data: Path | None = None
    ) -> ModelSettings:
        """The `run:` part with defaults filled in.

        Args:
            device: where the model runs.
            remote_code_commit: commit whose repository code may run.
            data: folder of the benchmarks, for options such as `path: data:chartqa/answers.json`.

        Raises:
            CardError: if the card has no `run:`, with its reason; or a file is named outside the benchmarks' folder.
        """
        run = self.card.run
        if run is None:
            raise CardError(f"{self.path}: {self.card.name} cannot be run: {self.card.why_no_run}")
        options = dict(run.options)
        for name in _PATHS:
            if isinstance(options.get(name), str):
                options[name] = self._file(str(options[name]), data)
        passed: dict[str, Any] = {"device": device, "remote_code_commit": remote_code_commit, "data": data}
        inner = self.wrapped.settings(**passed) if self.wrapped else None
        return ModelSettings(
            name=self.name,
            family=run.family,
            checkpoint=checkpoint_place(run.checkpoint, self.path),
            revision=run.revision,
            sha256=run.sha256,
            dtype=run.dtype,
            device=device,
            template=run.template,
            prompts={**(inner.prompts if inner else {}), **run.prompts},
            generation=merged(inner.generation if inner else {}, run.generation),
            options=options,
            allow_pickle=run.allow_pickle,
            remote_code_commit=remote_code_commit,
            inner=inner,
            parts={name: part.settings(**passed) for name, part in self.parts.items()},
        )

    def python(self) -> str | None:
        """`run.python`: relative to the card where it begins with a dot."""
        given = self.card.run.python if self.card.run else None
        return str((self.path.parent / given).absolute()) if given and given.startswith(".") else given

    def _file(self, value: str, data: Path | None) -> str:
        """A file's path: relative to the card, below the benchmarks' folder where it begins with `data:`, or in the
        package where it begins with `zoo:`."""
        if value.startswith(ZOO):
            return str(checkpoint_place(value, self.path))
        if not value.startswith(IN_DATA):
            return str((self.path.parent / value).resolve())
        if data is None:
            return value
        place = (data / value.removeprefix(IN_DATA)).resolve()
        if not place.is_relative_to(data.resolve()):
            raise CardError(f"{self.path}: {value} leads out of the benchmarks' folder; name a file inside it")
        return str(place)


def checkpoint_place(value: str | None, card: Path) -> str | None:
    """A folder named by a dot, a slash or its existence beside the card becomes absolute, and so does a checkpoint of
    the package (`zoo:NAME`); anything else is a hub id."""
    if value is None:
        return None
    if value.startswith(ZOO):
        return str(_PACKAGE / "zoo" / value.removeprefix(ZOO))
    beside = (card.parent / Path(value).expanduser()).resolve()
    return str(beside) if value.startswith((".", "/", "~")) or beside.is_dir() else value


def placeless(settings: ModelSettings) -> ModelSettings:
    """The settings with names in place of this machine's folders and files, whose contents are hashed apart."""
    options = {
        name: Path(value).name if name in _PATHS and isinstance(value, str) and Path(value).is_absolute() else value
        for name, value in settings.options.items()
    }
    checkpoint = settings.checkpoint
    if checkpoint is not None and Path(checkpoint).is_absolute():
        within = Path(checkpoint).parent == _PACKAGE / "zoo"
        checkpoint = f"{ZOO if within else ''}{Path(checkpoint).name}"
    inner = placeless(settings.inner) if settings.inner else None
    parts = {name: placeless(part) for name, part in settings.parts.items()}
    return replace(settings, checkpoint=checkpoint, options=options, inner=inner, parts=parts)


def bundled_cards() -> Path:
    """Folder of the cards that come with the package: inside a wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "model_cards"
    return inside if inside.is_dir() else _PACKAGE.parent / "model_cards"


def card_folders(extra: Iterable[Path] = ()) -> dict[Path, str]:
    """Folder → owner, in the order searched."""
    folders: dict[Path, str] = {bundled_cards().resolve(): "harness"}
    local = Path("model_cards").resolve()
    if local.is_dir():
        folders.setdefault(local, "./model_cards")
    for folder in extra:
        if not folder.is_dir():
            raise CardError(f"{folder}: no such folder; --cards names a folder of YAML cards")
        folders.setdefault(folder.resolve(), str(folder))
    for name in registry.names("model_cards"):
        point = registry.entry("model_cards", name)
        folders.setdefault(package_folder(point.target, point.owner), point.owner)
    return folders


def package_folder(package: str, owner: str) -> Path:
    """Folder of an installed package that holds YAML files, without running the package's code.

    Raises:
        CardError: if the package cannot be found.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ImportError as error:
        raise CardError(f"{owner}: the package {package!r} that should hold YAML files cannot be found") from error
    if spec is None or not spec.submodule_search_locations:
        raise CardError(f"{owner}: {package!r} is not a package with YAML files; check its entry points")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def card_files(extra: Iterable[Path] = ()) -> dict[str, list[Path]]:
    """Card name (file name without `.yaml`) → files that claim it.

    A byte-for-byte copy is no second claim: a checkout holds the cards of the package that is installed from it.
    """
    files: dict[str, list[Path]] = {}
    for folder in card_folders(extra):
        for path in sorted(folder.glob("*.yaml")):
            known = files.setdefault(path.stem, [])
            if not any(path.read_bytes() == other.read_bytes() for other in known):
                known.append(path)
    return files


def load_card(name: str | Path, *, cards: Iterable[Path] = ()) -> LoadedCard:
    """The card of that name, or in that file, with `extends`, `wraps` and `parts` followed.

    Args:
        name: card name, path of a YAML file, or `family:card` for a wrapper such as `blank-image:llava-1.5-7b`.
        cards: further folders to look in.

    Raises:
        CardError: naming file, line and field.
        UnknownNameError: with the nearest name.
    """
    extra = tuple(cards)
    text = str(name)
    family, _, inner = text.partition(":")
    if inner and family in registry.names("models"):
        wrapped = load_card(inner, cards=extra)
        made = ModelCard.model_validate(
            {"name": f"{family}--on--{wrapped.card.name}", "run": {"family": family, "wraps": wrapped.card.name}}
        )
        return LoadedCard(made, wrapped.path, wrapped)
    path = Path(text) if text.endswith((".yaml", ".yml")) else _find(text, extra)
    return _load_file(path, extra, ())


def _find(name: str, extra: tuple[Path, ...]) -> Path:
    files = card_files(extra)
    if name not in files:
        raise UnknownNameError.of("model card", name, files, "harness list models")
    if len(files[name]) > 1:
        claims = " and ".join(str(p) for p in files[name])
        raise CardError(f'the card "{name}" is claimed by {claims}; rename one, or give the path of the one you mean')
    return files[name][0]


def _load_file(path: Path, extra: tuple[Path, ...], above: tuple[Path, ...]) -> LoadedCard:
    resolved = path.resolve()
    if resolved in above:
        raise CardError(f"{path}: `extends`, `wraps` or `parts` leads back to this card; break the circle")
    document = read_yaml(path, CardError)
    data = _extended(document, extra, (*above, resolved))
    card = checked(document, ModelCard, CardError, data)
    if card.name != path.stem:
        raise CardError(
            f'{document.where(("name",))}: name: is "{card.name}"; a card\'s name is its file name, "{path.stem}"'
        )
    if card.run is not None:
        try:
            registry.entry("models", card.run.family)
        except UnknownNameError as error:
            raise CardError(f"{document.where(('run', 'family'))}: run.family: {error}") from error
    wrapped = None
    if card.run is not None and card.run.wraps is not None:
        wrapped = _load_file(_find(card.run.wraps, extra), extra, (*above, resolved))
    parts: dict[str, LoadedCard] = {}
    for part, name in (card.run.parts if card.run is not None else {}).items():
        beside = path.parent / f"{name}.yaml"
        try:
            found = beside if beside.is_file() else _find(name, extra)
        except UnknownNameError as error:
            raise CardError(f"{document.where(('run', 'parts', part))}: run.parts.{part}: {error}") from error
        parts[part] = _load_file(found, extra, (*above, resolved))
    return LoadedCard(card, path.resolve(), wrapped, parts)


def _extended(document: YamlDocument, extra: tuple[Path, ...], above: tuple[Path, ...]) -> dict[str, Any]:
    parent = document.data.get("extends")
    if not isinstance(parent, str):
        return document.data
    beside = document.path.parent / f"{parent}.yaml"
    path = beside if beside.is_file() else _find(parent, extra)
    if path.resolve() in above:
        raise CardError(f"{document.where(('extends',))}: extends: leads back to this card; break the circle")
    base = read_yaml(path, CardError)
    return merged(_extended(base, extra, (*above, path.resolve())), document.data)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the fields of `over` put in: mappings are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
