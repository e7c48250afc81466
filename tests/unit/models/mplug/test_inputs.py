"""Images and texts as the released evaluation makes them. Evidence: worked examples, and the library's tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import ModelError
from harness.models.mplug.inputs import DEVIATION, MEAN, WordPieces, pixels
from tests.tiny_mplug import pieces


@pytest.fixture(scope="module")
def vocab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(pieces()) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def words(vocab: Path) -> WordPieces:
    return WordPieces(vocab, len(pieces()))


def test_an_image_is_squeezed_to_the_side_without_a_crop_and_normalised_per_channel() -> None:
    left_half_red = Image.new("RGB", (80, 20), (0, 0, 0))
    left_half_red.paste((255, 0, 0), (0, 0, 40, 20))
    found = pixels([left_half_red], 8)
    assert found.shape == (1, 3, 8, 8)
    undone = found[0].numpy() * np.array(DEVIATION).reshape(3, 1, 1) + np.array(MEAN).reshape(3, 1, 1)
    np.testing.assert_allclose(undone[0, :, 0], 1.0, atol=1e-6)
    np.testing.assert_allclose(undone[0, :, 7], 0.0, atol=1e-6)
    np.testing.assert_allclose(undone[1:], 0.0, atol=1e-6)


def test_grey_and_transparent_images_become_rgb() -> None:
    assert pixels([Image.new("L", (9, 5), 255), Image.new("RGBA", (5, 9), (9, 9, 9, 0))], 4).shape == (2, 3, 4, 4)


def test_texts_start_with_cls_and_end_in_sep_only_where_asked(words: WordPieces) -> None:
    bare, ended = (words.encode(["a dog", "Two CATS on"], end=end) for end in (False, True))
    assert bare.ids[0].tolist()[0] == 101
    assert bare.mask.sum(dim=1).tolist() == bare.lengths
    assert 102 not in bare.ids.flatten().tolist()
    assert [row[n - 1] for row, n in zip(ended.ids.tolist(), ended.lengths, strict=True)] == [102, 102]
    assert [n + 1 for n in bare.lengths] == ended.lengths
    assert words.decode(bare.ids[1].tolist()) == "two cats on"


@pytest.mark.parametrize("end", [False, True])
def test_texts_are_cut_and_padded_to_one_length_with_the_end_kept(words: WordPieces, end: bool) -> None:
    made = words.encode(["a dog", "a dog on the grass near two cats"], end=end, pad_to=5)
    assert made.ids.shape == (2, 5)
    assert made.lengths == [3 + end, 5]
    assert made.ids[0, 3 + end :].tolist() == [0] * (2 - end)
    assert (made.ids[1, -1] == 102) == end


def test_an_inner_sep_of_a_question_is_one_token(words: WordPieces) -> None:
    ids = words.encode(["a dog [SEP] red"], end=False).ids[0].tolist()
    assert ids.count(102) == 1


def test_decoding_drops_special_tokens_and_joins_punctuation(words: WordPieces) -> None:
    ids = words.encode(["it ' s a dog , on the grass ."], end=True).ids[0].tolist()
    assert words.decode([*ids, 0, 0]) == "it's a dog, on the grass."


def test_a_vocabulary_of_another_model_is_refused(tmp_path: Path, vocab: Path) -> None:
    wrong = tmp_path / "vocab.txt"
    wrong.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    with pytest.raises(ModelError, match=r"\[CLS\] is number 2, must be 101; give the vocab.txt of bert-base-uncased"):
        WordPieces(wrong, 200)
    with pytest.raises(ModelError, match=r"pieces and the network knows 120"):
        WordPieces(vocab, 120)
    with pytest.raises(ModelError, match="cannot be read"):
        WordPieces(tmp_path / "absent.txt", 200)
    wrong.write_text(vocab.read_text().replace("[UNK]", "[odd]"))
    with pytest.raises(ModelError, match=r"has no \[UNK\]"):
        WordPieces(wrong, 500)
