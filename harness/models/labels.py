"""Models that answer with one of a fixed list of labels: classifiers of images, and of questions with images.

`generate` gives the label with the highest logit; `choose` compares only the labels that a request's options name. The
labels are those of config.json, or of the file in the option `labels`.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import ModelError
from harness.fingerprint import file_sha256
from harness.models.base import Generation, ModelInput, Options
from harness.models.checkpoint import Checkpoint
from harness.models.choosing import chosen, nothing_to_choose
from harness.models.decoding import library_errors
from harness.models.transformers_base import Prepared, TransformersModel, TransformersOptions
from harness.records import GenerationSettings, ModelSettings, Problem

if TYPE_CHECKING:
    import torch

_UNNAMED = re.compile(r"LABEL_\d+")


class LabelOptions(TransformersOptions):
    """Options of a family that answers with labels."""

    labels: str | None = None
    """File of the labels in the order of the model's outputs: a text file with one a line, a JSON list, or a JSON
    object `{"0": label}`. Without it those of config.json."""


class LabelModel(TransformersModel):
    """A model with one logit for each label."""

    options_type: ClassVar[type[Options]] = LabelOptions
    options: LabelOptions

    def __init__(self, settings: ModelSettings, options: Any, model: Any, processor: Any, device: str) -> None:
        super().__init__(settings, options, model, processor, device)
        self.labels = self._labels()
        self._by_name = _names(self.labels)

    @abstractmethod
    def logits(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """One row of logits for each input (rows, labels)."""

    def label_count(self) -> int:
        """How many outputs the model has."""
        return int(self.model.config.num_labels)

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The file of labels by its bytes."""
        return {"labels": None if options.labels is None else file_sha256(_label_file(settings, options.labels))}, ()

    def _labels(self) -> tuple[str, ...]:
        """The labels in the order of the outputs.

        Raises:
            ModelError: there are none, or not as many as outputs.
        """
        if self.options.labels is not None:
            path = _label_file(self.settings, self.options.labels)
            labels, where = read_labels(path), str(path)
        else:
            stored = self.model.config.id2label or {}
            labels, where = tuple(str(stored[place]) for place in sorted(stored)), "id2label of config.json"
            if labels and all(_UNNAMED.fullmatch(label) for label in labels):
                raise ModelError(
                    f"{self.settings.name}: config.json does not name its labels (LABEL_0, …); "
                    "give a file of them in run.options.labels"
                )
        if len(labels) != self.label_count():
            raise ModelError(
                f"{self.settings.name}: {where} has {len(labels)} labels and the model {self.label_count()} outputs; "
                "give the right list in run.options.labels"
            )
        return labels

    def padding_side(self) -> str:
        """Texts are padded on the right."""
        return "right"

    def position_limit(self) -> int | None:
        """Nothing is generated; texts are cut where the family says so."""
        return None

    def _scores(self, prepared: Prepared) -> torch.Tensor:
        """Log-probabilities of the labels (rows, labels) on the CPU."""
        import torch

        with library_errors(self.family, [i.request.sample_id for i in prepared.items]), torch.inference_mode():
            return self.logits(self.on_device(prepared.tensors)).float().log_softmax(dim=-1).cpu()

    def generate(self, prepared: Prepared, settings: GenerationSettings) -> list[Generation | Problem]:
        """The likeliest label of each input, the first of equals."""
        if not prepared.items:
            return prepared.merged([])
        best = self._scores(prepared).argmax(dim=-1).tolist()
        return prepared.merged(
            [
                Generation(self.labels[row], tokens or None, 1)
                for row, tokens in zip(best, prepared.prompt_tokens, strict=True)
            ]
        )

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The likeliest of each request's options, by log p(label) over all labels; one request at a time."""
        return [nothing_to_choose(item.request.choices) or self._chosen(item) for item in batch]

    def _chosen(self, item: ModelInput) -> Generation | Problem:
        rows: list[int] = []
        for choice in item.request.choices:
            found = self._by_name.get(_form(choice), ())
            if len(found) != 1:
                kind = "ambiguous_label" if found else "unknown_label"
                many = f"{len(found)} labels" if found else f"none of the {len(self.labels)} labels"
                return Problem(kind, f"the option {choice!r} names {many} of {self.settings.name}")
            rows.append(found[0])
        prepared = self.prepare([item])
        if prepared.problems:
            return prepared.problems[0]
        scores = self._scores(prepared)[0]
        return chosen(item.request.choices, [float(scores[row]) for row in rows], prepared.prompt_tokens[0] or None)


def _form(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())


def _names(labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Name → rows that have it: whole labels first, then the synonyms of labels such as "tench, Tinca tinca"."""
    names: dict[str, tuple[int, ...]] = {}
    for row, label in enumerate(labels):
        names[_form(label)] = (*names.get(_form(label), ()), row)
    synonyms: dict[str, tuple[int, ...]] = {}
    for row, label in enumerate(labels):
        for part in {_form(part) for part in label.split(",")} - set(names):
            synonyms[part] = (*synonyms.get(part, ()), row)
    return {**synonyms, **names}


def _label_file(settings: ModelSettings, given: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise ModelError(f"{settings.name}: run.options.labels: there is no file {path}; give a file of labels")
    return path


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a file, in order; see `LabelOptions.labels`.

    Raises:
        ModelError: the file is not UTF-8 or not of one of the three forms.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except ValueError as error:
        raise ModelError(f"{path}: no list of labels: {error}") from error
    if isinstance(value, dict) and all(str(key).isdigit() for key in value):
        value = [value[key] for key in sorted(value, key=int)]
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise ModelError(f'{path}: no list of labels; give a JSON list of texts, {{"0": label}}, or one a line')
    return tuple(label.strip() for label in value)
