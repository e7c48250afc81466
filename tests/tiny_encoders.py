"""Builders of tiny checkpoints that match, classify or answer in one pass: real classes, random weights."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.tiny_checkpoints import _WIDTH, PATCH_PX, SENTENCES, SIDE_PX, WORDS, _merges, _pair_vocabulary

SQUARE = {"height": SIDE_PX, "width": SIDE_PX}
LABELS = (
    "dog on the grass",
    "two cats",
    "red chair",
    "largest bar in the chart",
    "table",
    "people in the picture",
    "sales per year",
    "left or right",
    "dog",
    "two cats on the grass",
    *(f"answer {number}" for number in range(2, 24)),
    "tench, Tinca tinca",
)
REGION_WIDTH = 24
_VISION = {**_WIDTH, "image_size": SIDE_PX, "patch_size": PATCH_PX}


def _named(labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: row for row, label in enumerate(labels)}}


def bert_tokenizer(*extra: str, length: int = 64) -> Any:
    """A BERT tokenizer: whole words and single characters."""
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = sorted({c for sentence in SENTENCES for c in sentence.lower() if not c.isspace()})
    words = [word.lower() for word in WORDS]
    pieces = dict.fromkeys([*special, *characters, *("##" + c for c in characters), *words, *extra])
    return BertTokenizer(vocab={piece: row for row, piece in enumerate(pieces)}, model_max_length=length)


def _blip(model_class: str) -> tuple[Any, Any]:
    import transformers

    tokenizer = bert_tokenizer("[DEC]", "[ENC]")
    text = {
        **_WIDTH,
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.convert_tokens_to_ids("[DEC]"),
        "sep_token_id": tokenizer.sep_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = transformers.BlipConfig(
        vision_config=_VISION, text_config=text, projection_dim=16, image_text_hidden_size=16
    )
    processor = transformers.BlipProcessor(
        image_processor=transformers.BlipImageProcessorPil(size=SQUARE), tokenizer=tokenizer
    )
    return getattr(transformers, model_class)(config), processor


def blip_caption() -> tuple[Any, Any]:
    """BLIP that writes captions."""
    return _blip("BlipForConditionalGeneration")


def blip_vqa() -> tuple[Any, Any]:
    """BLIP that answers questions."""
    return _blip("BlipForQuestionAnswering")


def blip_itm() -> tuple[Any, Any]:
    """BLIP that matches images and texts."""
    return _blip("BlipForImageTextRetrieval")


def clip() -> tuple[Any, Any]:
    """CLIP with 24 places for text."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    words = [word.lower() for word in WORDS]
    pairs = _merges(words)
    ends = [(word[:-1], word[-1] + "</w>") for word in words if len(word) > 1]
    merges = list(dict.fromkeys([*pairs, *ends]))
    vocabulary = _pair_vocabulary([*letters, *(letter + "</w>" for letter in letters)], merges)
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges)
    text = {
        **_WIDTH,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=16)
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE_PX}, crop_size=SQUARE)
    return CLIPModel(config), CLIPProcessor(image_processor=images, tokenizer=tokenizer)


def siglip() -> tuple[Any, Any]:
    """SigLIP with 16 places for text and a sentencepiece vocabulary of pieces written out."""
    import sentencepiece
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipProcessor, SiglipTokenizer

    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "spiece"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES * 4),
            model_prefix=str(prefix),
            vocab_size=96,
            model_type="bpe",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
        tokenizer = SiglipTokenizer(f"{prefix}.model", model_max_length=16)
        processor = SiglipProcessor(image_processor=SiglipImageProcessorPil(size=SQUARE), tokenizer=tokenizer)
        target = Path(folder) / "saved"
        processor.save_pretrained(target)
        processor = SiglipProcessor.from_pretrained(target, backend="pil")
    text = {**_WIDTH, "vocab_size": 96, "max_position_embeddings": 16, "projection_size": 32}
    text |= {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION)), processor


def vit() -> tuple[Any, Any]:
    """ViT with a head over `LABELS`."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    return ViTForImageClassification(ViTConfig(**_VISION, **_named())), ViTImageProcessorPil(size=SQUARE)


def beit() -> tuple[Any, Any]:
    """BEiT with a head over `LABELS`."""
    from transformers import BeitConfig, BeitForImageClassification, BeitImageProcessorPil

    images = BeitImageProcessorPil(size=SQUARE, do_center_crop=False)
    return BeitForImageClassification(BeitConfig(**_VISION, **_named())), images


def _vilt(model_class: str, **fields: Any) -> tuple[Any, Any]:
    import transformers

    tokenizer = bert_tokenizer(length=40)
    config = transformers.ViltConfig(
        **_VISION, vocab_size=len(tokenizer), max_position_embeddings=40, max_image_length=-1, **fields
    )
    images = transformers.ViltImageProcessorPil(size={"shortest_edge": SIDE_PX}, size_divisor=PATCH_PX)
    processor = transformers.ViltProcessor(image_processor=images, tokenizer=tokenizer)
    return getattr(transformers, model_class)(config), processor


def vilt() -> tuple[Any, Any]:
    """ViLT that answers questions."""
    return _vilt("ViltForQuestionAnswering", **_named())


def vilt_pairs() -> tuple[Any, Any]:
    """ViLT that judges two images; with more than two labels, so that answers can differ."""
    return _vilt("ViltForImagesAndTextClassification", num_images=2, modality_type_vocab_size=3, **_named())


def visualbert() -> tuple[Any, Any]:
    """VisualBERT that answers questions from region features."""
    from transformers import VisualBertConfig, VisualBertForQuestionAnswering

    tokenizer = bert_tokenizer()
    config = VisualBertConfig(
        **_WIDTH,
        vocab_size=len(tokenizer),
        visual_embedding_dim=REGION_WIDTH,
        max_position_embeddings=64,
        **_named(),
    )
    return VisualBertForQuestionAnswering(config), tokenizer


def lxmert() -> tuple[Any, Any]:
    """LXMERT that answers questions from region features and boxes."""
    from transformers import LxmertConfig, LxmertForQuestionAnswering

    tokenizer = bert_tokenizer()
    config = LxmertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        l_layers=1,
        x_layers=1,
        r_layers=1,
        visual_feat_dim=REGION_WIDTH,
        num_qa_labels=len(LABELS),
        **_named(),
    )
    return LxmertForQuestionAnswering(config), tokenizer
