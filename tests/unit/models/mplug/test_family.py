"""The family as the engine asks it: options, protocols, answers, refusals. Evidence: properties and bad input."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import ModelError
from harness.models.base import Generation, Model, ModelInput
from harness.models.mplug.beams import Hypothesis
from harness.models.mplug.family import Mplug
from harness.records import Problem
from tests.model_inputs import GREEDY, item, items, picture
from tests.unit.models.mplug.conftest import settings

Models = Callable[[str], Mplug]
Copied = Callable[[str], Path]


def answers(model: Mplug, batch: list[ModelInput], **generation: Any) -> list[Generation | Problem]:
    return model.generate(model.prepare(batch), dataclasses.replace(GREEDY, **generation))


@pytest.mark.parametrize("task", ["caption", "vqa"])
@pytest.mark.parametrize("beams", [1, 5])
def test_a_batch_of_four_is_four_batches_of_one(models: Models, task: str, beams: int) -> None:
    model, batch = models(task), items(f"mplug_{task}")
    together = answers(model, batch, num_beams=beams, min_new_tokens=2)
    assert together == [answers(model, [one], num_beams=beams, min_new_tokens=2)[0] for one in batch]
    assert len({a.text for a in together if isinstance(a, Generation)}) == 4


@pytest.mark.parametrize("task", ["caption", "vqa"])
def test_three_images_with_one_question_have_three_answers(models: Models, task: str) -> None:
    batch = [item(n, "how many people ?" if task == "vqa" else "") for n in range(3)]
    assert len({a.text for a in answers(models(task), batch) if isinstance(a, Generation)}) == 3


def test_one_image_is_encoded_once_for_all_its_questions(models: Models) -> None:
    model = models("vqa")
    shown = (picture(0),)
    batch = [item(n, text, pictures=shown) for n, text in enumerate(("yes or no", "how many people ?"))]
    prepared = model.prepare(batch)
    assert prepared.tensors["pixels"].shape[0] == 1
    assert prepared.tensors["picture"].tolist() == [0, 0]
    assert answers(model, batch) == [answers(model, [one])[0] for one in batch]


def test_a_caption_takes_no_text(models: Models, tiny_checkpoints: dict[str, Path]) -> None:
    given = settings(tiny_checkpoints["mplug_caption"], "caption")
    assert "takes no text" in Mplug.default_template(given)
    assert "takes no text" in Mplug.identify(given).warnings[0]
    assert answers(models("caption"), [item(0, "a photo of")]) == answers(models("caption"), [item(0, "")])
    assert Mplug.default_template(settings(tiny_checkpoints["mplug_vqa"], "vqa")) == "{{ text }}"


def test_capabilities_follow_the_task_and_need_no_checkpoint() -> None:
    by_task = {task: Mplug.capabilities(settings(Path("/absent"), task)) for task in ("caption", "vqa", "retrieval")}
    assert [by_task[t].can_choose for t in ("caption", "vqa", "retrieval")] == [False, True, False]
    assert [by_task[t].can_retrieve for t in ("caption", "vqa", "retrieval")] == [False, False, True]
    assert [by_task[t].min_images for t in ("caption", "vqa", "retrieval")] == [1, 1, 0]


@pytest.mark.parametrize("options", [{}, {"task": "nlvr"}, {"task": "vqa", "heads": 0}, {"task": "vqa", "pad_to": -1}])
def test_a_wrong_or_missing_option_is_named(options: dict[str, Any]) -> None:
    given = dataclasses.replace(settings(Path("/absent"), "vqa"), options=options)
    wrong = next((name for name in ("heads", "pad_to") if name in options), "task")
    with pytest.raises(ModelError, match=rf"run\.options\.{wrong}: "):
        Mplug.capabilities(given)


@pytest.mark.parametrize(
    ("options", "end", "tokens"),
    [
        ({}, False, 0),
        ({"protocol": "modelscope"}, True, 25),
        ({"protocol": "modelscope", "trailing_sep": False, "pad_to": 0}, False, 0),
        ({"trailing_sep": True, "pad_to": 12}, True, 12),
    ],
)
def test_the_text_protocol_is_an_option_and_recorded(
    tiny_checkpoints: dict[str, Path], options: dict[str, Any], end: bool, tokens: int
) -> None:
    given = settings(tiny_checkpoints["mplug_vqa"], "vqa", options=options)
    recorded = Mplug.identify(given).processing["text"]
    assert (recorded["trailing_sep"], recorded["pad_to"]) == (end, tokens)
    ids = Mplug.load(given).prepare([item(0, "a red dog")]).tensors["ids"][0].tolist()
    length = 4 + end
    assert len(ids) == (tokens or length)
    assert ids[0] == 101
    assert (ids[length - 1] == 102) == end


def test_padding_to_a_length_changes_no_answer_and_a_trailing_sep_may(tiny_checkpoints: dict[str, Path]) -> None:
    folder, batch = tiny_checkpoints["mplug_vqa"], items("mplug_vqa")
    plain = answers(Mplug.load(settings(folder, "vqa")), batch)
    assert answers(Mplug.load(settings(folder, "vqa", options={"pad_to": 40})), batch) == plain
    assert answers(Mplug.load(settings(folder, "vqa", options={"trailing_sep": True})), batch) != plain


def test_an_answer_ends_at_its_first_sep_unless_asked_literally(
    models: Models, tiny_checkpoints: dict[str, Path]
) -> None:
    literal = Mplug.load(settings(tiny_checkpoints["mplug_vqa"], "vqa", options={"cut_at_sep": False}))
    words = literal._words.encode(["dog cats red"], end=False).ids[0].tolist()[1:]
    found = Hypothesis((101, words[0], 102, words[1], 102), -1.0)
    assert models("vqa")._written(found, 3, ()) == Generation("dog", 3, 2)
    assert literal._written(found, 3, ()) == Generation("dog  cats", 3, 4)
    assert literal._written(found, 3, ("cats",)).text == "dog  "


@pytest.mark.parametrize(
    ("generation", "message"),
    [
        ({"max_new_tokens": 65}, r"max_new_tokens is 65; give 1 to 64, the positions of the decoder"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"min_new_tokens": 13}, "min_new_tokens is 13; give 0 to max_new_tokens"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"do_sample": True}, "do_sample is True; give false"),
        ({"length_penalty": -1.0}, "length_penalty is -1.0; give 1: the search has a length penalty of its own"),
        ({"repetition_penalty": 1.2}, "repetition_penalty is 1.2"),
    ],
)
def test_a_setting_that_the_search_does_not_have_is_refused(
    models: Models, generation: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        answers(models("vqa"), [item(0, "yes or no")], **generation)


def test_as_many_tokens_as_there_are_positions_can_be_written(models: Models) -> None:
    (answer,) = answers(models("caption"), [item(0)], max_new_tokens=64, min_new_tokens=63)
    assert isinstance(answer, Generation)
    assert answer.output_tokens == 64


def test_a_question_longer_than_the_positions_is_a_problem_of_its_own(models: Models) -> None:
    short, long = item(0, "yes or no"), item(1, "dog " * 70)
    found = answers(models("vqa"), [long, short, ModelInput(short.request, ())])
    assert isinstance(found[0], Problem)
    assert (found[0].kind, found[0].message) == ("prompt_too_long", "71 tokens; tiny takes 64")
    assert found[1] == answers(models("vqa"), [short])[0]
    assert isinstance(found[2], Problem)
    assert answers(models("vqa"), [long]) == [found[0]]


def test_choices_are_ranked_by_the_released_score(models: Models) -> None:
    model = models("vqa")
    choices = ("red", "two cats on the grass", "dog")
    base = item(0, "what colour is the largest bar ?", choices=choices, answer_by="choose")
    (found,) = model.choose([base])
    assert isinstance(found, Generation)
    prepared = model.prepare([base])
    with torch.inference_mode():
        context = model._context(prepared)
        for choice, score in zip(choices, found.choice_scores, strict=True):
            ids = model._words.encode([choice], end=True).ids
            logp = model.network.text_decoder(ids, context)[0, :-1].log_softmax(dim=-1)
            each = logp.gather(1, ids[0, 1:, None])[:, 0]
            assert score == pytest.approx(float(each.sum() + each[0]), abs=1e-3)
    assert found.text == "ABC"[found.choice_scores.index(max(found.choice_scores))]


@pytest.mark.parametrize("choices", [("only one",), ("red", " ")])
def test_options_that_cannot_be_ranked_are_a_problem(models: Models, choices: tuple[str, ...]) -> None:
    (found,) = models("vqa").choose([item(0, "which ?", choices=choices)])
    assert isinstance(found, Problem)


def test_a_closed_list_of_answers_gives_its_best_one(copied: Copied) -> None:
    folder = copied("vqa")
    closed = ("dog", "red chair", "two", "yes", "no")
    (folder / "answers.txt").write_text("\n".join([*closed, "", "dog"]) + "\n")
    given = settings(folder, "vqa", options={"answers": "answers.txt"})
    model, batch = Mplug.load(given), items("mplug_vqa")
    found = answers(model, batch)
    for one, answer in zip(batch, found, strict=True):
        asked = ModelInput(dataclasses.replace(one.request, choices=closed), one.images)
        (chosen,) = model.choose([asked])
        assert isinstance(answer, Generation)
        assert isinstance(chosen, Generation)
        assert answer.text == closed["ABCDE".index(chosen.text)]
    before = Mplug.identify(given)
    (folder / "answers.txt").write_text("dog\ncat\n")
    assert Mplug.identify(given) != before
    (folder / "answers.txt").write_text("\n\n")
    with pytest.raises(ModelError, match=r"answers\.txt has no answers"):
        Mplug.load(given)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("caption", {"answers": "a.txt"}, r"run\.options\.answers is for task vqa"),
        ("vqa", {"answers": "a.txt"}, r"run\.options\.answers: there is no file .*a\.txt"),
        ("vqa", {"vocab": "words.txt"}, r"run\.options\.vocab: there is no file .*words\.txt"),
        ("retrieval", {"pad_to": 0}, r"run\.options\.pad_to is 0; retrieval needs texts of one length"),
        ("vqa", {"pad_to": 1}, r"run\.options\.pad_to is 1; no word fits"),
    ],
)
@pytest.mark.parametrize("step", ["identify", "load"])
def test_options_that_make_no_sense_together_are_refused(
    tiny_checkpoints: dict[str, Path], task: str, options: dict[str, Any], message: str, step: str
) -> None:
    with pytest.raises(ModelError, match=message):
        getattr(Mplug, step)(settings(tiny_checkpoints[f"mplug_{task}"], task, options=options))


def test_settings_come_from_the_card_then_the_files_then_the_preset_and_the_record_says_which(copied: Copied) -> None:
    folder = copied("vqa")

    def recorded(**options: Any) -> dict[str, Any]:
        found: dict[str, Any] = Mplug.identify(settings(folder, "vqa", options=options)).processing["settings"]
        return {name: (one["value"], one["source"]) for name, one in found.items()}

    assert recorded(stride_layer=1)["stride_layer"] == (1, "run.options")
    assert recorded(preset="large")["stride_layer"] == (2, "config_bert.json")
    (folder / "config.yaml").write_text("image_res: 48\nbeam_size: 5\n")
    assert recorded()["image_px"] == (32, "config_bert.json")
    (folder / "config_bert.json").unlink()
    assert recorded(preset="large") == {
        "heads": (12, "preset large"),
        "image_px": (48, "config.yaml"),
        "fusion_layers": (6, "preset large"),
        "stride_layer": (6, "preset large"),
    }
    assert recorded(preset="base")["stride_layer"] == (3, "preset base")
    with pytest.raises(ModelError, match=r"nothing says fusion_layers.*run\.options\.preset"):
        recorded()
    assert recorded(fusion_layers=3, stride_layer=2)["heads"] == (None, "hidden width / 64")


def test_heads_that_nothing_tells_are_asked_for(copied: Copied) -> None:
    folder = copied("caption")
    (folder / "config_bert.json").unlink()
    with pytest.raises(
        ModelError, match=r"tiny: nothing says the heads of a hidden width of 32; set run\.options\.heads"
    ):
        Mplug.load(settings(folder, "caption"))
    model = Mplug.load(settings(folder, "caption", options={"heads": 4}))
    assert model.network.sizes.settings.image_px == 32


@pytest.mark.parametrize("content", ["[1]", "{", '{"stride_layer": "two"}', '{"stride_layer": 0}'])
def test_a_damaged_configuration_is_named(copied: Copied, content: str) -> None:
    folder = copied("vqa")
    (folder / "config_bert.json").write_text(content)
    with pytest.raises(ModelError, match=r"config_bert\.json"):
        Mplug.identify(settings(folder, "vqa"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("text_decode_layers", 3, r"text_decoder\.bert\.encoder\.layer\.2\.[\w.]+: expected .*, found nothing"),
        ("text_encoder_layers", 1, "text_layers: the configuration names 1 and the weights have 2"),
        ("max_position_embeddings", 65, r"position_embeddings\.weight: expected \(65, 32\), found \(64, 32\)"),
    ],
)
def test_weights_of_other_sizes_than_the_configuration_are_refused(
    copied: Copied, key: str, value: int, message: str
) -> None:
    folder = copied("vqa")
    content = json.loads((folder / "config_bert.json").read_text())
    (folder / "config_bert.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(ModelError, match=message):
        Mplug.load(settings(folder, "vqa"))


def test_a_checkpoint_of_another_task_is_refused(tiny_checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match=r"tiny: .*text_decoder"):
        Mplug.load(settings(tiny_checkpoints["mplug_retrieval"], "vqa"))
    with pytest.raises(ModelError, match=r"tiny: .*text_encoder"):
        Mplug.load(settings(tiny_checkpoints["mplug_caption"], "vqa", options={"fusion_layers": 3, "stride_layer": 2}))


def test_identify_loads_no_tensor_library(tiny_checkpoints: dict[str, Path]) -> None:
    program = (
        "import sys; from harness.models.mplug.family import Mplug; from harness.records import ModelSettings\n"
        f"Mplug.identify(ModelSettings('t', 'mplug', checkpoint={str(tiny_checkpoints['mplug_vqa'])!r}, device='cpu', "
        "options={'task': 'vqa'}))\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_half_precision_is_taken_from_the_card(tiny_checkpoints: dict[str, Path]) -> None:
    model = Mplug.load(settings(tiny_checkpoints["mplug_vqa"], "vqa", dtype="bfloat16"))
    assert model.network.dtype == torch.bfloat16
    assert all(isinstance(a, Generation) for a in answers(model, items("mplug_vqa"), num_beams=2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_answers_as_the_cpu_and_reports_its_memory(
    models: Models, tiny_checkpoints: dict[str, Path]
) -> None:
    model: Model = Mplug.load(settings(tiny_checkpoints["mplug_vqa"], "vqa", device="cuda", dtype="float32"))
    batch = items("mplug_vqa")
    assert model.generate(model.prepare(batch), GREEDY) == answers(models("vqa"), batch)
    assert (model.peak_memory_bytes() or 0) > 0
    model.close()
