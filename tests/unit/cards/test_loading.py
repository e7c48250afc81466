"""Cards by name and by file: worked examples of inheritance, wrapping, the search path and every kind of fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cards.checking import check_cards
from harness.cards.loading import bundled_cards, load_card
from harness.cards.schema import json_schema
from harness.errors import CardError, UnknownNameError

FACT = "{value: 1, source: a paper}"


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_all_bundled_cards_are_sound() -> None:
    reports = check_cards([])
    assert {Path(r.card).stem for r in reports} >= {
        "llava-1.5-7b", "llava-1.5-13b", "blip2-opt-2.7b", "blip2-flan-t5-xl", "deplot",
        "majority-answer", "random-choice", "frequent-caption", "nearest-neighbour",
    }  # fmt: skip
    assert [fault for report in reports for fault in report.faults] == []


def test_the_json_schema_beside_the_cards_is_the_current_one() -> None:
    assert (bundled_cards() / "card.schema.json").read_text() == json_schema()


def test_every_bundled_card_names_its_schema_for_editors() -> None:
    for path in bundled_cards().glob("*.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=card.schema.json\n"), path


def test_a_card_of_two_lines_is_enough(tmp_path: Path) -> None:
    loaded = load_card(write(tmp_path, "mine", "name: mine\nrun: {family: llava, checkpoint: ./weights}\n"))
    assert loaded.settings().checkpoint == str(tmp_path / "weights")
    assert loaded.settings().family == "llava"


def test_a_hub_id_stays_a_hub_id_and_a_folder_beside_the_card_becomes_absolute(tmp_path: Path) -> None:
    text = "name: mine\nrun: {family: llava, checkpoint: some/model}\n"
    path = write(tmp_path, "mine", text)
    assert load_card(path).settings().checkpoint == "some/model"
    (tmp_path / "some" / "model").mkdir(parents=True)
    assert load_card(path).settings().checkpoint == str(tmp_path / "some" / "model")


def test_extends_merges_mappings_and_replaces_the_rest(tmp_path: Path) -> None:
    write(tmp_path, "base", "name: base\nrun: {family: llava, checkpoint: a/b, generation: {'*': {num_beams: 5}}}\n")
    path = write(tmp_path, "child", "name: child\nextends: base\nrun: {generation: {captioning: {num_beams: 1}}}\n")
    settings = load_card(path).settings()
    assert settings.checkpoint == "a/b"
    assert settings.generation == {"*": {"num_beams": 5}, "captioning": {"num_beams": 1}}


def test_a_circle_of_extends_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", "name: a\nextends: b\nrun: {family: llava}\n")
    path = write(tmp_path, "b", "name: b\nextends: a\nrun: {family: llava}\n")
    with pytest.raises(CardError, match="leads back to this card"):
        load_card(path)


def test_a_wrapper_is_named_on_the_command_line(tmp_path: Path) -> None:
    write(tmp_path, "mine", "name: mine\nrun: {family: llava, checkpoint: a/b}\n")
    loaded = load_card("blank-image:mine", cards=[tmp_path])
    assert loaded.name == "blank-image:mine"
    inner = loaded.settings().inner
    assert inner is not None
    assert (inner.family, inner.checkpoint) == ("llava", "a/b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: c\nrun:\n  famly: llava\n", r'c\.yaml:3: run\.famly: unknown field; did you mean "family"\?'),
        (
            "name: c\nrun:\n  family: lava\n",
            r'c\.yaml:3: run\.family: no model family named "lava"; did you mean "llava"\?',
        ),
        ("name: c\nrun: {family: llava, dtype: float46}\n", r'run\.dtype: is "float46"; did you mean "float16"\?'),
        ("name: c\n", r"give `run:` or say in `why_no_run:`"),
        ("name: c\nrun: {family: llava}\nwhy_no_run: closed\n", r"remove one of them"),
        ("name: d\nrun: {family: llava}\n", r'name: is "d"; a card\'s name is its file name, "c"'),
        ("name: c\nrun:\n  checkpoint: a/b\n", r"c\.yaml:2: run\.family: this field is required; add it"),
        ("name: Big Name\nrun: {family: llava}\n", r"c\.yaml:1: name: is 'Big Name'; string should match pattern"),
        ("name: c\nrun: {family: llava, allow_pickle: maybe}\n", r"run\.allow_pickle: is 'maybe'"),
    ],
)
def test_every_fault_names_file_line_field_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CardError, match=message):
        load_card(write(tmp_path, "c", text))


@pytest.mark.parametrize(
    ("fact", "message"),
    [("{value: 5}", "a value needs its `source`"), ("{value: null}", "`value: null` needs a `why`")],
)
def test_a_fact_needs_its_source_or_its_reason(tmp_path: Path, fact: str, message: str) -> None:
    base = (bundled_cards() / "deplot.yaml").read_text()
    text = base.replace("name: deplot\n", "name: c\n").replace(
        'parameters: {value: 282285696, source: "computed: Pix2StructForConditionalGeneration on the meta device"}',
        f"parameters: {fact}",
    )
    assert text != base.replace("name: deplot\n", "name: c\n")
    with pytest.raises(CardError, match=rf"c\.yaml:\d+: describe\.architecture\.parameters: {message}"):
        load_card(write(tmp_path, "c", text))


def test_all_faults_of_a_card_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "c", "name: c\nrunn: 1\nrun: {dtype: x}\n")
    report = check_cards([path])[0]
    assert len(report.faults) == 3


def test_an_unknown_card_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r'no model card named "llava-1.5-7"; did you mean "llava-1.5-7b"'):
        load_card("llava-1.5-7")


def test_two_files_of_one_name_are_both_named(tmp_path: Path) -> None:
    write(tmp_path / "x", "deplot", "name: deplot\nrun: {family: pix2struct}\n")
    with pytest.raises(CardError, match=r'"deplot" is claimed by .*deplot\.yaml and .*deplot\.yaml'):
        load_card("deplot", cards=[tmp_path / "x"])


def test_a_copy_of_a_card_is_no_second_claim(tmp_path: Path) -> None:
    write(tmp_path / "x", "deplot", (bundled_cards() / "deplot.yaml").read_text())
    assert load_card("deplot", cards=[tmp_path / "x"]).card.name == "deplot"


def test_cards_in_the_working_folder_and_in_installed_packages_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: Callable[..., Path]
) -> None:
    write(tmp_path / "model_cards", "local", "name: local\nrun: {family: random-choice}\n")
    monkeypatch.chdir(tmp_path)
    assert load_card("local").card.name == "local"
    files = {
        "their_cards/__init__.py": "raise RuntimeError('never imported')",
        "their_cards/theirs.yaml": "name: theirs\nrun: {family: llava}\n",
    }
    installed("theirs", {"harness.model_cards": {"theirs": "their_cards"}}, files)
    assert load_card("theirs").card.name == "theirs"


def test_a_card_without_run_says_why_it_cannot_be_run(tmp_path: Path) -> None:
    loaded = load_card(write(tmp_path, "c", "name: c\nwhy_no_run: weights were never published\n"))
    with pytest.raises(CardError, match="c cannot be run: weights were never published"):
        loaded.settings()


def test_no_card_can_allow_remote_code(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="unknown field"):
        load_card(write(tmp_path, "c", "name: c\nrun: {family: llava, trust_remote_code: true}\n"))


def test_a_file_of_the_benchmarks_folder_is_found_there_and_nowhere_else(tmp_path: Path) -> None:
    text = 'name: c\nrun: {family: predictions, options: {path: "data:chartqa/answers.json"}}\n'
    loaded = load_card(write(tmp_path, "c", text))
    assert loaded.settings(data=tmp_path / "data").options["path"] == str(
        tmp_path / "data" / "chartqa" / "answers.json"
    )
    assert loaded.settings().options["path"] == "data:chartqa/answers.json"
    outside = load_card(write(tmp_path, "d", text.replace("name: c", "name: d").replace("chartqa/", "../../")))
    with pytest.raises(CardError, match="leads out of the benchmarks' folder"):
        outside.settings(data=tmp_path / "data")
