"""What is trained: a network with its vocabulary, and how a batch of examples becomes a loss.

A trainee is made from the options of a recipe and writes the folder that its model family reads, so a training is
validated through the adapter that a run uses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import TrainingError
from harness.training.examples import Example

if TYPE_CHECKING:
    import torch


class TraineeOptions(BaseModel):
    """The `network:` part of a recipe. Trainees add fields; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Trainee(ABC):
    """A network in training. Made after the random seed is set, so that its first weights follow from the recipe."""

    family: ClassVar[str]
    """Model family that reads what `save` writes."""
    options_type: ClassVar[type[TraineeOptions]] = TraineeOptions
    measured: ClassVar[int] = 2048
    """Training examples that `made` gets to measure means and deviations on."""
    network: torch.nn.Module
    """Every weight of the checkpoint; those with `requires_grad` are trained."""

    @property
    def device(self) -> torch.device:
        """Where the network is, and where the tensors of a loss have to be."""
        return next(self.network.parameters()).device

    @classmethod
    def checked(cls, options: Mapping[str, Any], where: str) -> TraineeOptions:
        """The options of a recipe, read by the trainee's own class.

        Raises:
            TrainingError: naming the file and every wrong option.
        """
        try:
            return cls.options_type.model_validate(dict(options))
        except ValidationError as error:
            faults = "; ".join(
                f"network.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)
            )
            raise TrainingError(f"{where}: {faults}") from error

    @classmethod
    @abstractmethod
    def made(cls, options: Any, texts: Sequence[str], measured: Sequence[Example]) -> Trainee:
        """A fresh network.

        Args:
            options: an instance of `options_type`.
            texts: what the vocabulary is learned from.
            measured: examples of the training set, for means and deviations that the network keeps.
        """

    @abstractmethod
    def loss(self, batch: Sequence[Example]) -> torch.Tensor:
        """Mean cross-entropy over the answer tokens of all turns of the batch, with its graph."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the checkpoint as the family reads it (config.json, model.safetensors, vocabulary) in half precision
        (float16), into an existing folder."""

    def run_part(self) -> dict[str, Any]:
        """What the card's `run:` needs beside family and checkpoint: template, prompts, options."""
        return {}

    def no_decay(self, name: str, weight: torch.Tensor) -> bool:
        """Whether weight decay leaves a weight alone: vectors, embeddings and positions."""
        return weight.ndim < 2 or any(part in name for part in ("embed", "words", "position", "places", "query_tokens"))
