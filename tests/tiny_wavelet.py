"""A tiny checkpoint of the wavelet family with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.models.wavelet.checkpoint import DecoderConfig, WaveletConfig, write
from harness.models.wavelet.design import Design
from harness.models.wavelet.network import Captioner


def wavelet() -> tuple[Any, Any]:
    """The network and its vocabulary, both with `save_pretrained`."""
    from harness.training.vocabulary import learned
    from tests.tiny_checkpoints import SENTENCES

    tokenizer = learned(SENTENCES)
    config = WaveletConfig(
        design=Design(levels=3, encoder_layers=1),
        height=32,
        width_px=32,
        width=32,
        heads=2,
        max_images=2,
        decoder=DecoderConfig(layers=2, vocabulary=len(tokenizer), positions=64),
    )

    class TinyWavelet(Captioner):
        """A network that is saved as the library's models are."""

        def tie_weights(self) -> None:
            """Weights are tied as they are made."""

        def save_pretrained(self, folder: Path) -> None:
            """Write the checkpoint."""
            folder.mkdir(parents=True, exist_ok=True)
            write(folder, self, config, tokenizer)

    return TinyWavelet.of(config), tokenizer
