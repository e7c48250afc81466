"""Models that answer with labels: ViT, BEiT, ViLT, VisualBERT, LXMERT. Evidence: the library's own logits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ModelError
from harness.models.base import Generation, Model, ModelInput
from harness.models.image_classifier import ImageClassifier
from harness.models.labels import read_labels
from harness.models.regions import Lxmert, VisualBert
from harness.models.vilt import Vilt, ViltPairs
from harness.models.wrappers import BlankImage
from harness.records import ModelSettings, Problem
from tests.model_inputs import GREEDY, item, items, region_features, settings
from tests.tiny_encoders import LABELS

torch = pytest.importorskip("torch", reason="the models extra is not installed")
Checkpoints = Mapping[str, Path]


def one_answer(model: Model, given: ModelInput) -> Generation | Problem:
    (answer,) = model.generate(model.prepare([given]), GREEDY)
    return answer


def asked_with(given: ModelInput, *choices: str) -> ModelInput:
    return dataclasses.replace(given, request=dataclasses.replace(given.request, choices=choices))


@pytest.mark.parametrize("name", ["vit", "beit"])
def test_a_classifier_names_the_label_of_the_librarys_highest_logit(name: str, tiny_checkpoints: Checkpoints) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = ImageClassifier.load(settings(name, tiny_checkpoints))
    library = AutoModelForImageClassification.from_pretrained(tiny_checkpoints[name]).eval()
    images = AutoImageProcessor.from_pretrained(tiny_checkpoints[name], backend="pil")
    for given in items(name):
        with torch.inference_mode():
            logits = library(**images(given.images[0], return_tensors="pt")).logits[0]
        answer = one_answer(model, given)
        assert isinstance(answer, Generation)
        assert answer.text == LABELS[int(logits.argmax())]
        (chosen,) = model.choose([asked_with(given, "table", "dog")])
        assert isinstance(chosen, Generation)
        rows = [LABELS.index("table"), LABELS.index("dog")]
        np.testing.assert_allclose(chosen.choice_scores, logits.log_softmax(0)[rows], atol=1e-5)


def test_options_are_labels_by_whole_name_or_synonym_and_others_are_problems(tiny_checkpoints: Checkpoints) -> None:
    model = ImageClassifier.load(settings("vit", tiny_checkpoints))
    given = items("vit")[0]
    (synonym,), (whole,) = (model.choose([asked_with(given, n, "dog")]) for n in ("TENCH", "tench, Tinca tinca"))
    assert isinstance(synonym, Generation)
    assert isinstance(whole, Generation)
    assert synonym.choice_scores == whole.choice_scores
    (unknown,) = model.choose([asked_with(given, "a whale", "dog")])
    assert isinstance(unknown, Problem)
    assert unknown.kind == "unknown_label"
    (single,) = model.choose([asked_with(given, "dog")])
    assert isinstance(single, Problem)


def test_a_file_of_labels_takes_the_place_of_the_configurations(tiny_checkpoints: Checkpoints, tmp_path: Path) -> None:
    plain = one_answer(ImageClassifier.load(settings("vit", tiny_checkpoints)), items("vit")[0])
    assert isinstance(plain, Generation)
    forms: dict[str, str] = {
        "labels.txt": "\n".join(f"class {n}" for n in range(len(LABELS))),
        "list.json": json.dumps([f"class {n}" for n in range(len(LABELS))]),
        "object.json": json.dumps({str(n): f"class {n}" for n in reversed(range(len(LABELS)))}),
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        given = settings("vit", tiny_checkpoints, options={"labels": str(tmp_path / name)})
        answer = one_answer(ImageClassifier.load(given), items("vit")[0])
        assert isinstance(answer, Generation)
        assert answer.text == f"class {LABELS.index(plain.text)}"
        assert ImageClassifier.identify(given).processing["labels"]


@pytest.mark.parametrize(
    ("text", "message"), [("one\ntwo", "has 2 labels and the model 33"), (None, "there is no file")]
)
def test_a_wrong_file_of_labels_is_refused(
    text: str | None, message: str, tiny_checkpoints: Checkpoints, tmp_path: Path
) -> None:
    path = tmp_path / "labels.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ModelError, match=message):
        ImageClassifier.load(settings("vit", tiny_checkpoints, options={"labels": str(path)}))


@pytest.mark.parametrize("content", ['{"a": "b"}', "[1, 2]", "{", '"text"'])
def test_json_of_another_form_is_no_list_of_labels(content: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(ModelError, match="no list of labels"):
        read_labels(path)


def edited(source: Path, target: Path, **changes: Any) -> Path:
    """A copy of a checkpoint with fields of config.json changed."""
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **changes}))
    return target


def test_labels_without_names_are_refused(tiny_checkpoints: Checkpoints, tmp_path: Path) -> None:
    names = {str(n): f"LABEL_{n}" for n in range(len(LABELS))}
    folder = edited(tiny_checkpoints["vit"], tmp_path / "vit", id2label=names, label2id={})
    with pytest.raises(ModelError, match=r"run\.options\.labels"):
        ImageClassifier.load(settings("vit", tiny_checkpoints, checkpoint=str(folder)))


def test_a_checkpoint_without_the_head_is_refused(tiny_checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = edited(tiny_checkpoints["vit"], tmp_path / "vit", architectures=["ViTModel"])
    with pytest.raises(ModelError, match=r"ViTModel.*ForImageClassification"):
        ImageClassifier.identify(settings("vit", tiny_checkpoints, checkpoint=str(folder)))


# ViLT


@pytest.mark.parametrize("name", ["vilt", "vilt_pairs"])
def test_vilt_names_the_label_of_the_librarys_highest_logit(name: str, tiny_checkpoints: Checkpoints) -> None:
    model = Vilt.load(settings(name, tiny_checkpoints))
    assert isinstance(model, ViltPairs) == (name == "vilt_pairs")
    for given in items(name):
        encoded = model.processor(images=list(given.images), text=given.request.prompt, return_tensors="pt")
        if name == "vilt_pairs":
            encoded["pixel_values"] = encoded["pixel_values"].unsqueeze(0)
            encoded["pixel_mask"] = encoded["pixel_mask"].unsqueeze(0)
        with torch.inference_mode():
            logits = model.model(**encoded).logits[0]
        answer = one_answer(model, given)
        assert isinstance(answer, Generation)
        assert answer.text == LABELS[int(logits.argmax())]


def test_vilt_for_pairs_takes_exactly_two_images(tiny_checkpoints: Checkpoints) -> None:
    can = Vilt.capabilities(settings("vilt_pairs", tiny_checkpoints))
    assert (can.min_images, can.max_images) == (2, 2)
    model = Vilt.load(settings("vilt_pairs", tiny_checkpoints))
    answer = one_answer(model, item(0, "one picture only"))
    assert isinstance(answer, Problem)
    assert answer.kind == "unsupported_input"


def test_vilt_cuts_a_long_text_and_keeps_the_separator(tiny_checkpoints: Checkpoints) -> None:
    model = Vilt.load(settings("vilt", tiny_checkpoints))
    prepared = model.prepare([item(0, "people " * 60)])
    ids = prepared.tensors["input_ids"]
    assert ids.shape == (1, 40)
    assert int(ids[0, -1]) == model.processor.tokenizer.sep_token_id
    assert prepared.prompt_tokens == (40,)


def test_the_pads_that_vilt_draws_leave_the_callers_random_state_alone(tiny_checkpoints: Checkpoints) -> None:
    model = Vilt.load(settings("vilt", tiny_checkpoints))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    model.generate(model.prepare(items("vilt")), GREEDY)
    assert bool((torch.random.get_rng_state() == before).all())


# VisualBERT and LXMERT


@pytest.fixture
def features(tmp_path: Path) -> Path:
    return region_features(tmp_path / "regions")


def regions_settings(name: str, checkpoints: Checkpoints, features: Path, **options: Any) -> ModelSettings:
    given = settings(name, checkpoints)
    return dataclasses.replace(given, options={"features": str(features), **options})


def test_visualbert_reads_the_mask_behind_the_question(tiny_checkpoints: Checkpoints, features: Path) -> None:
    model = VisualBert.load(regions_settings("visualbert", tiny_checkpoints, features))
    for number, given in enumerate(items("visualbert")):
        stored = np.load(features / f"s{number}.npz")["features"]
        text = model.processor(given.request.prompt, return_tensors="pt")
        assert int(text["input_ids"][0, -2]) == model.processor.mask_token_id
        visual = torch.tensor(stored, dtype=torch.float32).unsqueeze(0)
        with torch.inference_mode():
            logits = model.model(
                **text,
                visual_embeds=visual,
                visual_attention_mask=torch.ones(visual.shape[:-1]),
                visual_token_type_ids=torch.ones(visual.shape[:-1], dtype=torch.long),
            ).logits[0]
        answer = one_answer(model, given)
        assert isinstance(answer, Generation)
        assert answer.text == LABELS[int(logits.argmax())]


def test_visualbert_without_the_mask_is_refused(tiny_checkpoints: Checkpoints, features: Path) -> None:
    answer = one_answer(VisualBert.load(regions_settings("visualbert", tiny_checkpoints, features)), item(0, "how?"))
    assert isinstance(answer, Problem)
    assert answer.kind == "no_mask"


def test_lxmert_reads_features_and_boxes(tiny_checkpoints: Checkpoints, features: Path) -> None:
    model = Lxmert.load(regions_settings("lxmert", tiny_checkpoints, features))
    for number, given in enumerate(items("lxmert")):
        stored = np.load(features / f"s{number}.npz")
        text = model.processor(given.request.prompt, return_tensors="pt")
        with torch.inference_mode():
            logits = model.model(
                **text,
                visual_feats=torch.tensor(stored["features"], dtype=torch.float32).unsqueeze(0),
                visual_pos=torch.tensor(stored["boxes"], dtype=torch.float32).unsqueeze(0),
            ).question_answering_score[0]
        answer = one_answer(model, given)
        assert isinstance(answer, Generation)
        assert answer.text == LABELS[int(logits.argmax())]


@pytest.mark.parametrize("form", ["folder of safetensors", "one npz", "one safetensors", "by image hash"])
def test_every_form_of_features_gives_the_same_answers(
    form: str, tiny_checkpoints: Checkpoints, features: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    arrays = {f"s{n}": {k: np.ascontiguousarray(v) for k, v in np.load(features / f"s{n}.npz").items()} for n in (0, 1)}
    flat = {f"{key}/{name}": array for key, found in arrays.items() for name, array in found.items()}
    target = tmp_path / "other"
    if form == "one npz":
        target = tmp_path / "other.npz"
        np.savez(target, **flat)
    elif form == "one safetensors":
        target = tmp_path / "other.safetensors"
        save_file(flat, target)
    else:
        target.mkdir()
        for key, found in arrays.items():
            if form == "by image hash":
                np.savez(target / f"picture {key[1:]}.0.npz", **found)
            else:
                save_file(found, target / f"{key}.safetensors")
    batch = items("lxmert")[:2]
    here, there = (Lxmert.load(regions_settings("lxmert", tiny_checkpoints, path)) for path in (features, target))
    assert here.generate(here.prepare(batch), GREEDY) == there.generate(there.prepare(batch), GREEDY)


def test_a_sample_without_features_is_a_problem_of_that_sample_alone(
    tiny_checkpoints: Checkpoints, features: Path
) -> None:
    (features / "s1.npz").unlink()
    model = Lxmert.load(regions_settings("lxmert", tiny_checkpoints, features))
    answers = model.generate(model.prepare(items("lxmert")), GREEDY)
    kinds = [a.kind if isinstance(a, Problem) else "" for a in answers]
    assert kinds == ["", "no_features", "", ""]


@pytest.mark.parametrize(
    "arrays",
    [
        {"features": np.zeros((3, 7)), "boxes": np.zeros((3, 4))},
        {"features": np.zeros((0, 24)), "boxes": np.zeros((0, 4))},
        {"features": np.full((3, 24), np.nan), "boxes": np.zeros((3, 4))},
        {"features": np.zeros((3, 24))},
        {"features": np.zeros((3, 24)), "boxes": np.zeros((2, 4))},
        {"features": np.zeros((3, 24)), "boxes": np.full((3, 4), 300.0)},
    ],
    ids=["width", "none", "nan", "no boxes", "count", "pixels instead of shares"],
)
def test_features_of_another_shape_are_named(
    arrays: dict[str, np.ndarray], tiny_checkpoints: Checkpoints, features: Path
) -> None:
    np.savez(features / "s0.npz", **arrays)
    answer = one_answer(Lxmert.load(regions_settings("lxmert", tiny_checkpoints, features)), items("lxmert")[0])
    assert isinstance(answer, Problem)
    assert answer.kind == "bad_features"
    assert "s0" in answer.message


def test_a_damaged_or_pickled_file_of_features_is_a_problem(tiny_checkpoints: Checkpoints, features: Path) -> None:
    model = Lxmert.load(regions_settings("lxmert", tiny_checkpoints, features))
    (features / "s0.npz").write_bytes(b"PK\x03\x04 cut")
    np.savez(features / "s1.npz", features=np.array([{"a": 1}], dtype=object))
    for given in items("lxmert")[:2]:
        answer = one_answer(model, given)
        assert isinstance(answer, Problem)
        assert answer.kind == "bad_features"


def test_other_features_are_another_identity_and_absent_ones_are_refused(
    tiny_checkpoints: Checkpoints, features: Path, tmp_path: Path
) -> None:
    given = regions_settings("lxmert", tiny_checkpoints, features)
    before = Lxmert.identify(given)
    np.savez(features / "s9.npz", features=np.zeros((1, 24)))
    assert Lxmert.identify(given) != before
    with pytest.raises(ModelError, match="no region features"):
        Lxmert.identify(regions_settings("lxmert", tiny_checkpoints, tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="features: field required"):
        Lxmert.identify(settings("vit", tiny_checkpoints, checkpoint=given.checkpoint))


def test_a_tokenizer_from_another_folder_is_used_and_a_missing_one_is_named(
    tiny_checkpoints: Checkpoints, features: Path, tmp_path: Path
) -> None:
    bare, words = tmp_path / "bare", tmp_path / "words"
    words.mkdir()
    edited(tiny_checkpoints["lxmert"], bare)
    for file in list(bare.iterdir()):
        if "token" in file.name or file.name == "vocab.txt":
            file.rename(words / file.name)
    given = dataclasses.replace(regions_settings("lxmert", tiny_checkpoints, features), checkpoint=str(bare))
    with pytest.raises(ModelError, match=r"run\.options\.tokenizer"):
        Lxmert.load(given)
    complete = dataclasses.replace(given, options={**given.options, "tokenizer": str(words)})
    plain = Lxmert.load(regions_settings("lxmert", tiny_checkpoints, features))
    assert one_answer(Lxmert.load(complete), items("lxmert")[0]) == one_answer(plain, items("lxmert")[0])
    assert Lxmert.identify(complete).processing["tokenizer"]


def test_wrapping_a_model_that_reads_no_pixels_is_refused(tiny_checkpoints: Checkpoints, features: Path) -> None:
    inner = regions_settings("lxmert", tiny_checkpoints, features)
    with pytest.raises(ModelError, match="does not read pixels"):
        BlankImage.identify(ModelSettings("blank", "blank-image", inner=inner))
