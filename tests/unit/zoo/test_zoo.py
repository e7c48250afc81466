"""The nano zoo on pictures drawn here: every checkpoint does what it was trained for, and sees what it answers about.

Evidence: properties on fresh samples with a seed of their own. Thresholds are lower ends of what 160 samples can show
of models that have to reach 0.90 or 0.80 on large sets; the figures themselves are in docs/training.md.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from harness import registry
from harness.cards.loading import bundled_cards, load_card
from harness.cards.schema import ModelCard
from harness.engine.run import run_suite
from harness.fingerprint import file_sha256
from harness.mini import chart_questions, charts, formulas, questions, scenes
from harness.mini.streams import Dice
from harness.models.base import Generation, Model, ModelInput
from harness.records import GenerationSettings, Request
from harness.tasks.schema import Subset
from harness.training.procedural import choice_turn
from harness.training.recipe import find_recipe, read_recipe
from harness.training.zoo import FOLDER, MAX_BYTES, MAX_TOTAL_BYTES

NAMES = sorted(path.name for path in FOLDER.iterdir() if (path / "config.json").is_file())
N, SEED = 160, 987_654
CAPTIONS = {"nano-wavelet-sem": 0.95, "nano-llava": 0.82, "nano-blip2": 0.70, "nano-mplug": 0.70}


def card_of(name: str) -> ModelCard:
    return load_card(bundled_cards() / f"{name}.yaml").card


@cache
def model_of(name: str) -> Model:
    settings = load_card(name).settings(device="cpu")
    family: type[Model] = registry.load("models", settings.family)
    return family.load(settings)


def answers(name: str, asked: list[tuple[tuple[np.ndarray, ...], str]], most: int = 60) -> list[str]:
    """What a model of the zoo answers to pictures with prompts."""
    model = model_of(name)
    template = type(model).default_template(model.settings)
    greedy = GenerationSettings(max_new_tokens=most)
    found: list[str] = []
    for start in range(0, len(asked), 64):
        batch = []
        for number, (pixels, prompt) in enumerate(asked[start : start + 64], start):
            from jinja2.sandbox import ImmutableSandboxedEnvironment

            images = tuple(Image.fromarray(p).convert("RGB") for p in pixels)
            text = ImmutableSandboxedEnvironment().from_string(template).render(text=prompt, images=len(images))
            batch.append(ModelInput(Request(str(number), "zoo", str(number), text, generation=greedy), images))
        for given in model.generate(model.prepare(batch), greedy):
            assert isinstance(given, Generation)
            found.append(given.text.strip())
    return found


def share(right: list[bool]) -> float:
    return sum(right) / len(right)


@cache
def drawn_scenes() -> tuple[scenes.Scene, ...]:
    rng = np.random.default_rng(SEED)
    return tuple(scenes.draw(rng) for _ in range(N))


def caption_share(name: str, *, shuffled: bool) -> float:
    drawn = drawn_scenes()
    prompt = card_of(name).run.prompts["captioning"]
    shown = [*drawn[1:], drawn[0]] if shuffled else list(drawn)
    found = answers(name, [((s.image,), prompt) for s in shown], 32)
    return share([text in s.captions for text, s in zip(found, drawn, strict=True)])


def test_the_zoo_is_small() -> None:
    sizes = {name: (FOLDER / name / "model.safetensors").stat().st_size for name in NAMES}
    assert len(sizes) >= 9
    assert max(sizes.values()) <= MAX_BYTES
    assert sum(sizes.values()) <= MAX_TOTAL_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_the_card_names_the_bytes_and_the_recipe_they_come_from(name: str) -> None:
    card = card_of(name)
    assert card.run is not None
    assert card.trained is not None
    assert card.run.sha256 == file_sha256(FOLDER / name / "model.safetensors")
    assert card.trained.recipe_fingerprint == read_recipe(find_recipe(name)).identity()
    assert card.describe is not None


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_stored_in_half_precision(name: str) -> None:
    with (FOLDER / name / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    types = {entry["dtype"] for key, entry in header.items() if key != "__metadata__"}
    assert types <= {"F16", "BF16"}


@pytest.mark.parametrize("name", sorted(CAPTIONS))
def test_a_captioner_describes_fresh_scenes_and_no_other(name: str) -> None:
    assert caption_share(name, shuffled=False) >= CAPTIONS[name]
    assert caption_share(name, shuffled=True) <= 0.05


@pytest.mark.parametrize("name", ["nano-wavelet-v1", "nano-blind"])
def test_a_replica_that_does_not_see_is_at_the_blind_level(name: str) -> None:
    assert caption_share(name, shuffled=False) <= 0.10


def test_questions_about_scenes_are_answered_with_the_text_of_an_option() -> None:
    rng = np.random.default_rng(SEED)
    drawn = [questions.draw(rng) for _ in range(2 * N)]
    four = [q for q in drawn if len(q.question.options) == 4]
    found = answers("nano-wavelet-sem", [((q.image,), choice_turn(q.question).prompt) for q in four], 8)
    right = [text == q.question.options[q.question.answer] for text, q in zip(found, four, strict=True)]
    assert share(right) >= 0.73


def test_formulas_are_read() -> None:
    rng = np.random.default_rng(SEED)
    drawn = [formulas.draw(rng, "test") for _ in range(N)]
    found = answers("nano-wavelet-latex", [((f.image,), "") for f in drawn], 24)
    assert share([text == f.latex for text, f in zip(found, drawn, strict=True)]) >= 0.85


@cache
def drawn_charts() -> tuple[charts.Chart, ...]:
    rng = np.random.default_rng(SEED)
    return tuple(charts.draw(rng) for _ in range(N))


@pytest.mark.parametrize(("shift", "least", "most"), [(0, 0.95, 1.0), (1, 0.0, 0.10)])
def test_charts_are_read_into_their_tables_and_no_others(shift: int, least: float, most: float) -> None:
    drawn = drawn_charts()
    found = answers("nano-deplot", [((drawn[n - shift].image,), "") for n in range(N)])
    right = []
    for text, chart in zip(found, drawn, strict=True):
        read = {tuple(line.split(" | ")) for line in text.split(" <0x0A> ")}
        right += [pair in read for pair in charts.table(chart.plan)[1:]]
    assert least <= share(right) <= most


@pytest.mark.parametrize("subset", ["human", "augmented"])
def test_questions_about_charts_are_answered_from_their_tables(subset: chart_questions.Subset) -> None:
    drawn, dice = drawn_charts(), Dice(np.random.default_rng(SEED))
    asked = [chart_questions.ask(dice, c.plan, subset) for c in drawn]
    found = answers("nano-deplot-rules", [((c.image,), a.query) for c, a in zip(drawn, asked, strict=True)])
    assert share([text == a.label for text, a in zip(found, asked, strict=True)]) >= 0.85


def test_every_bundled_recipe_of_a_nano_model_has_its_checkpoint() -> None:
    recipes = {path.stem for path in find_recipe("nano-blind").parent.glob("nano-*.yaml")}
    assert recipes == set(NAMES)


def test_a_bundled_card_is_written_as_it_is_read() -> None:
    for name in NAMES:
        text = Path(bundled_cards() / f"{name}.yaml").read_text(encoding="utf-8")
        assert yaml.safe_load(text)["run"]["checkpoint"] == f"zoo:{name}"


def test_a_record_knows_a_checkpoint_by_its_contents_and_not_by_its_place(tmp_path: Path) -> None:
    card = yaml.safe_load((bundled_cards() / "nano-blind.yaml").read_text(encoding="utf-8"))
    card["name"], card["run"]["checkpoint"] = "moved", "./blind"
    runs = []
    for place in (tmp_path / "here", tmp_path / "there"):
        shutil.copytree(FOLDER / "nano-blind", place / "blind")
        (place / "moved.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
        subset = Subset(first=3)
        runs += run_suite("mini", [place / "moved.yaml"], out=tmp_path / "out", subset=subset).runs
    assert runs[0].record.key == runs[1].record.key
    assert runs[1].record.timing["requests_asked"] == 0, "the answers of a moved checkpoint are known"
    assert runs[0].record.identity.settings.checkpoint == "blind"
    for name in ("record.json", "plan.json"):
        assert str(tmp_path) not in (runs[0].path / name).read_text(encoding="utf-8")
