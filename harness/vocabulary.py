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
