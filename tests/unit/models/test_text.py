"""Text-only models. Evidence: token ids and likelihoods against the library called directly; properties."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from harness.errors import ModelError
from harness.models.base import Generation
from harness.models.text import Text
from harness.records import GenerationSettings, Problem
from tests.model_inputs import GREEDY, item, items, settings

Checkpoints = dict[str, Path]


def answers(model: Text, prompt: str = "how many people ?", **given: Any) -> list[Any]:
    return model.generate(model.prepare([item(0, prompt, pictures=(), **given)]), GREEDY)


def test_the_chat_template_goes_around_the_prompt_without_a_second_start_token(tiny_checkpoints: Checkpoints) -> None:
    model = Text.load(settings("qwen2", tiny_checkpoints, options={"system": "Be brief."}))
    tensors = model.prepare([item(0, "red chair", pictures=())]).tensors
    text = model.processor.tokenizer.decode(tensors["input_ids"][0])
    system = "<|im_start|>system\nBe brief.<|im_end|>\n"
    assert text == f"{system}<|im_start|>user\nred chair<|im_end|>\n<|im_start|>assistant\n"


def test_chat_options_reach_the_template(tiny_checkpoints: Checkpoints) -> None:
    model = Text.load(settings("qwen2", tiny_checkpoints, options={"chat_options": {"enable_thinking": False}}))
    assert model.prompt_text(item(0, "q")).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize("change", [{"options": {"chat": "never"}}, {"template": "Q: {{ text }}"}])
def test_a_cards_template_or_never_takes_the_chat_templates_place(
    tiny_checkpoints: Checkpoints, change: dict[str, Any]
) -> None:
    model = Text.load(settings("qwen2", tiny_checkpoints, **change))
    assert model.prompt_text(item(0, "Q: red chair")) == "Q: red chair"
    with pytest.raises(ModelError, match="belong to a chat template"):
        Text.load(settings("qwen2", tiny_checkpoints, template="x", options={"system": "y"}))


@pytest.mark.parametrize("name", ["qwen2", "gpt2"])
def test_answers_are_the_librarys_own_without_outer_blanks(name: str, tiny_checkpoints: Checkpoints) -> None:
    model = Text.load(settings(name, tiny_checkpoints))
    library: Any = transformers.AutoModelForCausalLM.from_pretrained(tiny_checkpoints[name])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_checkpoints[name])
    for one in items(name):
        ids = tokenizer(model.prompt_text(one), return_tensors="pt").input_ids
        out = library.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        text = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert model.generate(model.prepare([one]), GREEDY)[0] == Generation(
            text.strip(), ids.shape[1], len(out[0]) - ids.shape[1]
        )


def test_options_are_ranked_by_the_librarys_own_likelihood(tiny_checkpoints: Checkpoints) -> None:
    model = Text.load(settings("gpt2", tiny_checkpoints))
    library: Any = transformers.AutoModelForCausalLM.from_pretrained(tiny_checkpoints["gpt2"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_checkpoints["gpt2"])
    choices = ("red chair", "dog on the grass")
    (chosen,) = model.choose([item(0, "Q: what ? A:", pictures=(), choices=choices)])
    assert isinstance(chosen, Generation)
    start = len(tokenizer("Q: what ? A:").input_ids)
    for choice, score in zip(choices, chosen.choice_scores, strict=True):
        ids = tokenizer(f"Q: what ? A: {choice}", return_tensors="pt").input_ids
        with torch.inference_mode():
            logits = library(ids).logits.log_softmax(-1)[0, start - 1 : -1]
        assert score == pytest.approx(float(logits.gather(1, ids[0, start:, None]).sum()), abs=1e-4)


def test_an_image_is_refused_unless_the_card_says_that_the_model_is_blind(tiny_checkpoints: Checkpoints) -> None:
    seeing = Text.load(settings("qwen2", tiny_checkpoints))
    (refused,) = seeing.generate(seeing.prepare([item(0, "red chair")]), GREEDY)
    assert isinstance(refused, Problem)
    assert refused.kind == "unsupported_input"
    given = settings("qwen2", tiny_checkpoints, options={"ignore_images": True})
    assert Text.capabilities(given).max_images is None
    blind = Text.load(given)
    prepared = blind.prepare([item(0, "red chair"), item(1, "red chair")])
    first, second = blind.generate(prepared, GREEDY)
    assert first == second == answers(seeing, "red chair")[0]
    assert any("blind" in warning for warning in Text.identify(given).warnings)


def test_a_stop_string_ends_the_answer(tiny_checkpoints: Checkpoints) -> None:
    model = Text.load(settings("gpt2", tiny_checkpoints))
    (whole,) = answers(model)
    mark = whole.text[4:6]
    (cut,) = model.generate(
        model.prepare([item(0, "how many people ?", pictures=())]), GenerationSettings(max_new_tokens=12, stop=(mark,))
    )
    assert isinstance(cut, Generation)
    assert cut.text == whole.text.partition(mark)[0].strip()


def test_a_prompt_that_is_too_long_is_a_problem_of_that_prompt(tiny_checkpoints: Checkpoints) -> None:
    model = Text.load(settings("gpt2", tiny_checkpoints))
    batch = [item(0, "dog " * 130, pictures=()), item(1, "dog", pictures=())]
    long, short = model.generate(model.prepare(batch), GREEDY)
    assert isinstance(long, Problem)
    assert long.kind == "prompt_too_long"
    assert short == answers(model, "dog")[0]


def test_a_checkpoint_that_is_no_language_model_is_refused(tiny_checkpoints: Checkpoints) -> None:
    wrong = settings("qwen2", {"qwen2": tiny_checkpoints["llava"]})
    with pytest.raises(ModelError, match=r"LlavaForConditionalGeneration; family text reads causal language models"):
        Text.identify(wrong)


def test_a_chat_template_that_fails_is_named_with_a_remedy(tiny_checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints["qwen2"], tmp_path / "qwen2"))
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no user') }}")
    model = Text.load(settings("qwen2", {"qwen2": folder}))
    with pytest.raises(ModelError, match=r"chat template fails: no user.*chat: never"):
        answers(model)


def test_the_chat_template_is_part_of_the_identity(tiny_checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints["qwen2"], tmp_path / "qwen2"))
    before = Text.identify(settings("qwen2", {"qwen2": folder})).processing
    stored = folder / "chat_template.jinja"
    stored.write_text(stored.read_text() + " ")
    assert Text.identify(settings("qwen2", {"qwen2": folder})).processing != before
    assert json.dumps(before["prompt_by"]) == '{"chat": "auto", "system": null, "chat_options": {}}'
