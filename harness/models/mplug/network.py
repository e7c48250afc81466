"""The whole network of one task, with the parts that the task runs and no others.

Names of parameters are those of the released weights, so that the keys of `state_dict` are what a checkpoint must hold.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.models.mplug.bert import EPS, FusionEncoder, TextEncoder
from harness.models.mplug.decoder import Context, TextDecoder
from harness.models.mplug.sizes import Sizes
from harness.models.mplug.vision import VisionTower

MATCH_CLASSES = 2
"""Logits of a pair: 0 says that image and text do not belong together, 1 that they do."""


class MplugNetwork(nn.Module):
    """mPLUG for captions, visual questions or retrieval."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.visual_encoder = VisionTower(sizes)
        if sizes.has_bridge:
            self.visn_fc = nn.Linear(sizes.vision_width, sizes.hidden)
            self.visn_layer_norm = nn.LayerNorm(sizes.hidden, eps=EPS)
        if sizes.task != "caption":
            self.text_encoder = TextEncoder(sizes)
            self.fusion_encoder = FusionEncoder(sizes)
        if sizes.task == "retrieval":
            self.vision_proj = nn.Linear(sizes.hidden, sizes.embedding)
            self.text_proj = nn.Linear(sizes.hidden, sizes.embedding)
            self.itm_head = nn.Linear(sizes.hidden, MATCH_CLASSES)
        else:
            self.text_decoder = TextDecoder(sizes)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self.visual_encoder.visual.class_embedding.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.visual_encoder.visual.class_embedding.device

    def image_states(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (batch, 3, side, side) → states (batch, 1 + patches, hidden)."""
        return self.bridged(self.visual_encoder(pixels))

    def bridged(self, vision: Tensor) -> Tensor:
        """States of the tower (batch, 1 + patches, vision width) as the text parts read them (…, hidden)."""
        return cast(Tensor, self.visn_layer_norm(self.visn_fc(vision))) if self.sizes.has_bridge else vision

    def decoder_context(self, image: Tensor, ids: Tensor | None = None, mask: Tensor | None = None) -> Context:
        """What the decoder attends to: the image, or for a question (ids and mask, (batch, tokens)) image and text."""
        if ids is None or mask is None:
            return self.text_decoder.context(image)
        image, text = self.fusion_encoder(image, self.text_encoder(ids, mask), mask)
        both = torch.cat([mask.new_ones(image.shape[:2]), mask], dim=1)
        return self.text_decoder.context(torch.cat([image, text], dim=1), both)

    def image_features(self, image: Tensor) -> Tensor:
        """Image states (batch, 1 + patches, hidden) → vectors of length 1 (batch, embedding)."""
        return functional.normalize(self.vision_proj(image[:, 0]), dim=-1)

    def text_features(self, text: Tensor) -> Tensor:
        """Text states (batch, tokens, hidden) → vectors of length 1 (batch, embedding)."""
        return functional.normalize(self.text_proj(text[:, 0]), dim=-1)

    def match_logits(self, image: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """Image states, text states and text mask of pairs → logits (pairs, 2) in float32; column 1 says "match"."""
        _, fused = self.fusion_encoder(image, text, mask)
        return cast(Tensor, self.itm_head(fused[:, 0])).float()
