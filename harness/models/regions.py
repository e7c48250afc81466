"""VisualBERT and LXMERT: answers to questions from region features of a detector, which are given as files.

Neither sees pixels: a sample without features has no answer (`no_features`). VisualBERT's head reads the last token but
one before the padding, where the original code puts `[MASK]` behind the question; the template does so. The labels of
the released checkpoints are in files of their own (option `labels`), and their vocabulary is that of bert-base-uncased
(option `tokenizer`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from harness.errors import ModelError
from harness.fingerprint import file_sha256
from harness.models.base import ModelInput, Options
from harness.models.checkpoint import Checkpoint
from harness.models.labels import LabelModel, LabelOptions
from harness.models.loading import load_processor
from harness.models.region_features import RegionFeatures, Regions
from harness.records import Capabilities, ModelSettings, Problem

if TYPE_CHECKING:
    import torch


class RegionOptions(LabelOptions):
    """Options of a family that reads region features."""

    attention: Literal["eager"] = "eager"
    """The library has no other kernel for these models."""
    features: str
    """Folder or file of region features; see `harness.models.region_features`."""
    tokenizer: str | None = None
    """Folder of the tokenizer where the checkpoint has none."""


class RegionModel(LabelModel):
    """What the two families share."""

    options_type: ClassVar[type[Options]] = RegionOptions
    options: RegionOptions
    processor_class = "BertTokenizer"
    needs_boxes: ClassVar[bool]

    def __init__(self, settings: ModelSettings, options: Any, model: Any, processor: Any, device: str) -> None:
        super().__init__(settings, options, model, processor, device)
        self._features = RegionFeatures(Path(self.options.features).expanduser())

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """One image, of which only its features are read; options that are labels can be compared."""
        return Capabilities(
            min_images=1,
            max_images=1,
            batching="padded",
            can_choose=True,
            depends_on_sample=True,
            reads_pixels=False,
        )

    @classmethod
    def input_settings(
        cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Labels, features and tokenizer by their bytes."""
        shared, warnings = super().input_settings(settings, options, checkpoint)
        features = RegionFeatures(Path(options.features).expanduser()).identity()
        return {**shared, "features": features, "tokenizer": _tokenizer_files(settings, options)}, warnings

    @classmethod
    def load_processor(cls, settings: ModelSettings, options: Any, checkpoint: Checkpoint) -> Any:
        """The tokenizer of the checkpoint, or of the option's folder."""
        folder = checkpoint.folder if options.tokenizer is None else _tokenizer_folder(settings, options.tokenizer)
        if not any((folder / name).is_file() for name in ("vocab.txt", "tokenizer.json")):
            raise ModelError(
                f"{settings.name}: {folder} has no vocab.txt and no tokenizer.json; give the folder of "
                "bert-base-uncased in run.options.tokenizer"
            )
        return load_processor(settings, cls.processor_class, folder, options.processor)

    @abstractmethod
    def feature_width(self) -> int:
        """Length of a region's feature vector."""

    def check_processor(self) -> None:
        """Refuse a tokenizer whose ids do not fit the model's table."""
        if len(self.processor) > self.model.config.vocab_size:
            raise ModelError(
                f"{self.settings.name}: the tokenizer has {len(self.processor)} tokens and the model "
                f"{self.model.config.vocab_size}; give the tokenizer of the checkpoint"
            )

    def _regions(self, item: ModelInput) -> Regions | Problem:
        keys = [*item.request.images[:1], item.request.sample_id]
        return self._features.find(keys, width=self.feature_width(), needs_boxes=self.needs_boxes)

    def problem_of(self, item: ModelInput) -> Problem | None:
        """A sample needs features that are there, and a question."""
        if not item.request.prompt.strip():
            return Problem("no_prompt", f"{self.settings.name} answers questions; the prompt is empty")
        found = self._regions(item)
        return found if isinstance(found, Problem) else None

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Ids, types and mask (rows, tokens), features (rows, regions, width), boxes, and the regions' mask."""
        text = self.processor(
            [item.request.prompt for item in items],
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self.model.config.max_position_embeddings,
            return_tensors="pt",
        )
        tensors = {k: text[k] for k in ("input_ids", "token_type_ids", "attention_mask")}
        tensors |= self._visual([self._found(item) for item in items])
        return tensors, tuple(int(n) for n in text["attention_mask"].sum(dim=1))

    def _found(self, item: ModelInput) -> Regions:
        regions = self._regions(item)
        if isinstance(regions, Problem):
            raise ModelError(f"sample {item.request.sample_id}: {regions.message}")
        return regions

    def _visual(self, regions: Sequence[Regions]) -> dict[str, torch.Tensor]:
        """Features, mask and boxes of images with unlike numbers of regions, padded with zeros."""
        import torch

        longest = max(len(r.features) for r in regions)
        features = np.zeros((len(regions), longest, self.feature_width()), dtype=np.float32)
        boxes = np.zeros((len(regions), longest, 4), dtype=np.float32)
        mask = np.zeros((len(regions), longest), dtype=np.int64)
        for row, found in enumerate(regions):
            count = len(found.features)
            features[row, :count], mask[row, :count] = found.features, 1
            if found.boxes is not None:
                boxes[row, :count] = found.boxes
        return {
            "features": torch.from_numpy(features),
            "boxes": torch.from_numpy(boxes),
            "regions": torch.from_numpy(mask),
        }


class VisualBert(RegionModel):
    """A VisualBERT checkpoint for questions (`VisualBertForQuestionAnswering`)."""

    family = "visualbert"
    template = "{{ text }} [MASK]"
    model_type = "visual_bert"
    model_class = "VisualBertForQuestionAnswering"
    needs_boxes = False

    def feature_width(self) -> int:
        """`visual_embedding_dim`: 2048 in the released checkpoints for questions."""
        return int(self.model.config.visual_embedding_dim)

    def problem_of(self, item: ModelInput) -> Problem | None:
        """The prompt must end with the mask, which the head reads."""
        if item.request.prompt.rstrip().endswith(self.processor.mask_token):
            return super().problem_of(item)
        return Problem("no_mask", f"the prompt must end with {self.processor.mask_token}; correct run.template")

    def logits(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The head's outputs (rows, labels); all regions are of type 1, as the authors set it."""
        found: torch.Tensor = self.model(
            input_ids=tensors["input_ids"],
            token_type_ids=tensors["token_type_ids"],
            attention_mask=tensors["attention_mask"],
            visual_embeds=tensors["features"],
            visual_attention_mask=tensors["regions"],
            visual_token_type_ids=(tensors["regions"] * 0 + 1),
        ).logits
        return found


class Lxmert(RegionModel):
    """An LXMERT checkpoint for questions (`LxmertForQuestionAnswering`): 36 regions with boxes in the released ones."""

    family = "lxmert"
    template = "{{ text }}"
    model_type = "lxmert"
    model_class = "LxmertForQuestionAnswering"
    needs_boxes = True

    def feature_width(self) -> int:
        """`visual_feat_dim`: 2048 in the released checkpoints."""
        return int(self.model.config.visual_feat_dim)

    def label_count(self) -> int:
        """`num_qa_labels`."""
        return int(self.model.config.num_qa_labels)

    def logits(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The head's outputs (rows, labels)."""
        found: torch.Tensor = self.model(
            input_ids=tensors["input_ids"],
            token_type_ids=tensors["token_type_ids"],
            attention_mask=tensors["attention_mask"],
            visual_feats=tensors["features"],
            visual_pos=tensors["boxes"],
            visual_attention_mask=tensors["regions"],
        ).question_answering_score
        return found


def _tokenizer_folder(settings: ModelSettings, given: str) -> Path:
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise ModelError(f"{settings.name}: run.options.tokenizer: there is no folder {folder}; give a folder")
    return folder


def _tokenizer_files(settings: ModelSettings, options: RegionOptions) -> dict[str, str]:
    if options.tokenizer is None:
        return {}
    folder = _tokenizer_folder(settings, options.tokenizer)
    names = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}
