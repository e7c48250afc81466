"""From a text to a picture by way of wavelet coefficients: the network `painter`, its bins and its source.

The text is read by a recurrent network. Each cell of the picture has a query vector that looks at the text and gives,
for each coefficient of the cell, a class: one of a few bins whose values were measured on the training set. Decoding
takes the likeliest class, or draws one with a seed, and inverts the transform.

Classes are independent given the text, so the text has to settle the picture: `SettledScenes` keeps each shape in the
middle of its quarter, upright and of one radius for each size. Where a small shape may stand anywhere in its quarter,
the likeliest value of every coefficient is that of the ground.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import ModelError, TrainingError
from harness.mini import scenes
from harness.mini.canvas import Pixels
from harness.mini.streams import Dice
from harness.models.wavelet.design import Design
from harness.models.wavelet.front_end import Places, coloured
from harness.models.wavelet.layouts import bands_of, groups_of
from harness.models.wavelet.transform import decompose, recompose
from harness.training.examples import Example, Turn
from harness.training.trainee import Trainee, TraineeOptions
from harness.training.vocabulary import PAD, learned

_ROUNDS = 12
_CHUNK = 64


class PainterOptions(TraineeOptions):
    """Sizes of the painter."""

    height: int = Field(64, ge=8)
    width_px: int = Field(64, ge=8)
    wavelet: str = "haar"
    bins: tuple[int, ...] = Field((5, 9, 24), min_length=1)
    """Classes of a coefficient, by level, finest first; as many levels as there are entries."""
    width: int = Field(128, ge=8)
    heads: int = Field(4, ge=1)
    layers: int = Field(2, ge=1)
    """How often a cell looks at the text."""
    vocabulary: int = Field(400, ge=200)

    @property
    def design(self) -> Design:
        """The transform: block layout, luminance and chrominance, nothing normalised."""
        return Design(wavelet=self.wavelet, levels=len(self.bins), normalise="none", projection="dense", merge=1)


def settled(layout: scenes.Layout) -> scenes.Layout:
    """The layout with each shape in the middle of its quarter, upright, with the larger radius of its size."""
    things = (replace(t, radius_px=max(scenes.RADII[t.size]), turn_deg=0, shift=(0.5, 0.5)) for t in layout.things)
    return replace(layout, things=tuple(things))


def request(layout: scenes.Layout) -> str:
    """What a painter is asked for: size, colour, shape and place of each shape, and the ground."""
    parts = [f"a {t.size} {t.colour} {t.shape} at the {t.place}" for t in layout.things]
    return f"{scenes.listing(parts)} on a {layout.ground} background"


@dataclass(frozen=True, slots=True)
class SettledScenes:
    """Scenes that their text settles; the prompt is the text, there is no answer."""

    def draw(self, rng: np.random.Generator, progress: float) -> Example:
        """A settled scene with its text."""
        return self.held_out(rng)

    def held_out(self, rng: np.random.Generator) -> Example:
        """A settled scene with its text."""
        layout = settled(scenes.plan(Dice(rng)))
        return Example((scenes.render(layout),), (Turn(request(layout), ""),), "scene")

    def texts(self) -> Sequence[str]:
        """The texts of two thousand scenes."""
        rng = np.random.default_rng(0)
        return [request(scenes.plan(Dice(rng))) for _ in range(2000)]


class Bins(nn.Module):
    """The classes of a level's coefficients: the value of each class and the edges between them.

    One set for each coefficient of a cell, the same in all cells.
    """

    values: Tensor
    edges: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(features, classes))
        self.register_buffer("edges", torch.zeros(features, classes - 1))

    def measure(self, samples: Tensor) -> None:
        """Take values and edges from samples (number, features): medians of clusters, begun evenly over the range.

        A median keeps a value that is taken often, such as 0 or that of a ground, as it is.
        """
        columns = samples.double().sort(dim=0).values.T.contiguous()
        features, number = columns.shape
        low, high = (columns[:, int(share * (number - 1))][:, None] for share in (0.001, 0.999))
        values = torch.linspace(0, 1, self.values.shape[1], dtype=torch.double) * (high - low) + low
        for _ in range(_ROUNDS):
            cuts = torch.searchsorted(columns, (values[:, 1:] + values[:, :-1]) / 2)
            begin = torch.cat([cuts.new_zeros(features, 1), cuts], dim=1)
            end = torch.cat([cuts, cuts.new_full((features, 1), number)], dim=1)
            middle = columns.gather(1, ((begin + end) // 2).clamp(max=number - 1))
            values = torch.where(end > begin, middle, values).sort(dim=1).values
        self.values.copy_(values)
        self.edges.copy_((values[:, 1:] + values[:, :-1]) / 2)

    def classes(self, features: Tensor) -> Tensor:
        """(…, features) → the class of each."""
        return (features[..., None] > self.edges).sum(-1)

    def of(self, classes: Tensor) -> Tensor:
        """The values of classes (…, features)."""
        rows = torch.arange(len(self.values)).expand_as(classes)
        return self.values[rows, classes]


class Look(nn.Module):
    """Cells look at a text, then each is changed by itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.memory, self.outputs = (nn.Linear(width, n * width) for n in (1, 2, 1))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, cells: Tensor, text: Tensor, read: Tensor) -> Tensor:
        """(batch, cells, width) and (batch, words, width) of which `read` (batch, words) are no padding."""

        def by_head(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        query = by_head(self.query(self.norm(cells)))
        key, value = (by_head(half.contiguous()) for half in self.memory(text).chunk(2, dim=-1))
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=read[:, None, None])
        cells = cells + self.outputs(seen.transpose(1, 2).flatten(2))
        changed: Tensor = cells + self.down(functional.gelu(self.up(self.mlp_norm(cells))))
        return changed


class PainterNetwork(nn.Module):
    """Texts to the classes of all coefficients."""

    def __init__(self, options: PainterOptions, vocabulary: int) -> None:
        super().__init__()
        width, design = options.width, options.design
        rows, columns = design.grid(options.height, options.width_px)
        self.words = nn.Embedding(vocabulary, width)
        self.reader = nn.GRU(width, width, batch_first=True)
        self.text_norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(rows * columns, width) * 0.06)
        self.places = Places(rows, columns, width)
        self.looks = nn.ModuleList(Look(width, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(width)
        sizes = list(zip(design.group_sizes(), options.bins, strict=True))
        self.bins = nn.ModuleList(Bins(size, classes) for size, classes in sizes)
        self.heads = nn.ModuleList(nn.Linear(width, size * classes) for size, classes in sizes)

    def forward(self, ids: Tensor) -> list[Tensor]:
        """(batch, words) → logits (batch, cells, coefficients, classes) of each level, finest first."""
        text = self.text_norm(self.reader(self.words(ids))[0])
        cells = self.places(self.queries.expand(len(ids), -1, -1))
        for look in self.looks:
            cells = look(cells, text, ids != PAD)
        cells = self.norm(cells)
        return [head(cells).unflatten(-1, b.values.shape) for head, b in zip(self.heads, self.bins, strict=True)]


class Painter(Trainee):
    """The painter in training and at work."""

    family: ClassVar[str] = "none"
    options_type: ClassVar[type[TraineeOptions]] = PainterOptions
    network: PainterNetwork

    def __init__(self, options: PainterOptions, network: PainterNetwork, tokenizer: Any) -> None:
        self.options = options
        self.network = network
        self.tokenizer = tokenizer

    @classmethod
    def made(cls, options: Any, texts: Sequence[str], measured: Sequence[Example]) -> Painter:
        """A fresh painter with bins of the measured pictures."""
        tokenizer = learned(texts, options.vocabulary)
        painter = cls(options, PainterNetwork(options, len(tokenizer)), tokenizer)
        for bins, group in zip(painter.network.bins, painter.groups([e.images[0] for e in measured]), strict=True):
            assert isinstance(bins, Bins)
            bins.measure(group.flatten(0, 1))
        return painter

    @classmethod
    def opened(cls, folder: Path) -> Painter:
        """The painter that `save` wrote.

        Raises:
            ModelError: a file is missing, or does not belong to the others.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from transformers import PreTrainedTokenizerFast

        try:
            options = PainterOptions.model_validate(json.loads((folder / "painter.json").read_text(encoding="utf-8")))
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
            network = PainterNetwork(options, len(tokenizer))
            network.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: holds no whole painter ({error}); train it again") from error
        return cls(options, network.eval(), tokenizer)

    def save(self, folder: Path) -> None:
        """Write painter.json, model.safetensors (float32) and the vocabulary."""
        from safetensors.torch import save_file

        state = {name: w.detach().cpu().contiguous() for name, w in self.network.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        self.tokenizer.save_pretrained(folder)
        text = json.dumps(self.options.model_dump(mode="json"), indent=1)
        (folder / "painter.json").write_text(f"{text}\n", encoding="utf-8")

    def loss(self, batch: Sequence[Example]) -> Tensor:
        """Cross-entropy of the classes: the mean within each level, summed over levels, so that the few coarse
        coefficients count as much as the many fine ones."""
        logits = self.network(self.ids([e.turns[0].prompt for e in batch]))
        wanted = self.classes([e.images[0] for e in batch])
        losses = [
            functional.cross_entropy(given.flatten(0, 2), classes.flatten())
            for given, classes in zip(logits, wanted, strict=True)
        ]
        return torch.stack(losses).sum()

    def ids(self, texts: Sequence[str]) -> Tensor:
        """(texts, words), padded on the right."""
        rows = [self.tokenizer(f" {text}", add_special_tokens=False).input_ids for text in texts]
        longest = max(map(len, rows))
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])

    def groups(self, pictures: Sequence[Pixels]) -> list[Tensor]:
        """Coefficients (pictures, cells, coefficients) of each level, finest first.

        Raises:
            TrainingError: a picture of another size than the painter's.
        """
        size = (self.options.height, self.options.width_px, 3)
        wrong = next((p.shape for p in pictures if p.shape != size), None)
        if wrong is not None:
            raise TrainingError(f"a picture is {wrong}, the painter paints {size}; correct network.height and width_px")
        design = self.options.design
        planes = coloured(torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float(), design)
        return groups_of(*decompose(planes, self.options.wavelet, design.levels), design.layout)

    def classes(self, pictures: Sequence[Pixels]) -> list[Tensor]:
        """The classes of the coefficients of pictures, by level."""
        return [b.classes(g) for b, g in zip(self.network.bins, self.groups(pictures), strict=True)]  # type: ignore[operator]

    def pictures_of(self, classes: Sequence[Tensor]) -> list[Pixels]:
        """The pictures of classes (pictures, cells, coefficients) of each level: what is lost is what bins lose."""
        design = self.options.design
        groups = [b.of(c) for b, c in zip(self.network.bins, classes, strict=True)]  # type: ignore[operator]
        rows, columns = design.grid(self.options.height, self.options.width_px)
        bands = bands_of(groups, rows, columns, design.channels, design.layout)
        return list(rgb_of(recompose(*bands, self.options.wavelet), design))

    @torch.inference_mode()
    def paint(self, texts: Sequence[str], *, seed: int | None = None) -> list[Pixels]:
        """A picture for each text: the likeliest classes, or, with a seed, classes drawn by their probabilities."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        pictures: list[Pixels] = []
        for start in range(0, len(texts), _CHUNK):
            logits = self.network(self.ids(texts[start : start + _CHUNK]))
            pictures += self.pictures_of([_chosen(level, generator) for level in logits])
        return pictures


def _chosen(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return logits.argmax(-1)
    drawn = torch.multinomial(logits.flatten(0, -2).softmax(-1), 1, generator=generator)
    return drawn.view(logits.shape[:-1])


def rgb_of(planes: Tensor, design: Design) -> Pixels:
    """Pixels (pictures, height, width, 3) of planes of luminance and chrominance: the inverse of `coloured`."""
    luma, blue, red = (planes / design.scale + 127.5 * design.centre).unbind(1)
    b, r = luma + (blue - 127.5) / 0.564, luma + (red - 127.5) / 0.713
    g = (luma - 0.299 * r - 0.114 * b) / 0.587
    pixels: Pixels = torch.stack([r, g, b], dim=-1).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels
