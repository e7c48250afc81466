"""Tiny checkpoints of chat models and their like, for tests.tiny_checkpoints: real classes, random weights.

Processors with a part for videos are written without it, since it needs torchvision and no test asks a video.
"""

from __future__ import annotations

from typing import Any

from tests.tiny_checkpoints import (
    _WIDTH,
    CHARACTERS,
    IMAGE,
    PATCH_PX,
    QUERY_TOKENS,
    SIDE_PX,
    WORDS,
    _merges,
    _pair_vocabulary,
    llama_tokenizer,
    t5_tokenizer,
)

VISION = {**_WIDTH, "image_size": SIDE_PX, "patch_size": PATCH_PX}
SQUARE = {"height": SIDE_PX, "width": SIDE_PX}
PINPOINTS = [[SIDE_PX, 2 * SIDE_PX], [2 * SIDE_PX, SIDE_PX], [2 * SIDE_PX, 2 * SIDE_PX]]
CHAT = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""In the form of the released templates."""
QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _llama(*special: str) -> tuple[Any, Any]:
    """A LLaMA tokenizer with further special tokens, and the configuration of a language model over it."""
    from transformers import LlamaConfig

    tokenizer = llama_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE, *special]})
    return tokenizer, lambda: LlamaConfig(
        **_WIDTH,
        vocab_size=len(tokenizer),
        max_position_embeddings=640,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def wordpiece_tokenizer() -> Any:
    """A BERT tokenizer: whole words and characters."""
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [word.lower() for word in WORDS]
    pieces = [*special, *CHARACTERS, *("##" + c for c in CHARACTERS), *words, ".", ":", "?", "'", "|"]
    return BertTokenizer(vocab={piece: n for n, piece in enumerate(dict.fromkeys(pieces))})


def llava_next() -> tuple[Any, Any]:
    """LLaVA-NeXT's shape: the whole image and its tiles."""
    from transformers import (
        CLIPVisionConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessorPil,
        LlavaNextProcessor,
    )

    tokenizer, text = _llama()
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**{**VISION, "num_hidden_layers": 3}),
        text_config=text(),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE_PX}, crop_size=SQUARE, image_grid_pinpoints=PINPOINTS
    )
    processor = LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    return LlavaNextForConditionalGeneration(config), processor


def _without_video(family: Any) -> Any:
    """A processor class that is built and saved without its part for videos."""
    parts = [part for part in family.get_attributes() if part != "video_processor"]
    return type(family.__name__, (family,), {"get_attributes": classmethod(lambda cls: parts)})


def llava_onevision() -> tuple[Any, Any]:
    """LLaVA-OneVision's shape: SigLIP tower, tiles, several images."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessorPil,
        LlavaOnevisionProcessor,
        SiglipVisionConfig,
    )

    tokenizer, text = _llama("<video>")
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=text(),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )
    processor = _without_video(LlavaOnevisionProcessor)(
        image_processor=LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=PINPOINTS),
        tokenizer=tokenizer,
        num_image_tokens=(SIDE_PX // PATCH_PX) ** 2,
        vision_feature_select_strategy="full",
        chat_template=CHAT,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor


def idefics2() -> tuple[Any, Any]:
    """IDEFICS-2's shape: pooled image tokens between fake ones."""
    from transformers import (
        Idefics2Config,
        Idefics2ForConditionalGeneration,
        Idefics2ImageProcessorPil,
        Idefics2Processor,
        MistralConfig,
    )

    tokenizer, text = _llama("<fake_token_around_image>", "<end_of_utterance>")
    images = Idefics2ImageProcessorPil(
        size={"longest_edge": SIDE_PX, "shortest_edge": SIDE_PX // 2}, do_image_splitting=False
    )
    processor = Idefics2Processor(images, tokenizer, image_seq_len=4, chat_template=CHAT)
    config = Idefics2Config(
        vision_config=VISION,
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 16,
            "num_key_value_heads": 1,
        },
        text_config=MistralConfig(**{**text().to_dict(), "model_type": "mistral", "num_key_value_heads": 1}),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
    )
    return Idefics2ForConditionalGeneration(config), processor


def idefics3() -> tuple[Any, Any]:
    """IDEFICS-3's and SmolVLM's shape: tiles with their places written between them."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )

    tokenizer, text = _llama("<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * SIDE_PX}, max_image_size={"longest_edge": SIDE_PX}, do_image_splitting=True
    )
    # Released templates write the start token themselves.
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template="<s>" + CHAT)
    config = Idefics3Config(
        vision_config=VISION,
        text_config=text(),
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=tokenizer.pad_token_id,
    )
    return Idefics3ForConditionalGeneration(config), processor


def paligemma() -> tuple[Any, Any]:
    """PaliGemma's shape: a prefix that looks ahead, and no chat template."""
    from transformers import (
        GemmaTokenizer,
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessorPil,
    )

    merges = _merges("▁" + word for word in WORDS)
    byte_pieces = [f"<0x{value:02X}>" for value in range(256)]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = GemmaTokenizer(
        vocab=_pair_vocabulary([*special, *byte_pieces, "▁", *CHARACTERS], merges), merges=merges
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    images = SiglipImageProcessorPil(size=SQUARE)
    images.image_seq_length = (SIDE_PX // PATCH_PX) ** 2
    processor = PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer)
    config = PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            **VISION,
            "projection_dim": 32,
            "vision_use_head": False,
        },
        text_config={
            "model_type": "gemma",
            **_WIDTH,
            "vocab_size": len(processor.tokenizer),
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 256,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 1,
        },
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        projection_dim=32,
    )
    return PaliGemmaForConditionalGeneration(config), processor


def qwen2_vl() -> tuple[Any, Any]:
    """Qwen2-VL's shape: as many tokens as the image is large, places in three dimensions."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import (
        Qwen2Tokenizer,
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessorPil,
        Qwen2VLProcessor,
    )

    merges = _merges(["Ġ" + word for word in WORDS])
    end, *special = (
        f"<|{name}|>"
        for name in ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
    )
    tokenizer = Qwen2Tokenizer(vocab=_pair_vocabulary([end, *sorted(ByteLevel.alphabet())], merges), merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    ids = dict(zip(special, tokenizer.convert_tokens_to_ids(special), strict=True))
    config = Qwen2VLConfig(
        text_config={
            **_WIDTH,
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 1,
            "max_position_embeddings": 640,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": tokenizer.pad_token_id,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": PATCH_PX,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH_PX, size={"shortest_edge": (2 * PATCH_PX) ** 2, "longest_edge": (6 * PATCH_PX) ** 2}
    )
    processor = _without_video(Qwen2VLProcessor)(image_processor=images, tokenizer=tokenizer, chat_template=QWEN_CHAT)
    return Qwen2VLForConditionalGeneration(config), processor


def git() -> tuple[Any, Any]:
    """GIT's shape: image features in front of the words of one decoder."""
    from transformers import CLIPImageProcessorPil, GitConfig, GitForCausalLM, GitProcessor

    tokenizer = wordpiece_tokenizer()
    config = GitConfig(
        vision_config=VISION,
        **_WIDTH,
        vocab_size=len(tokenizer),
        max_position_embeddings=96,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE_PX}, crop_size=SQUARE)
    return GitForCausalLM(config), GitProcessor(image_processor=images, tokenizer=tokenizer)


def kosmos2() -> tuple[Any, Any]:
    """Kosmos-2's shape: image slots behind `<unk>`, tags and places of patches behind the words."""
    from transformers import (
        CLIPImageProcessorPil,
        Kosmos2Config,
        Kosmos2ForConditionalGeneration,
        Kosmos2Processor,
        XLMRobertaTokenizer,
    )

    pieces = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces += [(f"<img{slot}>", -20.0) for slot in range(QUERY_TOKENS)] + [("▁", -6.0)]
    pieces += [(character, -8.0) for character in CHARACTERS if character != "\n"]
    pieces += [("▁" + word, -3.0 - 0.01 * place) for place, word in enumerate(WORDS)]
    processor = Kosmos2Processor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE_PX}, crop_size=SQUARE),
        XLMRobertaTokenizer(vocab=pieces),
        num_patch_index_tokens=16,
    )
    config = Kosmos2Config(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "embed_dim": 32,
            "ffn_dim": 48,
            "layers": 2,
            "attention_heads": 2,
            "max_position_embeddings": 256,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "dropout": 0.0,
            "attention_dropout": 0.0,
        },
        vision_config=VISION,
        latent_query_num=QUERY_TOKENS,
    )
    return Kosmos2ForConditionalGeneration(config), processor


def _instructblip(tokenizer: Any, text: Any) -> tuple[Any, Any]:
    from transformers import (
        BlipImageProcessorPil,
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipProcessor,
        InstructBlipQFormerConfig,
        InstructBlipVisionConfig,
    )

    reader = wordpiece_tokenizer()
    processor = InstructBlipProcessor(
        BlipImageProcessorPil(size=SQUARE), tokenizer, reader, num_query_tokens=QUERY_TOKENS
    )
    config = InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(**VISION),
        qformer_config=InstructBlipQFormerConfig(
            **_WIDTH,
            encoder_hidden_size=32,
            cross_attention_frequency=2,
            vocab_size=len(reader),
            max_position_embeddings=64,
        ),
        text_config=text(len(tokenizer)),
        num_query_tokens=QUERY_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
    )
    return InstructBlipForConditionalGeneration(config), processor


def instructblip() -> tuple[Any, Any]:
    """InstructBLIP with a decoder-only language model, as Vicuna is."""
    tokenizer, text = _llama()
    return _instructblip(tokenizer, lambda size: text())


def instructblip_t5() -> tuple[Any, Any]:
    """InstructBLIP with an encoder-decoder language model."""
    from tests.tiny_checkpoints import t5_config

    return _instructblip(t5_tokenizer(), t5_config)


def idefics() -> tuple[Any, Any]:
    """IDEFICS-1's shape: gated cross-attention to resampled images."""
    from transformers import IdeficsConfig, IdeficsForVisionText2Text, IdeficsImageProcessorPil, IdeficsProcessor

    tokenizer, _ = _llama("<fake_token_around_image>")
    processor = IdeficsProcessor(IdeficsImageProcessorPil(image_size=SIDE_PX), tokenizer)
    config = IdeficsConfig(
        **_WIDTH,
        vocab_size=len(tokenizer) - 2,
        additional_vocab_size=2,
        max_position_embeddings=512,
        cross_layer_interval=1,
        use_resampler=True,
        qk_layer_norms=True,
        vision_config={
            "embed_dim": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE_PX,
            "patch_size": PATCH_PX,
        },
        perceiver_config={
            "use_resampler": True,
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 16,
        },
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return IdeficsForVisionText2Text(config), processor
