"""A small byte-level vocabulary learned from the texts of a recipe; encoding and decoding give every text back.

Words carry the blank before them, digits stand alone, and a LaTeX command is one word. Special tokens are `<pad>`,
`<s>`, `</s>` and `<image>`; `<0x0A>`, DePlot's line end, is a word of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

SPECIAL = ("<pad>", "<s>", "</s>", "<image>")
PAD, START, END, IMAGE = range(4)
_LINE_END = "<0x0A>"
_WORDS = r" ?\\[A-Za-z]+| ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]|\s"


def learned(texts: Iterable[str], size: int = 640) -> Any:
    """A tokenizer of the transformers library with at most `size` entries."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = [c for c in pre_tokenizers.ByteLevel.alphabet() if c.isascii() or c in "ĠĊ"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator((text.replace(_LINE_END, "") for text in texts), trainer)
    tokenizer.add_tokens([AddedToken(_LINE_END, normalized=False, special=False)])
    wrapped: Any = PreTrainedTokenizerFast
    return wrapped(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["<image>"], clean_up_tokenization_spaces=False,
    )  # fmt: skip


def save(tokenizer: Any, folder: Path) -> None:
    """Write tokenizer.json and its configuration."""
    tokenizer.save_pretrained(folder)
