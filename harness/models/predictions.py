"""A file of answers as a model: other people's predictions go through the same tasks, metrics and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import ModelError, PredictionError
from harness.fingerprint import file_sha256
from harness.models.base import Example, Generation, Model, ModelInput, Options, checked_options
from harness.predictions.reading import read_predictions
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem


class PredictionOptions(Options):
    """Where the answers are."""

    path: str
    """The file of answers."""
    format: str | None = None
    """Name of the file's form; recognised by content where `None`."""
    dataset: str | None = None
    """The benchmark that the answers belong to, for forms that do not say."""


class PredictionFile(Model):
    """Answers read from a file and found by sample id; the prompt and the image play no part."""

    family = "predictions"
    options_type: ClassVar[type[Options]] = PredictionOptions

    def __init__(self, settings: ModelSettings, path: Path, answers: dict[str, str]) -> None:
        super().__init__(settings)
        self.path = path
        self.answers = answers

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """Any number of images; the answer depends on the sample."""
        return Capabilities(
            min_images=0,
            max_images=None,
            depends_on_sample=True,
            max_audio=None,
            can_retrieve=True,
            reads_pixels=False,
        )

    @classmethod
    def _path(cls, settings: ModelSettings) -> tuple[PredictionOptions, Path]:
        options = checked_options(settings, PredictionOptions)
        path = Path(options.path).expanduser()
        if not path.is_file():
            raise ModelError(
                f"{settings.name}: run.options.path: there is no file {path}; give a file of answers, "
                "and the benchmarks' folder with --data DIR where the name begins with data:"
            )
        return options, path

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """The file by its bytes; it is not read in."""
        options, path = cls._path(settings)
        processing = {"format": options.format, "dataset": options.dataset}
        return ModelIdentity(settings, f"sha256:{file_sha256(path)}", processing)

    @classmethod
    def load(cls, settings: ModelSettings) -> PredictionFile:
        """The answers by sample id.

        Raises:
            ModelError: the file cannot be read, or answers one sample twice in different words.
        """
        options, path = cls._path(settings)
        try:
            file = read_predictions(path, format=options.format, dataset=options.dataset)
        except PredictionError as error:
            raise ModelError(f"{settings.name}: {error}") from error
        answers: dict[str, str] = {}
        for prediction in file.predictions:
            if answers.setdefault(prediction.sample_id, prediction.text) != prediction.text:
                raise ModelError(f"{settings.name}: {path} has two answers for sample {prediction.sample_id}; keep one")
        return cls(settings, path, answers)

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        """The file's answers as they are; a sample that the file lacks is a problem of that sample alone."""
        batch: Sequence[ModelInput] = prepared
        return [self._answer(item.request.sample_id) for item in batch]

    def fit(self, examples: Iterable[Example]) -> None:
        """Nothing: rankings of candidates are in the file too."""

    def retrieve(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The file's rankings: each answer a JSON list of ids."""
        return [self._answer(item.request.sample_id) for item in batch]

    def _answer(self, sample_id: str) -> Generation | Problem:
        text = self.answers.get(sample_id)
        if text is None:
            return Problem("no_prediction", f"{self.path.name} has no answer for sample {sample_id}")
        return Generation(text)
