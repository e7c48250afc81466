"""CLIP, SigLIP and BLIP matching. Evidence: the library's own scores, and brute force over real pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.engine.run import run_suite
from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.blip_itm import BlipItm
from harness.models.clip import Clip, Siglip
from harness.models.wrappers import BlankImage, ShuffledImage
from harness.records import ModelSettings, Problem
from tests.model_inputs import CAPTIONS, GREEDY, OPTIONS, candidates, item, items, picture, retrieval_queries, settings

torch = pytest.importorskip("torch", reason="the models extra is not installed")
Checkpoints = Mapping[str, Path]


@pytest.fixture(scope="module")
def clip(tiny_checkpoints: Checkpoints) -> Iterator[Clip]:
    model = Clip.load(settings("clip", tiny_checkpoints))
    assert isinstance(model, Clip)
    yield model
    model.close()


@pytest.fixture(scope="module")
def itm(tiny_checkpoints: Checkpoints) -> Iterator[BlipItm]:
    model = BlipItm.load(settings("blip_itm", tiny_checkpoints))
    assert isinstance(model, BlipItm)
    yield model
    model.close()


def library_scores(model: Any, pictures: list[Any], texts: list[str], **padding: Any) -> np.ndarray:
    """`logits_per_image` of the library's own forward pass, one pair of towers for all."""
    tokens = model.processor.tokenizer(texts, return_tensors="pt", truncation=True, **padding)
    pixels = model.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        return np.asarray(model.model(input_ids=tokens["input_ids"], pixel_values=pixels).logits_per_image.double())


def test_clip_scores_options_as_the_library_does(tiny_checkpoints: Checkpoints) -> None:
    model = Clip.load(settings("clip", tiny_checkpoints))
    batch = items("clip")
    found = model.choose(batch)
    texts = [f"a photo of a {option}." for option in OPTIONS]
    logits = library_scores(model, [i.images[0] for i in batch], texts, padding=True, max_length=24)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for answer, row in zip(found, expected, strict=True):
        assert isinstance(answer, Generation)
        np.testing.assert_allclose(answer.choice_scores, row, atol=1e-5)  # float32 towers, batched there, single here
        assert answer.text == "ABCDEFGH"[int(row.argmax())]


def test_siglip_scores_each_option_on_its_own(tiny_checkpoints: Checkpoints) -> None:
    model = Siglip.load(settings("siglip", tiny_checkpoints))
    batch = items("siglip")
    texts = [f"a photo of a {option}." for option in OPTIONS]
    logits = library_scores(model, [i.images[0] for i in batch], texts, padding="max_length", max_length=16)
    for answer, row in zip(model.choose(batch), logits, strict=True):
        assert isinstance(answer, Generation)
        np.testing.assert_allclose(answer.choice_scores, -np.log1p(np.exp(-row)), atol=1e-5)
    two = [dataclasses.replace(i, request=dataclasses.replace(i.request, choices=OPTIONS[:2])) for i in batch]
    for few, many in zip(model.choose(two), model.choose(batch), strict=True):
        assert isinstance(few, Generation)
        assert isinstance(many, Generation)
        assert few.choice_scores == many.choice_scores[:2]


def test_a_text_longer_than_the_tower_is_cut_with_its_end_token_kept(clip: Clip) -> None:
    long = " ".join(["two cats near a red chair"] * 20)
    ids = clip.tokens([long, "two cats"])["input_ids"]
    assert ids.shape == (2, 24)
    assert int(ids[0, -1]) == clip.processor.tokenizer.eos_token_id
    assert np.isfinite(clip.one_text(long)).all()
    assert Clip.identify(clip.settings).processing["text_limit"] == 24


def test_a_family_without_text_of_its_own_refuses_a_question_without_options(clip: Clip) -> None:
    (answer,) = clip.generate(clip.prepare([item(0, "what is this?")]), GREEDY)
    assert isinstance(answer, Problem)
    assert answer.kind == "unsupported_input"


def test_over_26_options_are_answered_with_the_text_of_the_best(clip: Clip) -> None:
    options = (*OPTIONS, *(f"sales {n}" for n in range(22)))
    (answer,) = clip.choose([item(0, "", choices=options)])
    assert isinstance(answer, Generation)
    assert answer.text == options[int(np.argmax(answer.choice_scores))]


def test_vectors_have_length_1_and_are_of_image_or_text(clip: Clip) -> None:
    vectors = clip.embed([item(0, "ignored beside a picture"), item(1, "two cats", pictures=())])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors[1] == clip.one_text("two cats")).all()


@pytest.mark.parametrize("template", ["no place", "{} and {}"])
def test_a_template_without_exactly_one_place_is_refused(tiny_checkpoints: Checkpoints, template: str) -> None:
    wrong = settings("clip", tiny_checkpoints, options={"choice_template": template})
    with pytest.raises(ModelError, match=r"choice_template.*one \{\}"):
        Clip.load(wrong)


def test_a_tokenizer_with_another_end_token_is_refused(clip: Clip) -> None:
    config = clip.model.config.text_config
    right = config.eos_token_id
    try:
        config.eos_token_id = 5
        with pytest.raises(ModelError, match="end token"):
            clip.check_processor()
        config.eos_token_id = 2  # the released configurations: pooled at the highest id
        clip.check_processor()
    finally:
        config.eos_token_id = right


def test_ranking_before_fit_is_refused(tiny_checkpoints: Checkpoints) -> None:
    model = Clip.load(settings("clip", tiny_checkpoints))
    with pytest.raises(ModelError, match="call fit"):
        model.retrieve(retrieval_queries())


def test_a_new_gallery_replaces_the_old_one(clip: Clip) -> None:
    clip.fit(candidates())
    clip.retrieve(retrieval_queries())
    clip.fit(candidates()[:2])
    answers = clip.retrieve(retrieval_queries())
    assert {a.text for a in answers if isinstance(a, Generation)} == {'["s0"]', '["s0#0"]'}


def test_a_gallery_that_does_not_fit_memory_is_read_in_halves(
    tiny_checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Clip.load(settings("clip", tiny_checkpoints))
    whole = model.embed_images

    def small(images: Any) -> Any:
        if len(images) > 1:
            raise torch.OutOfMemoryError("full")
        return whole(images)

    monkeypatch.setattr(model, "embed_images", small)
    model.fit(candidates())
    assert all(isinstance(answer, Generation) for answer in model.retrieve(retrieval_queries()))


def test_blank_candidates_and_queries_tie_and_shuffled_ones_are_anothers(tiny_checkpoints: Checkpoints) -> None:
    inner = settings("clip", tiny_checkpoints)
    blank = BlankImage.load(ModelSettings("b", "blank-image", inner=inner))
    blank.fit(candidates())
    texts = [q for q in retrieval_queries() if not q.images]
    for answer in blank.retrieve(texts):
        assert isinstance(answer, Generation)
        assert json.loads(answer.text) == ["s0", "s1", "s2"]
        assert len({round(score, 5) for score in answer.choice_scores}) == 1
    shuffled = ShuffledImage.load(ModelSettings("s", "shuffled-image", inner=inner))
    shuffled.fit(candidates())
    plain = Clip.load(inner)
    plain.fit(candidates())
    images = {e.sample_id: e for e in candidates() if e.n_images}
    donors = {name: shuffled._candidate_images(e)[0].tobytes() for name, e in images.items()}
    assert sorted(donors.values()) == sorted(picture(n).tobytes() for n in range(3))
    for here, there in zip(shuffled.retrieve(texts), plain.retrieve(texts), strict=True):
        assert isinstance(here, Generation)
        assert isinstance(there, Generation)
        own = {picture(int(name[1:])).tobytes(): name for name in images}
        assert [own[donors[name]] for name in json.loads(here.text)] == json.loads(there.text)


# BLIP: cosine, then the matching head


def brute_force(itm: BlipItm) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and "matches" logits (images, texts) of `candidates`, each pair by the library's forward pass."""
    cosines, logits = np.zeros((3, 3)), np.zeros((3, 3))
    for i in range(3):
        for t, text in enumerate(CAPTIONS):
            given = itm.processor(images=[picture(i)], text=[text], return_tensors="pt")
            with torch.inference_mode():
                given = {k: given[k] for k in ("input_ids", "attention_mask", "pixel_values")}
                cosines[i, t] = float(itm.model(**given, use_itm_head=False).itm_score)
                logits[i, t] = float(itm.model(**given, use_itm_head=True).itm_score[0, 1])
    return cosines, logits


def test_matching_scores_are_logit_plus_cosine_in_both_directions(itm: BlipItm) -> None:
    cosines, logits = brute_force(itm)
    itm.fit(candidates())
    for query, answer in zip(retrieval_queries(), itm.retrieve(retrieval_queries()), strict=True):
        assert isinstance(answer, Generation)
        own = int(query.request.sample_id[1])
        total = (cosines + logits)[own] if query.images else (cosines + logits)[:, own]
        order = np.argsort(-total)
        assert [int(name[1]) for name in json.loads(answer.text)] == order.tolist()
        np.testing.assert_allclose(answer.choice_scores, total[order], atol=1e-5)  # padded there, single here


def test_only_the_first_candidates_by_cosine_reach_the_matching_head(
    itm: BlipItm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(itm, "options", itm.options.model_copy(update={"rerank": 2, "chunk": 1}))
    cosines, _ = brute_force(itm)
    itm.fit(candidates())
    for query, answer in zip(retrieval_queries(), itm.retrieve(retrieval_queries()), strict=True):
        assert isinstance(answer, Generation)
        own = int(query.request.sample_id[1])
        near = np.argsort(-(cosines[own] if query.images else cosines[:, own]))[:2]
        assert {int(name[1]) for name in json.loads(answer.text)} == set(near.tolist())


def test_the_encoder_token_changes_matching_and_not_the_cosine(tiny_checkpoints: Checkpoints, itm: BlipItm) -> None:
    other = BlipItm.load(settings("blip_itm", tiny_checkpoints, options={"encoder_token": True}))
    (here,), (there,) = itm.choose(items("blip_itm")[:1]), other.choose(items("blip_itm")[:1])
    assert isinstance(here, Generation)
    assert isinstance(there, Generation)
    assert here.choice_scores != there.choice_scores
    assert (itm.one_text("two cats") == other.one_text("two cats")).all()
    other.close()


# The whole way, on real data


SUITE = "name: r\nversion: 1\ndescription: retrieval\ndata: {data}\ntasks: [coco-retrieval]\n"


@pytest.fixture
def card(tmp_path: Path, tiny_checkpoints: Checkpoints) -> Path:
    path = tmp_path / "tiny-clip.yaml"
    path.write_text(f"name: tiny-clip\nrun: {{family: clip, checkpoint: {tiny_checkpoints['clip']}}}\n")
    return path


def test_a_run_over_coco_gives_the_recall_of_brute_force(
    tmp_path: Path, card: Path, shared_data: Path, clip: Clip
) -> None:
    from PIL import Image

    (tmp_path / "r.yaml").write_text(SUITE.format(data="folder"))
    (run,) = run_suite(tmp_path / "r.yaml", [card], data=shared_data, out=tmp_path / "out", device="cpu").runs
    (task,) = run.record.tasks
    assert (task.n_samples, task.n_answered) == (480, 480)

    notes = json.loads((shared_data / "coco/annotations/captions_val2017.json").read_text())
    files = {str(image["id"]): image["file_name"] for image in notes["images"]}
    texts: dict[str, str] = {}
    for note in notes["annotations"]:
        image = str(note["image_id"])
        number = sum(name.startswith(f"{image}#") for name in texts)
        if number < 5:
            texts[f"{image}#{number}"] = note["caption"]
    opened = [Image.open(shared_data / "coco/val2017" / name).convert("RGB") for name in files.values()]
    pixels = clip.processor.image_processor(opened, return_tensors="pt")["pixel_values"]
    tokens = clip.processor.tokenizer(
        list(texts.values()), padding=True, truncation=True, max_length=24, return_tensors="pt"
    )
    with torch.inference_mode():
        output = clip.model(pixel_values=pixels, **tokens)
    similar = np.asarray(output.image_embeds.double() @ output.text_embeds.double().T)  # (80, 400)

    image_ids, text_ids = np.array(list(files)), np.array(list(texts))
    owner = np.array([name.partition("#")[0] for name in texts])
    values = {(v.variant, v.subset): v.estimate for v in task.values}
    for k in (1, 5, 10):
        to_text = [owner[np.argsort(-row)[:k]].tolist() for row in similar]
        to_image = [image_ids[np.argsort(-row)[:k]].tolist() for row in similar.T]
        assert values[str(k), "image-to-text"] == np.mean([i in f for i, f in zip(image_ids, to_text, strict=True)])
        assert values[str(k), "text-to-image"] == np.mean([i in f for i, f in zip(owner, to_image, strict=True)])

    answers = dict(zip(run.samples()["sample_id"], run.samples()["text"], strict=True))
    for row, name in enumerate(image_ids):
        found = [int(np.flatnonzero(text_ids == other)[0]) for other in json.loads(answers[name])]
        best = np.sort(similar[row])[::-1][:10]
        np.testing.assert_allclose(similar[row][found], best, atol=1e-6)  # equal up to the order of rounding ties


def test_another_gallery_asks_every_query_again_and_the_same_one_asks_none(tmp_path: Path, card: Path) -> None:
    from harness.tasks.schema import Subset

    (tmp_path / "r.yaml").write_text(SUITE.format(data="bundled"))

    def timing(first: int) -> Mapping[str, Any]:
        options: dict[str, Any] = {"out": tmp_path / "out", "device": "cpu", "subset": Subset(first=first)}
        return run_suite(tmp_path / "r.yaml", [card], **options).runs[0].record.timing

    small = timing(3)
    assert small["requests_asked"] > 3
    assert timing(4)["answers_from_cache"] == 0
    again = timing(3)
    assert (again["requests_asked"], again["answers_from_cache"]) == (0, small["requests_asked"])


def test_a_model_that_ranks_nothing_is_unscored_and_says_so(tmp_path: Path, tiny_checkpoints: Checkpoints) -> None:
    from harness.tasks.schema import Subset

    (tmp_path / "r.yaml").write_text(SUITE.format(data="bundled"))
    path = tmp_path / "tiny-vit.yaml"
    path.write_text(f"name: tiny-vit\nrun: {{family: image-classifier, checkpoint: {tiny_checkpoints['vit']}}}\n")
    (run,) = run_suite(tmp_path / "r.yaml", [path], out=tmp_path / "out", device="cpu", subset=Subset(first=1)).runs
    (task,) = run.record.tasks
    assert set(task.unscored) == {"unsupported_input"}
    assert all(value.estimate is None for value in task.values)
