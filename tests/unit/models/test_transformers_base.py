"""What all transformers families share: settings of generation, sampling, errors, devices, number types."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.errors import ModelError, ModelOutOfMemory
from harness.models import devices
from harness.models.base import Generation
from harness.models.checkpoint import locate
from harness.models.decoding import cut_at, generation_config, output_length, sampling_seed
from harness.models.transformers_base import TransformersModel
from harness.records import GenerationSettings, ModelSettings
from tests.model_inputs import FAMILIES, GREEDY, item, items, settings


def loaded(given: ModelSettings) -> TransformersModel:
    model = registry.load("models", given.family).load(given)
    assert isinstance(model, TransformersModel)
    return model


WRITERS = {"llava", "blip2", "pix2struct", "image-text-to-text", "instructblip", "kosmos2", "git", "idefics", "text"}
"""Families that write an answer token by token; those with labels, scores or sounds have other settings."""
NAMES = tuple(name for name, family in FAMILIES.items() if family in WRITERS)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str, tiny_checkpoints: dict[str, Path]) -> TransformersModel:
    return loaded(settings(name, tiny_checkpoints))


def single(model: TransformersModel) -> bool:
    return type(model).capabilities(model.settings).batching == "single"


def texts(model: TransformersModel, name: str, given: GenerationSettings) -> list[str]:
    answers = model.generate(model.prepare(items(name)), given)
    return [answer.text for answer in answers if isinstance(answer, Generation)]


LEAKS: dict[str, Any] = {
    "num_beams": 4,
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 1,
    "min_new_tokens": 11,
    "max_length": 3,
    "do_sample": True,
    "temperature": 9.0,
    "suppress_tokens": [5, 6, 7],
}


def test_a_checkpoints_own_generation_defaults_change_nothing(
    name: str, model: TransformersModel, tiny_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoints[name], tmp_path / name))
    stored = json.loads((folder / "generation_config.json").read_text())
    stored.pop("_from_model_config", None)
    (folder / "generation_config.json").write_text(json.dumps({**stored, **LEAKS}))
    other = loaded(settings(name, {name: folder}))
    assert texts(other, name, GREEDY) == texts(model, name, GREEDY)


def test_beams_and_penalties_reach_the_model(name: str, model: TransformersModel) -> None:
    greedy = texts(model, name, GREEDY)
    for change in ({"repetition_penalty": 5.0}, {"num_beams": 4}, {"max_new_tokens": 3}):
        assert texts(model, name, dataclasses.replace(GREEDY, **change)) != greedy


def test_beam_search_and_penalties_do_not_depend_on_the_batch(name: str, model: TransformersModel) -> None:
    given = dataclasses.replace(GREEDY, num_beams=3, length_penalty=-1.0, repetition_penalty=1.3, min_new_tokens=2)
    batch = items(name)
    together = model.generate(model.prepare(batch), given)
    assert together == [model.generate(model.prepare([one]), given)[0] for one in batch]


def test_samples_depend_on_seed_and_request_but_not_on_the_batch(name: str, model: TransformersModel) -> None:
    import torch

    given = dataclasses.replace(GREEDY, do_sample=True, temperature=1.5)
    batch = items(name)
    state = torch.random.get_rng_state()
    together = model.generate(model.prepare(batch), given)
    assert together == model.generate(model.prepare(batch[::-1]), given)[::-1]
    assert together == [model.generate(model.prepare([one]), given)[0] for one in batch]
    assert together != model.generate(model.prepare(batch), dataclasses.replace(given, seed=1))
    assert bool((state == torch.random.get_rng_state()).all())


def test_fewest_and_most_tokens_are_kept(name: str, model: TransformersModel) -> None:
    given = dataclasses.replace(GREEDY, min_new_tokens=5, max_new_tokens=7)
    for answer in model.generate(model.prepare(items(name)), given):
        assert isinstance(answer, Generation)
        assert answer.output_tokens is not None
        assert 5 <= answer.output_tokens <= 7


def test_an_answer_is_cut_before_the_first_stop_string(name: str, model: TransformersModel) -> None:
    whole = texts(model, name, GREEDY)
    stop = whole[0][2:4]
    cut = texts(model, name, dataclasses.replace(GREEDY, stop=("never said", stop)))
    assert [text.rstrip() for text in cut] == [text.split(stop)[0].rstrip() for text in whole]


def test_device_memory_running_out_is_told_apart(
    name: str, model: TransformersModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(**_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def host_full(**_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    def broken(**_: object) -> None:
        raise RuntimeError("shape mismatch")

    prepared = model.prepare(items(name))
    monkeypatch.setattr(model.model, "generate", full)
    together = "a batch of 1 (s0)" if single(model) else "a batch of 4 (s0, s1, s2, …)"
    with pytest.raises(ModelOutOfMemory, match=re.escape(together)):
        model.generate(prepared, GREEDY)
    monkeypatch.setattr(model.model, "generate", host_full)
    with pytest.raises(ModelOutOfMemory):
        model.generate(prepared, GREEDY)
    monkeypatch.setattr(model.model, "generate", broken)
    with pytest.raises(ModelError, match="RuntimeError: shape mismatch") as caught:
        model.generate(prepared, GREEDY)
    assert not isinstance(caught.value, ModelOutOfMemory)


def test_eager_attention_agrees_with_sdpa_in_float32(
    name: str, model: TransformersModel, tiny_checkpoints: dict[str, Path]
) -> None:
    given = settings(name, tiny_checkpoints, options={"attention": "eager"})
    other = loaded(given)
    assert other.model.config._attn_implementation == "eager"
    assert model.model.config._attn_implementation == type(model).options_type.model_fields["attention"].default
    assert type(other).identify(given).processing["attention"] == "eager"
    assert texts(other, name, GREEDY) == texts(model, name, GREEDY)


def test_a_static_cache_writes_what_a_dynamic_one_writes_or_is_refused(
    name: str, model: TransformersModel, tiny_checkpoints: dict[str, Path]
) -> None:
    given = settings(name, tiny_checkpoints, options={"cache": "static"})
    if not type(model).static_cache:
        with pytest.raises(ModelError, match=f"family {model.family} has no static cache"):
            loaded(given)
        return
    other = loaded(given)
    seen = []
    generate = other.model.generate

    def watched(**arguments: Any) -> Any:
        seen.append(arguments["generation_config"].cache_implementation)
        return generate(**arguments)

    other.model.generate = watched
    assert texts(other, name, GREEDY) == texts(model, name, GREEDY)
    assert set(seen) == {"static"}
    assert type(other).identify(given).processing["cache"] == "static"


def test_compile_needs_the_static_cache(tiny_checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="compile needs `cache: static`"):
        loaded(settings("llava", tiny_checkpoints, options={"compile": True}))


def test_float16_and_bfloat16_are_loaded_as_asked(name: str, tiny_checkpoints: dict[str, Path]) -> None:
    import torch

    given = settings(name, tiny_checkpoints, dtype="bfloat16")
    other = loaded(given)
    assert other.model.dtype == torch.bfloat16
    assert type(other).identify(given).processing["dtype"] == "bfloat16"
    assert len(texts(other, name, GREEDY)) == 4


def test_auto_is_float32_on_a_cpu_even_where_weights_are_stored_in_half(
    tiny_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    import torch

    half = loaded(settings("llava", tiny_checkpoints, dtype="float16"))
    half.model.save_pretrained(tmp_path / "half")
    half.processor.save_pretrained(tmp_path / "half")
    given = settings("llava", {"llava": tmp_path / "half"})
    assert loaded(given).model.dtype == torch.float32
    assert locate(given).stored_type() == "float16"


def test_identity_names_what_shapes_the_answers(name: str, tiny_checkpoints: dict[str, Path]) -> None:
    given = settings(name, tiny_checkpoints)
    processing = registry.load("models", given.family).identify(given).processing
    assert set(processing["libraries"]) == {"torch", "transformers", "tokenizers", "pillow"}
    assert (processing["dtype"], processing["device"], processing["image_backend"]) == ("float32", "cpu", "pil")
    assert {"config.json", "tokenizer.json"} <= set(processing["files"])
    if FAMILIES[name] == "text":
        return
    assert "processor_config.json" in processing["files"]
    assert processing["image_processor"]["image_processor_type"]


def test_preparing_in_one_thread_while_answering_in_another_is_safe(name: str, model: TransformersModel) -> None:
    from concurrent.futures import ThreadPoolExecutor

    batch = items(name)
    expected = model.generate(model.prepare(batch), GREEDY)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            ahead = pool.submit(lambda: [model.prepare(batch) for _ in range(3)])
            assert model.generate(model.prepare(batch), GREEDY) == expected
            assert all(model.generate(prepared, GREEDY) == expected for prepared in ahead.result())


@pytest.mark.gpu
def test_answers_on_a_gpu_do_not_depend_on_the_batch(name: str, tiny_checkpoints: dict[str, Path]) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = loaded(settings(name, tiny_checkpoints, device="cuda", dtype="float32"))
    batch = items(name)
    together = model.generate(model.prepare(batch), GREEDY)
    assert together == [model.generate(model.prepare([one]), GREEDY)[0] for one in batch]
    assert (model.peak_memory_bytes() or 0) > 0
    model.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"min_new_tokens": 65}, "min_new_tokens is 65"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"do_sample": True, "temperature": 0.0}, "temperature is 0.0"),
        ({"do_sample": True, "top_p": 0.0}, "top_p is 0.0"),
    ],
)
def test_impossible_generation_settings_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        generation_config(dataclasses.replace(GenerationSettings(), **change))


def test_sampling_settings_are_passed_only_when_sampling_and_top_k_is_off() -> None:
    greedy = generation_config(GenerationSettings(temperature=0.5, top_p=0.5, length_penalty=-1.0))
    assert (greedy.temperature, greedy.top_p, greedy.top_k, greedy.length_penalty) == (None, None, None, None)
    sampled = generation_config(GenerationSettings(do_sample=True, temperature=0.5, top_p=0.9))
    assert (sampled.temperature, sampled.top_p, sampled.top_k) == (0.5, 0.9, 0)
    assert generation_config(GenerationSettings(num_beams=5, length_penalty=-1.0)).length_penalty == -1.0


def test_cut_at_takes_the_earliest_stop_and_ignores_empty_ones() -> None:
    assert cut_at("a chart\nQuestion: b", ("Question", "\n", "")) == "a chart"
    assert cut_at("a chart", ("Question",)) == "a chart"
    assert cut_at("a chart", ()) == "a chart"


def test_output_length_counts_the_end_token_and_nothing_behind_it() -> None:
    import torch

    assert output_length(torch.tensor([7, 8, 2, 0, 0]), {2}) == 3
    assert output_length(torch.tensor([7, 8, 9]), {2}) == 3
    assert output_length(torch.tensor([2]), {2}) == 1


def test_sampling_seeds_differ_between_questions_and_not_between_names_of_a_sample() -> None:
    first = sampling_seed(0, item(0, "what ?").request)
    assert first == sampling_seed(0, dataclasses.replace(item(0, "what ?").request, sample_id="other", fingerprint="x"))
    assert len({first, sampling_seed(1, item(0, "what ?").request), sampling_seed(0, item(0, "who ?").request)}) == 3


def test_a_device_that_is_not_there_or_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_has_cuda", lambda version: False)
    assert devices.resolved_device(ModelSettings("m", "llava")) == "cpu"
    with pytest.raises(ModelError, match="torch sees no CUDA device"):
        devices.resolved_device(ModelSettings("m", "llava", device="cuda:0"))
    with pytest.raises(ModelError, match="'gpu'; give auto"):
        devices.resolved_device(ModelSettings("m", "llava", device="gpu"))
    monkeypatch.setattr(devices, "_has_cuda", lambda version: True)
    assert devices.resolved_device(ModelSettings("m", "llava")) == "cuda"
    assert devices.resolved_device(ModelSettings("m", "llava", device="cuda:1")) == "cuda:1"


def test_an_unknown_number_type_is_refused(tiny_checkpoints: dict[str, Path]) -> None:
    given = settings("llava", tiny_checkpoints, dtype="int4")
    with pytest.raises(ModelError, match=r"run\.dtype is 'int4'; give auto, float32, bfloat16, float16"):
        registry.load("models", "llava").identify(given)


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    tiny_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(devices.importlib.metadata, "version", absent)
    for step in ("identify", "load"):
        with pytest.raises(ModelError, match=r'torch is not installed; pip install "vlm-harness\[models\]"'):
            getattr(registry.load("models", "llava"), step)(settings("llava", tiny_checkpoints))


def test_scores_that_are_no_numbers_are_no_answer(model: TransformersModel, name: str) -> None:
    import torch

    head = model.generator.get_output_embeddings()
    for value in (float("nan"), float("inf")):
        hook = head.register_forward_hook(lambda m, i, out, value=value: torch.where(out > -1e9, value, out))
        try:
            with pytest.raises(ModelError, match="no finite numbers"):
                model.generate(model.prepare(items(name)[:1]), GREEDY)
        finally:
            hook.remove()
    assert texts(model, name, GREEDY) == texts(model, name, GREEDY)


def test_only_the_request_whose_scores_are_no_numbers_is_unanswered(
    tiny_checkpoints: dict[str, Path], chart_suite: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from harness.engine.run import run_suite
    from tests.pipeline.test_kill import make_big

    shutil.copytree(tiny_checkpoints["llava"], tmp_path / "checkpoint")
    weights = tmp_path / "checkpoint" / "model.safetensors"
    held = load_file(weights)
    from transformers import AutoTokenizer

    (word,) = AutoTokenizer.from_pretrained(tmp_path / "checkpoint").encode("first", add_special_tokens=False)[:1]
    (embedding,) = [key for key in held if key.endswith("embed_tokens.weight")]
    held[embedding][word] = torch.nan
    save_file(held, weights, metadata={"format": "pt"})
    card = tmp_path / "nan.yaml"
    run = {"family": "llava", "checkpoint": str(tmp_path / "checkpoint"), "generation": {"*": {"max_new_tokens": 4}}}
    card.write_text(json.dumps({"name": "nan", "run": run}))
    done = run_suite(chart_suite, [card], data=make_big(tmp_path / "data"), out=tmp_path / "out", batch_size=8)
    samples = done.runs[0].samples()
    samples = samples[~samples["failure_kind"].isin(["missing_image", "truncated_image"])]
    asks = samples["prompt"].str.contains("first")
    assert 0 < asks.sum() < len(samples) / 2
    assert set(samples[asks]["failure_kind"]) == {"model_error"}
    assert samples[asks]["failure_message"].str.contains("no finite numbers").all()
    assert samples[~asks]["text"].notna().all()
