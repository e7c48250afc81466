"""The mPLUG network of the family `mplug` at nano size, trained as its task `vqa`; captions have a fixed prompt.

A picture is encoded once for all turns about it. First weights have a deviation of fan-in^-1/2, since at width 128 the
usual 0.02 leaves attention flat. Texts are lower-cased, as the family reads and writes them.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import TrainingError
from harness.models.mplug.inputs import DEVIATION, MEAN, WordPieces
from harness.models.mplug.network import MplugNetwork
from harness.models.mplug.sizes import VISION_HEAD_WIDTH, Settings, Sizes
from harness.training.examples import Example, Turn
from harness.training.procedural import CHOICE_PROMPT
from harness.training.trainee import Trainee, TraineeOptions

_UNUSED = 99
_SPECIAL = ("[PAD]", *(f"[unused{number}]" for number in range(_UNUSED)), "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_IGNORED = -100
_SHORT_CHARACTERS = 16
"""Length of a short answer; the longest option of a scene's questions, `bottom right`, has twelve characters."""


class MplugTraineeOptions(TraineeOptions):
    """Sizes of the network; the defaults are those of the nano zoo."""

    width: int = Field(128, ge=VISION_HEAD_WIDTH, multiple_of=VISION_HEAD_WIDTH)
    """Of vision tower and text parts alike, so that no projection stands between them."""
    heads: int = Field(4, ge=1)
    """Attention heads of the text parts; those of the vision tower are 64 wide."""
    image_px: int = Field(64, ge=1)
    patch_px: int = Field(8, ge=1)
    vision_layers: int = Field(2, ge=1)
    text_layers: int = Field(1, ge=1)
    fusion_layers: int = Field(2, ge=1)
    stride_layer: int = Field(1, ge=1)
    """Every how many fusion layers image and text are one sequence, with a skip connection around the image."""
    decoder_layers: int = Field(3, ge=1)
    feed_forward: int = Field(384, ge=1)
    """Inner width of the text parts."""
    positions: int = Field(64, ge=2)
    """Longest text in tokens."""
    caption_prompt: str = "caption :"
    """What a run asks for a caption with; the source of captions needs the same."""

    @model_validator(mode="after")
    def _divisible(self) -> MplugTraineeOptions:
        if self.width % self.heads or self.image_px % self.patch_px:
            raise ValueError("width must be a multiple of heads, and image_px of patch_px")
        return self


class MplugTrainee(Trainee):
    """mPLUG with vision tower, text encoder, fusion encoder and text decoder."""

    family: ClassVar[str] = "mplug"
    options_type: ClassVar[type[TraineeOptions]] = MplugTraineeOptions
    network: MplugNetwork

    def __init__(self, options: MplugTraineeOptions, pieces: Sequence[str]) -> None:
        self.options = options
        self.pieces = tuple(pieces)
        with tempfile.TemporaryDirectory() as folder:
            self._write_pieces(Path(folder))
            self.words = WordPieces(Path(folder) / "vocab.txt", len(self.pieces))
        self.network = MplugNetwork(_sizes(options, len(self.pieces)))
        initialise(self.network)

    @classmethod
    def made(cls, options: Any, texts: Sequence[str], measured: Sequence[Example]) -> MplugTrainee:
        """A fresh network whose vocabulary has every word of the texts; nothing is measured on examples."""
        if not isinstance(options, MplugTraineeOptions):
            raise TrainingError(f"an mplug trainee takes MplugTraineeOptions, not {type(options).__name__}")
        return cls(options, word_pieces(texts))

    def loss(self, batch: Sequence[Example]) -> Tensor:
        """Mean cross-entropy over the answer tokens, `[SEP]` included, of all turns of the batch."""
        pixels = self.pixels(example.images[0] for example in batch).to(self.device)
        image = self.network.image_states(pixels)  # (examples, patches + 1, width)
        turns = [(number, turn) for number, example in enumerate(batch) for turn in example.turns]
        total, tokens = image.new_zeros(()), 0
        for group in _by_length(turns):
            logits, targets = self.answer_logits(image, group)
            total = total + functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
            tokens += int((targets != _IGNORED).sum())
        return total / max(tokens, 1)

    def answer_logits(self, image: Tensor, turns: Sequence[tuple[int, Turn]]) -> tuple[Tensor, Tensor]:
        """Logits (turns, tokens, vocabulary) of the answers and the ids they should give, -100 where there is padding.

        Args:
            image: states (images, patches + 1, width).
            turns: number of the image and turn.
        """
        asked = self.words.encode([turn.prompt for _, turn in turns], end=False)
        answers = self.words.encode([turn.answer for _, turn in turns], end=True)
        longest = max(*asked.lengths, *answers.lengths)
        if longest > self.options.positions:
            raise TrainingError(f"a text has {longest} tokens and network.positions is {self.options.positions}")
        index = torch.tensor([number for number, _ in turns], device=image.device)
        ids, mask = asked.ids.to(image.device), asked.mask.to(image.device)
        context = self.network.decoder_context(image[index], ids, mask)
        # Padding is on the right, where the causal mask keeps it from every token that counts.
        written = answers.ids.to(image.device)
        logits = self.network.text_decoder(written[:, :-1], context)
        return logits, written[:, 1:].masked_fill(answers.mask[:, 1:].to(image.device) == 0, _IGNORED)

    def pixels(self, images: Iterable[np.ndarray[Any, np.dtype[np.uint8]]]) -> Tensor:
        """Pictures as the family makes them, (images, 3, side, side); those of the right size are not resized."""
        side = self.options.image_px
        squares = np.stack([_square(image, side) for image in images])  # (images, rows, columns, 3)
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        return (torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255 - mean) / deviation

    def save(self, folder: Path) -> None:
        """Write model.safetensors in float16, config.json and vocab.txt."""
        from safetensors.torch import save_file

        state = {key: weight.to(torch.float16).contiguous() for key, weight in self.network.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        sizes, settings = self.network.sizes, self.network.sizes.settings
        config = {
            "model_type": "mplug",
            "torch_dtype": "float16",
            "image_res": settings.image_px,
            "num_attention_heads": settings.heads,
            "fusion_layers": settings.fusion_layers,
            "stride_layer": settings.stride_layer,
            "text_encoder_layers": sizes.text_layers,
            "num_hidden_layers": sizes.fusion_stored,
            "text_decode_layers": sizes.decoder_layers,
            "hidden_size": sizes.hidden,
            "intermediate_size": sizes.feed_forward,
            "max_position_embeddings": sizes.positions,
            "vocab_size": sizes.vocabulary,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        self._write_pieces(folder)

    def run_part(self) -> dict[str, Any]:
        """Task, prompts as trained, and greedy answers within the decoder's positions."""
        return {
            "options": {"task": "vqa"},
            "prompts": {"captioning": self.options.caption_prompt, "multiple-choice": CHOICE_PROMPT},
            "generation": {
                "*": {"num_beams": 1, "min_new_tokens": 0, "max_new_tokens": min(48, self.options.positions)}
            },
        }

    def _write_pieces(self, folder: Path) -> None:
        (folder / "vocab.txt").write_text("\n".join(self.pieces) + "\n", encoding="utf-8")


def word_pieces(texts: Iterable[str]) -> list[str]:
    """A BERT vocabulary of whole words: special tokens in BERT's places, then the texts' words, frequent first."""
    from tokenizers import normalizers, pre_tokenizers

    plain, split = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(plain.normalize_str(text)))
    return [*_SPECIAL, *sorted(counts, key=lambda word: (-counts[word], word))]


def initialise(network: MplugNetwork) -> None:
    """Give every weight its first value from torch's generator.

    Matrices have a deviation of fan-in^-1/2, those that end a residual branch less by the square root of the number of
    branches; image positions are a row's and a column's vector of 0.3, words and their positions 0.06.
    """
    sizes = network.sizes
    depths = {
        "visual_encoder": sizes.vision_layers,
        "text_encoder": sizes.text_layers,
        "fusion_encoder": len(sizes.fusion_range),
        "text_decoder": sizes.decoder_layers,
    }
    with torch.no_grad():
        for name, module in network.named_modules():
            depth = depths.get(name.partition(".")[0], 1)
            ends_branch = name.endswith(("out_proj", "c_proj", "output.dense"))
            if isinstance(module, nn.Linear | nn.Conv2d):
                deviation = module.weight[0].numel() ** -0.5
                nn.init.normal_(module.weight, std=deviation / math.sqrt(2 * depth) if ends_branch else deviation)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.0 if "token_type" in name else 0.06)
        for name, weight in network.named_parameters():
            if name.endswith("in_proj_weight"):
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
            elif name.endswith("in_proj_bias"):
                nn.init.zeros_(weight)
        tower = network.visual_encoder.visual
        nn.init.normal_(tower.class_embedding, std=0.3)
        grid = sizes.settings.image_px // sizes.patch_px
        rows, columns = (0.3 * torch.randn(grid, sizes.vision_width) for _ in range(2))
        tower.positional_embedding[0] = 0.3 * torch.randn(sizes.vision_width)
        tower.positional_embedding[1:] = (rows[:, None] + columns[None]).flatten(0, 1)


def _sizes(options: MplugTraineeOptions, vocabulary: int) -> Sizes:
    return Sizes(
        task="vqa",
        settings=Settings(options.heads, options.image_px, options.fusion_layers, options.stride_layer),
        vision_width=options.width,
        vision_layers=options.vision_layers,
        patch_px=options.patch_px,
        hidden=options.width,
        feed_forward=options.feed_forward,
        positions=options.positions,
        vocabulary=vocabulary,
        text_layers=options.text_layers,
        fusion_stored=options.fusion_layers,
        decoder_layers=options.decoder_layers,
    )


def _by_length(turns: Sequence[tuple[int, Turn]]) -> list[list[tuple[int, Turn]]]:
    """The turns in up to two groups, short answers and long ones, so that few tokens are padding."""
    short = [item for item in turns if len(item[1].answer) <= _SHORT_CHARACTERS]
    long = [item for item in turns if len(item[1].answer) > _SHORT_CHARACTERS]
    return [group for group in (short, long) if group]


def _square(image: np.ndarray[Any, np.dtype[np.uint8]], side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture as RGB (side, side, 3)."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.shape[:2] == (side, side):
        return image
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
