"""Tiny checkpoints of the real transformers classes, built offline in seconds: same code paths, random weights.

`build` writes each into a folder of its own with `save_pretrained`; `python -m tests.tiny_checkpoints OUT_DIR` does so
from a shell. Vocabularies are written out and weights are seeded, so two builds give the same answers. Weights are
scaled up from the usual initial size, because a model that answers alike to everything hides faults of batching.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

SENTENCES = (
    "a photo of a dog on the grass near two cats and a red chair",
    "what colour is the largest bar in the chart of sales per year ?",
    "Question: how many people are in the picture ? Answer: yes no left right",
    "USER: describe the image ASSISTANT: it shows a table",
    "Generate underlying data table of the figure below:",
    "TITLE | sales | value | 2001 | 2019 | 10 | 20",
    "Answer with the option's letter from the given choices directly. A. B. C. D.",
)
WORDS = tuple(dict.fromkeys(" ".join(SENTENCES).split()))
CHARACTERS = tuple(sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!|%$-'\"()<>/_\n")))
IMAGE = "<image>"
SIDE_PX, PATCH_PX = 28, 7
IMAGE_TOKENS = (SIDE_PX // PATCH_PX) ** 2
QUERY_TOKENS = 4
_WIDTH = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def _merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges that grow each word from its first symbol: `(s, a)`, `(sa, l)`, …"""
    pairs = [(word[:end], word[end]) for word in words for end in range(1, len(word))]
    return list(dict.fromkeys(pairs))


def _pair_vocabulary(first: Iterable[str], merges: Sequence[tuple[str, str]]) -> dict[str, int]:
    pieces = dict.fromkeys([*first, *("".join(pair) for pair in merges)])
    return {piece: number for number, piece in enumerate(pieces)}


def llama_tokenizer() -> Any:
    """A LLaMA tokenizer: byte-pair pieces with byte fallback, `<image>` and a pad token of its own."""
    from transformers import LlamaTokenizer

    merges = _merges("▁" + word for word in WORDS)
    byte_pieces = [f"<0x{value:02X}>" for value in range(256)]
    vocabulary = _pair_vocabulary(["<unk>", "<s>", "</s>", *byte_pieces, "▁", *CHARACTERS], merges)
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE], "pad_token": "<pad>"})
    return tokenizer


def opt_tokenizer() -> Any:
    """An OPT tokenizer: byte-level pairs, and `</s>` in front of every text."""
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.processors import TemplateProcessing
    from transformers import GPT2Tokenizer

    merges = _merges(["Ġ" + word for word in WORDS])
    vocabulary = _pair_vocabulary(["<pad>", "</s>", *sorted(ByteLevel.alphabet())], merges)
    ends = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>"}
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=merges, pad_token="<pad>", **ends)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="</s> $A", pair="</s> $A $B", special_tokens=[("</s>", tokenizer.bos_token_id)]
    )
    return tokenizer


def t5_tokenizer() -> Any:
    """A T5 tokenizer: unigram pieces, with DePlot's row separator among them."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -6.0), ("<0x0A>", -5.0)]
    pieces += [(character, -8.0) for character in CHARACTERS if character != "\n"]
    pieces += [("▁" + word, -3.0 - 0.01 * place) for place, word in enumerate(WORDS)]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def llava() -> tuple[Any, Any]:
    """LLaVA-1.5's shape: CLIP tower, last layer but one, class token dropped, LLaMA."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = llama_tokenizer()
    text = LlamaConfig(
        **_WIDTH,
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**{**_WIDTH, "num_hidden_layers": 3}, image_size=SIDE_PX, patch_size=PATCH_PX),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX})
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return LlavaForConditionalGeneration(config), processor


def _blip2(tokenizer: Any, text: Callable[[int], Any]) -> tuple[Any, Any]:
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        BlipImageProcessorPil,
    )

    processor = Blip2Processor(
        image_processor=BlipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}),
        tokenizer=tokenizer,
        num_query_tokens=QUERY_TOKENS,
    )
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**_WIDTH, image_size=SIDE_PX, patch_size=PATCH_PX),
        qformer_config=Blip2QFormerConfig(**_WIDTH, encoder_hidden_size=32, cross_attention_frequency=2, vocab_size=32),
        text_config=text(len(tokenizer)),
        num_query_tokens=QUERY_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
    )
    return Blip2ForConditionalGeneration(config), processor


def blip2_opt() -> tuple[Any, Any]:
    """BLIP-2 with a decoder-only language model."""
    from transformers import OPTConfig

    tokenizer = opt_tokenizer()

    def text(size: int) -> Any:
        return OPTConfig(
            vocab_size=size,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )

    return _blip2(tokenizer, text)


def t5_config(size: int) -> Any:
    """An encoder-decoder language model over `size` tokens, in the shape of Flan-T5."""
    from transformers import T5Config

    return T5Config(
        vocab_size=size,
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )


def blip2_t5() -> tuple[Any, Any]:
    """BLIP-2 with an encoder-decoder language model."""
    return _blip2(t5_tokenizer(), t5_config)


def _pix2struct(*, is_vqa: bool) -> tuple[Any, Any]:
    from transformers import (
        Pix2StructConfig,
        Pix2StructForConditionalGeneration,
        Pix2StructImageProcessorPil,
        Pix2StructProcessor,
    )

    tokenizer = t5_tokenizer()
    layers = {"hidden_size": 32, "d_ff": 48, "d_kv": 16}
    config = Pix2StructConfig(
        vision_config={
            **layers,
            "patch_embed_hidden_size": 16 * 16 * 3,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "seq_len": 128,
        },
        text_config={
            **layers,
            "vocab_size": len(tokenizer),
            "num_layers": 2,
            "num_heads": 2,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 0,
        },
        is_vqa=is_vqa,
    )
    images = Pix2StructImageProcessorPil(max_patches=96, is_vqa=is_vqa)
    processor = Pix2StructProcessor(image_processor=images, tokenizer=tokenizer)
    return Pix2StructForConditionalGeneration(config), processor


def deplot() -> tuple[Any, Any]:
    """Pix2Struct that reads its prompt as a header drawn on the image: DePlot, MatCha, chart questions."""
    return _pix2struct(is_vqa=True)


def pix2struct_caption() -> tuple[Any, Any]:
    """Pix2Struct that captions and takes no text."""
    return _pix2struct(is_vqa=False)


def whisper() -> tuple[Any, Any]:
    """Whisper with two languages and a window of one second."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    merges = _merges(["Ġ" + word for word in WORDS])
    vocabulary = _pair_vocabulary([*sorted(ByteLevel.alphabet())], merges)
    vocabulary["<|endoftext|>"] = len(vocabulary)
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=merges, pad_token="<|endoftext|>")
    named = ["startoftranscript", "en", "fr", "translate", "transcribe", "startoflm", "startofprev", "nospeech"]
    stamps = [f"<|{0.02 * place:.2f}|>" for place in range(51)]
    special = [*(f"<|{name}|>" for name in named), "<|notimestamps|>", *stamps]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.set_prefix_tokens(language="en", task="transcribe")
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in ["<|endoftext|>", *special]}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_source_positions=50,
        max_target_positions=40,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    generation = model.generation_config
    generation.is_multilingual = True
    generation.lang_to_id = {name: ids[name] for name in ("<|en|>", "<|fr|>")}
    generation.task_to_id = {name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")}
    generation.no_timestamps_token_id = ids["<|notimestamps|>"]
    generation.suppress_tokens = [ids["<|nospeech|>"], ids["<|startoflm|>"]]
    # A configuration made from the model's own loses these fields when it is read back.
    generation._from_model_config = False
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=1, hop_length=160, n_fft=400)
    return model, WhisperProcessor(feature_extractor=extractor, tokenizer=tokenizer)


def _ctc(model_class: str, config_class: str, *, by_layer: bool) -> tuple[Any, Any]:
    import json
    import tempfile

    import transformers

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({letter: place for place, letter in enumerate(letters)}), encoding="utf-8")
        tokenizer = transformers.Wav2Vec2CTCTokenizer(str(path))
    config = getattr(transformers, config_class)(
        **_WIDTH,
        vocab_size=len(letters),
        conv_dim=(24, 24, 24),
        conv_stride=(5, 4, 4),
        conv_kernel=(10, 8, 4),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer" if by_layer else "group",
        do_stable_layer_norm=by_layer,
        pad_token_id=0,
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=16000, padding_value=0.0, do_normalize=True, return_attention_mask=by_layer
    )
    processor = transformers.Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer)
    return getattr(transformers, model_class)(config), processor


def wav2vec2() -> tuple[Any, Any]:
    """wav2vec 2.0 base: normalised over the whole recording, without a mask."""
    return _ctc("Wav2Vec2ForCTC", "Wav2Vec2Config", by_layer=False)


def wav2vec2_layer() -> tuple[Any, Any]:
    """wav2vec 2.0 large: normalised frame by frame, with a mask."""
    return _ctc("Wav2Vec2ForCTC", "Wav2Vec2Config", by_layer=True)


def hubert() -> tuple[Any, Any]:
    """HuBERT large with a CTC head."""
    return _ctc("HubertForCTC", "HubertConfig", by_layer=True)


GENERATIVE = {
    "llava_next": 1,
    "llava_onevision": 1,
    "idefics2": 1,
    "idefics3": 1,
    "paligemma": 1,
    "qwen2_vl": 1,
    "git": 1,
    "kosmos2": 1,
    "instructblip": 1,
    "instructblip_t5": 5,
    "idefics": 1,
}
"""Name → seed of the builders in tests.tiny_generative."""


ENCODERS = {
    "blip_caption": 1,
    "blip_vqa": 1,
    "blip_itm": 122,
    "clip": 17,
    "siglip": 20,
    "vit": 33,
    "beit": 41,
    "vilt": 17,
    "vilt_pairs": 50,
    "visualbert": 9,
    "lxmert": 9,
}
"""Name → seed of the builders in tests.tiny_encoders."""


def _encoder(name: str) -> tuple[Any, Any]:
    from tests import tiny_encoders

    model, processor = getattr(tiny_encoders, name)()
    return model, processor


def _generative(name: str) -> tuple[Any, Any]:
    from tests import tiny_generative

    model, processor = getattr(tiny_generative, name)()
    return model, processor


MPLUG = {"mplug_caption": 1, "mplug_vqa": 1, "mplug_retrieval": 1}
"""Name → seed of the networks in tests.tiny_mplug, by task."""


def _mplug(name: str) -> tuple[Any, Any]:
    from tests import tiny_mplug

    network, vocabulary = tiny_mplug.mplug(name.removeprefix("mplug_"))
    return network, vocabulary


WAVELET = {"wavelet": 1}
"""Name → seed of the network in tests.tiny_wavelet."""


def _wavelet() -> tuple[Any, Any]:
    from tests import tiny_wavelet

    return tiny_wavelet.wavelet()


TEXT = {"qwen2": 1, "gpt2": 3}
"""Name → seed of the builders in tests.tiny_text."""


def _text(name: str) -> tuple[Any, Any]:
    from tests import tiny_text

    model, tokenizer = getattr(tiny_text, name)()
    return model, tokenizer


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": llava,
    "blip2_opt": blip2_opt,
    "blip2_t5": blip2_t5,
    "deplot": deplot,
    "pix2struct_caption": pix2struct_caption,
    "whisper": whisper,
    "wav2vec2": wav2vec2,
    "wav2vec2_layer": wav2vec2_layer,
    "hubert": hubert,
    **{name: partial(_generative, name) for name in GENERATIVE},
    **{name: partial(_encoder, name) for name in ENCODERS},
    **{name: partial(_mplug, name) for name in MPLUG},
    "wavelet": _wavelet,
    **{name: partial(_text, name) for name in TEXT},
}
SEEDS = {
    "llava": 1,
    "blip2_opt": 4,
    "blip2_t5": 5,
    "deplot": 1,
    "pix2struct_caption": 1,
    "whisper": 5,
    "wav2vec2": 1,
    "wav2vec2_layer": 1,
    "hubert": 2,
    **GENERATIVE,
    **ENCODERS,
    **MPLUG,
    **WAVELET,
    **TEXT,
}
"""Chosen so that the four test samples get four different answers."""
SCALES = {"paligemma": (0.05, 2.5), "kosmos2": (0.05, 2.5)}
"""Embeddings and other weights where the usual (0.5, 1) would repeat one token: both scale their embeddings up."""


def _scatter(model: Any, seed: int, embedding: float = 0.5, gain: float = 1.0) -> None:
    """Fill the weights from one seeded generator, wide enough for answers to differ between inputs."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    filled: set[int] = set()
    for module in model.modules():
        if "norm" in type(module).__name__.lower():
            continue
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) in filled:
                continue
            filled.add(id(weight))
            noise = torch.randn(weight.shape, generator=generator)
            if isinstance(module, torch.nn.Embedding):
                scale = embedding
            elif weight.dim() < 2:
                scale = 0.1
            elif name == "weight":
                scale = gain / math.sqrt(weight[0].numel())
            else:
                scale = 0.3
            weight.data.copy_(scale * noise)
    model.tie_weights()


def build(folder: Path, names: Sequence[str] = tuple(BUILDERS)) -> dict[str, Path]:
    """Name → folder of each checkpoint, written below `folder`; one that is there already is kept."""
    built = {}
    for name in names:
        target = folder / name
        if not (target / "model.safetensors").is_file():
            model, processor = BUILDERS[name]()
            _scatter(model, SEEDS[name], *SCALES.get(name, ()))
            processor.save_pretrained(target)
            model.save_pretrained(target)
        built[name] = target
    return built


class Checkpoints(Mapping[str, Path]):
    """Name → folder of every tiny checkpoint, each built below `folder` when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Path:
        if name not in BUILDERS:
            raise KeyError(name)
        return build(self._folder, [name])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(BUILDERS)

    def __len__(self) -> int:
        return len(BUILDERS)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.tiny_checkpoints OUT_DIR")
    for name, path in build(Path(sys.argv[1])).items():
        print(f"{name}\t{path}")
