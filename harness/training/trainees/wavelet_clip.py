"""A wavelet eye in training to give the image embeddings of a frozen CLIP."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import ModelError, TrainingError
from harness.mini.canvas import Pixels
from harness.models.clip import Clip
from harness.models.wavelet.design import Design
from harness.models.wavelet.network import Eye
from harness.records import ModelSettings
from harness.training.examples import Example
from harness.training.trainee import Trainee, TraineeOptions

_CHUNK = 64


class WaveletClipOptions(TraineeOptions):
    """Sizes and design of the eye, and the CLIP whose embeddings it learns."""

    clip: str
    """Folder of a CLIP checkpoint of transformers, or a hub id that is in the local cache."""
    design: Design = Design()
    height: int = Field(64, ge=8)
    """Pixels; pictures are resized to this size whatever their aspect, and CLIP reads them as they are."""
    width_px: int = Field(64, ge=8)
    width: int = Field(128, ge=8)
    heads: int = Field(4, ge=1)


class Embedder(nn.Module):
    """An eye, the mean of its vectors, and a projection."""

    def __init__(self, options: WaveletClipOptions, dimensions: int) -> None:
        super().__init__()
        self.eye = Eye(options.design, options.height, options.width_px, options.width, options.heads)
        self.norm = nn.LayerNorm(options.width)
        self.projection = nn.Linear(options.width, dimensions)

    def forward(self, pixels: Tensor) -> Tensor:
        """(pictures, channels, height, width) of 0 to 255 → (pictures, dimensions) of length 1."""
        pooled = self.norm(self.eye(pixels).mean(dim=1))
        return functional.normalize(self.projection(pooled), dim=-1)


class WaveletClipTrainee(Trainee):
    """The embedder; CLIP stands beside it and is neither trained nor saved."""

    family: ClassVar[str] = "none"
    options_type: ClassVar[type[TraineeOptions]] = WaveletClipOptions
    network: Embedder

    def __init__(self, options: WaveletClipOptions, network: Embedder, clip: Clip | None) -> None:
        self.options = options
        self.network = network
        self._clip = clip

    @classmethod
    def made(cls, options: Any, texts: Sequence[str], measured: Sequence[Example]) -> WaveletClipTrainee:
        """A fresh embedder that begins near the mean of CLIP's embeddings of the measured pictures.

        Raises:
            TrainingError: there is no CLIP where the options say.
        """
        clip = loaded_clip(options.clip)
        pictures = [image for e in measured for image in e.images]
        targets = _targets(clip, pictures)
        trainee = cls(options, Embedder(options, targets.shape[1]), clip)
        trainee.network.eye.front_end.measure(
            trainee.pixels(pictures[i : i + _CHUNK]) for i in range(0, len(pictures), _CHUNK)
        )
        with torch.no_grad():
            trainee.network.projection.bias.copy_(functional.normalize(targets.mean(0), dim=0))
        return trainee

    @classmethod
    def opened(cls, folder: Path) -> WaveletClipTrainee:
        """The embedder that `save` wrote, without its CLIP.

        Raises:
            ModelError: a file is missing, or does not belong to the other.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            stored = json.loads((folder / "embedder.json").read_text(encoding="utf-8"))
            options = WaveletClipOptions.model_validate(stored["options"])
            network = Embedder(options, int(stored["dimensions"]))
            network.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: holds no whole embedder ({error}); train it again") from error
        return cls(options, network.eval(), None)

    def save(self, folder: Path) -> None:
        """Write embedder.json and model.safetensors (float32)."""
        from safetensors.torch import save_file

        state = {name: w.detach().cpu().contiguous() for name, w in self.network.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        dimensions = self.network.projection.out_features
        content = {"options": self.options.model_dump(mode="json"), "dimensions": dimensions}
        (folder / "embedder.json").write_text(f"{json.dumps(content, indent=1)}\n", encoding="utf-8")

    def loss(self, batch: Sequence[Example]) -> Tensor:
        """1 - cosine between the two embeddings, the mean over all pictures of the batch."""
        pictures = list(itertools.chain.from_iterable(e.images for e in batch))
        cosines: Tensor = (self.network(self.pixels(pictures)) * self.targets(pictures)).sum(-1)
        return 1 - cosines.mean()

    def targets(self, pictures: Sequence[Pixels]) -> Tensor:
        """CLIP's embeddings (pictures, dimensions) of length 1."""
        if self._clip is None:
            raise TrainingError("this embedder was opened without its CLIP; make a trainee of its recipe")
        return _targets(self._clip, pictures)

    @torch.no_grad()
    def embeddings(self, pictures: Sequence[Pixels]) -> Tensor:
        """The embedder's own embeddings (pictures, dimensions) of length 1."""
        chunks = (pictures[i : i + _CHUNK] for i in range(0, len(pictures), _CHUNK))
        return torch.cat([self.network(self.pixels(chunk)) for chunk in chunks])

    def pixels(self, pictures: Sequence[Pixels]) -> Tensor:
        """(pictures, channels, height, width) at the eye's size."""
        size = (self.options.width_px, self.options.height)
        planes = []
        for picture in pictures:
            image = _image(picture)
            image = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
            planes.append(np.asarray(image).transpose(2, 0, 1))
        return torch.from_numpy(np.stack(planes)).float()


def loaded_clip(place: str) -> Clip:
    """The frozen CLIP of a folder or of the hub's local cache.

    Raises:
        TrainingError: it is not there, or damaged, with the command that fetches one.
    """
    try:
        clip = Clip.load(ModelSettings(name="network.clip", family="clip", checkpoint=place, dtype="float32"))
    except ModelError as error:
        raise TrainingError(
            f"{error}; any CLIP of transformers will do, such as "
            "`hf download openai/clip-vit-base-patch32 --local-dir FOLDER` with clip: FOLDER"
        ) from error
    assert isinstance(clip, Clip)
    clip.model.requires_grad_(False)
    return clip


@torch.no_grad()
def _targets(clip: Clip, pictures: Sequence[Pixels]) -> Tensor:
    chunks = (pictures[i : i + _CHUNK] for i in range(0, len(pictures), _CHUNK))
    vectors = [clip.embed_images([_image(p) for p in chunk]).float().cpu() for chunk in chunks]
    return functional.normalize(torch.cat(vectors), dim=-1)


def _image(picture: Pixels) -> Image.Image:
    return Image.fromarray(picture).convert("RGB")
