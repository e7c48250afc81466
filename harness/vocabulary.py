"""Closed vocabularies that cards, tasks and tables share, so that "what can it do" is counted over one list."""

from __future__ import annotations

from typing import Literal

TaskKind = Literal[
    "vqa",
    "captioning",
    "visual-commonsense-reasoning",
    "nlvr",
    "visual-reasoning",
    "grounding",
    "image-text-retrieval",
    "object-detection",
    "scene-graph",
    "ocr",
    "chart-to-table",
    "chart-qa",
    "multiple-choice",
    "image-to-latex",
    "classification",
    "dialogue",
    "instruction-following",
    "image-generation",
    "affective-computing",
    "vision-language-navigation",
    "multimodal-translation",
    "speech-recognition",
]
"""What a task asks, and what a card may claim."""

Fusion = Literal["deep", "early", "cross-attention", "none"]
"""Where image and text meet: `deep` in stacked fusion layers, `early` as tokens of one sequence, `cross-attention`
into a decoder, `none` for two towers or one modality."""

Domain = Literal["general", "charts", "documents", "formulas", "speech", "synthetic", "text"]

PERTURBATION_LEVELS = (1, 2, 3, 4, 5)
"""How strongly an image is made worse; 1 is hardly seen."""

IMAGE_STEPS: tuple[str, ...] = (
    "crop_margins",
    "side_by_side",
    "no_images",
    "grey",
    *(
        f"{kind}-{level}"
        for kind in ("jpeg", "blur", "noise", "downscale", "rotate", "contrast")
        for level in PERTURBATION_LEVELS
    ),
)
"""What a task may do to its images before a model sees them."""
