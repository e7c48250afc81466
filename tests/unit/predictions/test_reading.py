"""Files of answers: every form recognised by content, ids in the data sets' scheme, and bad files refused by name."""

from __future__ import annotations

import hashlib
import json

import pytest
from openpyxl import Workbook

from harness.errors import PredictionError, UnknownNameError
from harness.predictions.reading import formats, read_predictions
from harness.sample_ids import ChartQAIds

CHART = {"imgname": "a.png", "query": "How many?", "prediction": "3", "answer": "4", "split": "test_human"}
PROMPT = "<image>\nContext: One.\nTwo.\nWhich?\nA. x\nB. y\nand more\nAnswer with the option's letter from the given."
LLAVA = {
    "question_id": "12",
    "parsed_ans": "A",
    "ground_truth": "B",
    "question": PROMPT,
    "pred": "A",
    "is_multimodal": True,
}


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="answers.bin"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.fixture
def sheet(tmp_path):
    def write_sheet(*rows):
        workbook = Workbook()
        for row in rows:
            workbook.active.append(row)
        path = tmp_path / "answers"
        with path.open("wb") as file:
            workbook.save(file)
        return path

    return write_sheet


def lines(*records):
    return "\n".join(json.dumps(record) for record in records) + "\n"


def test_own_lines(write):
    text = lines({"sample_id": "b", "text": "two\nlines\u2028"}, {"sample_id": "a", "text": "", "extra": 1})
    found = read_predictions(write(text))
    assert (found.format, found.dataset, found.notes) == ("harness", None, ())
    assert [(p.sample_id, p.text, p.gold) for p in found.predictions] == [
        ("b", "two\nlines\u2028", None),
        ("a", "", None),
    ]
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_own_single_line_without_line_end_and_with_byte_order_mark(write):
    found = read_predictions(write('\ufeff{"sample_id": "a", "text": "x"}'))
    assert [p.text for p in found.predictions] == ["x"]


def test_line_separator_inside_a_text_does_not_part_lines(write):
    raw = '{"sample_id": "a", "text": "x\u2028y"}\r\n\r\n{"sample_id": "b", "text": "z"}'
    assert [p.text for p in read_predictions(write(raw)).predictions] == ["x\u2028y", "z"]


def test_null_text_is_an_answer_that_never_came(write):
    found = read_predictions(write(lines({"sample_id": "a", "text": "x"}, {"sample_id": "b", "text": None})))
    assert [p.sample_id for p in found.predictions] == ["a"]
    assert found.notes == ("1 lines hold no answer (text is null) and are left out",)


def test_numbers_are_taken_as_they_are_written(write):
    found = read_predictions(write('{"sample_id": 1, "text": 3.10}\n{"sample_id": 2, "text": 7}'))
    assert [(p.sample_id, p.text) for p in found.predictions] == [("1", "3.10"), ("2", "7")]


@pytest.mark.parametrize("bad", [True, ["x"], {"a": 1}])
def test_other_kinds_of_text_are_refused_with_line_and_field(write, bad):
    path = write(lines({"sample_id": "a", "text": "x"}, {"sample_id": "b", "text": bad}))
    with pytest.raises(PredictionError, match=r'line 2: field "text"'):
        read_predictions(path)


def test_coco_result_file(write):
    found = read_predictions(write(json.dumps([{"image_id": 42, "caption": " a dog"}])), dataset="coco")
    assert (found.format, found.dataset) == ("coco", "coco")
    assert [(p.sample_id, p.text) for p in found.predictions] == [("42", " a dog")]


def test_chartqa_ids_count_repeated_questions_and_gold_is_kept(write):
    records = [CHART, CHART, {**CHART, "split": "test_augmented", "answer": ["4", "four"]}]
    found = read_predictions(write(json.dumps(records)))
    ids = ChartQAIds()
    expected = [ids.next("human", "a.png", "How many?") for _ in range(2)] + [
        ids.next("augmented", "a.png", "How many?")
    ]
    assert [p.sample_id for p in found.predictions] == expected
    gold = found.predictions[2].gold
    assert (gold.references, gold.metadata, gold.cluster) == (("4", "four"), {"subset": "augmented"}, "a.png")


def test_chartqa_without_answer_has_no_gold(write):
    record = {name: value for name, value in CHART.items() if name != "answer"}
    assert read_predictions(write(json.dumps([record]))).predictions[0].gold is None


def test_chartqa_needs_the_subset(write):
    record = {name: value for name, value in CHART.items() if name != "split"}
    with pytest.raises(PredictionError, match=r'entry 2 has no field "split".*test_human'):
        read_predictions(write(json.dumps([CHART, record])))
    with pytest.raises(PredictionError, match="should end in human or augmented"):
        read_predictions(write(json.dumps([{**CHART, "split": "val"}])))


def test_scienceqa_analysis_gives_bare_question_hint_and_choices(write):
    found = read_predictions(write(json.dumps({"correct": [], "incorrect": [LLAVA]})))
    (prediction,) = found.predictions
    gold = prediction.gold
    assert (found.format, found.dataset, prediction.text) == ("scienceqa-llava", "scienceqa", "A")
    assert (gold.question, gold.hint, gold.choices) == ("Which?", "One.\nTwo.", ("x", "y\nand more"))
    assert (gold.references, gold.metadata) == (("B",), {"modality": "image"})


def test_scienceqa_question_without_options_is_refused(write):
    with pytest.raises(PredictionError, match=r'entry 1 of "correct": the question has no options'):
        read_predictions(write(json.dumps({"correct": [{**LLAVA, "question": "Which?"}], "incorrect": []})))


def test_scienceqa_results_are_letters_and_unread_ones_empty(write):
    found = read_predictions(write(json.dumps({"acc": 50, "results": {"1": 0, "2": 3, "3": -1}, "outputs": {}})))
    assert [(p.sample_id, p.text, p.gold) for p in found.predictions] == [
        ("1", "A", None),
        ("2", "D", None),
        ("3", "", None),
    ]
    assert found.notes == ("1 answers could not be read by their source (index -1) and are empty here",)


def test_scienceqa_results_with_a_wrong_index_are_refused(write):
    with pytest.raises(PredictionError, match=r'results "2" is 99'):
        read_predictions(write(json.dumps({"results": {"1": 0, "2": 99}})))


def test_mmbench_workbook_whatever_its_name(sheet):
    path = sheet(
        ["index", "question", "A", "B", "C", "D", "prediction", "answer", "split"],
        [7, "Which?", "x", 5, None, None, "B", "A", "dev"],
        [1000007, "Which?", 5, "x", None, None, None, "B", "dev"],
        [None] * 9,
    )
    found = read_predictions(path)
    assert (found.format, found.dataset) == ("mmbench-xlsx", "mmbench")
    assert [(p.sample_id, p.text) for p in found.predictions] == [("7", "B"), ("1000007", "")]
    gold = found.predictions[1].gold
    assert (gold.choices, gold.references, gold.group, gold.cluster) == (("5", "x"), ("B",), "7", "7")
    assert gold.metadata == {"pass": "1"}
    assert found.notes == ("1 cells of the column prediction are empty and count as empty answers",)


def test_mmbench_workbook_without_answers_has_no_gold(sheet):
    assert read_predictions(sheet(["index", "prediction"], [3, "A"])).predictions[0].gold is None


def test_mmbench_option_after_an_empty_one_is_refused(sheet):
    path = sheet(
        ["index", "question", "A", "B", "C", "D", "prediction", "answer"], [3, "q", "x", "y", None, "z", "A", "A"]
    )
    with pytest.raises(PredictionError, match="row 2: options A, B, D are filled"):
        read_predictions(path)


def test_mmbench_lines_add_up_round_and_index(write):
    record = {"question_id": 7, "round_id": 0, "prompt": "", "text": "B", "options": ["x"], "option_char": ["A"]}
    found = read_predictions(
        write(lines(record, {**record, "round_id": 1}, {**record, "question_id": 2_000_007, "text": "C"}))
    )
    assert (found.format, found.dataset) == ("mmbench-llava", "mmbench")
    assert [p.sample_id for p in found.predictions] == ["7", "1000007", "2000007"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"sample_id": "\xff"}', r"byte 15 is not UTF-8"),
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"sample_id": "a", "text": "x"}\n{"sample_id": ', r"line 2 is not JSON"),
        (b'[{"image_id": 1,\n "caption": }]', r"line 2, column \d+ is not JSON"),
        (b'{"sample_id": "a", "text": "x"}\n[1]', r"line 2 is a list"),
        (b"[1, 2]", r"entry 1 is a int"),
        (b"3", r"the only record is a int"),
        (b"[]", "not a known form"),
        (b'{"results": {"1": 0, "1": 2}}', r'key "1" stands twice'),
        (b"PK\x03\x04nothing", "not a readable Excel workbook"),
        (b"[" * 100_000, "nested|not JSON"),
        (b'{"sample_id": "a", "text": "x"}\n{"sample_id": "b"}', r'line 2 has no field "text"; found: sample_id'),
        (b'[{"image_id": 1, "caption": "x"}, {"image_id": 1, "caption": "y"}]', r'entry 2: sample "1".*entry 1'),
        (b'{"correct": [], "incorrect": []}', "holds no answers"),
        (b'{"correct": [3], "incorrect": []}', r'entry 1 of "correct" should be an object'),
    ],
)
def test_bad_files_are_refused_with_file_and_place(write, content, message):
    path = write(content)
    with pytest.raises(PredictionError, match=message) as error:
        read_predictions(path)
    assert str(path) in str(error.value)


def test_missing_file_and_folder_are_named(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(PredictionError, match="cannot be read"):
            read_predictions(path)


def test_unknown_form_lists_known_forms_and_the_fields_found(write):
    with pytest.raises(PredictionError) as error:
        read_predictions(write(json.dumps([{"id": 1, "reply": "x"}])))
    message = str(error.value)
    assert "id, reply" in message
    for name in formats():
        assert name in message


def test_forced_form_names_what_is_missing_and_must_exist(write):
    path = write(json.dumps([{"id": 1, "reply": "x"}]))
    with pytest.raises(PredictionError, match=r'entry 1 has no field "image_id"'):
        read_predictions(path, format="coco")
    with pytest.raises(UnknownNameError, match="coco"):
        read_predictions(path, format="cocoo")
    with pytest.raises(PredictionError, match='"results"'):
        read_predictions(path, format="scienceqa-results")


def test_answers_to_another_benchmark_are_refused(write):
    with pytest.raises(PredictionError, match=r"chartqa.*not to mmbench"):
        read_predictions(write(json.dumps([CHART])), dataset="mmbench")
