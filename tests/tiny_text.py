"""Tiny text-only language models, for tests.tiny_checkpoints: real classes, random weights.

Qwen2 with a chat template and rotary positions; GPT-2 without a template, without a pad token, with learned positions.
"""

from __future__ import annotations

from typing import Any

from tests.tiny_checkpoints import WORDS, _merges, _pair_vocabulary

QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""In the form of the released template, with the switch of Qwen3."""


def _byte_level(end: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    from tokenizers.pre_tokenizers import ByteLevel

    merges = _merges(["Ġ" + word for word in WORDS])
    return _pair_vocabulary([end, *sorted(ByteLevel.alphabet())], merges), merges


def qwen2() -> tuple[Any, Any]:
    """Qwen2's shape, one group of keys for two heads."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    end = "<|endoftext|>"
    vocabulary, merges = _byte_level(end)
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "pad_token": end})
    tokenizer.chat_template = QWEN_CHAT
    config = Qwen2Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=len(tokenizer),
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config), tokenizer


def gpt2() -> tuple[Any, Any]:
    """GPT-2's shape."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    end = "<|endoftext|>"
    vocabulary, merges = _byte_level(end)
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=merges, bos_token=end, eos_token=end, unk_token=end)
    config = GPT2Config(
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=128,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return GPT2LMHeadModel(config), tokenizer
