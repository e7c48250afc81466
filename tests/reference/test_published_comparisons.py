"""Published answers of several systems compared: differences against the published scores, tests against scipy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import binomtest

from harness.compare.comparison import compare
from harness.engine.run import run_suite
from harness.store.runs import Run

CAPTIONERS = ("magic", "zerocap", "clipretrieval", "contrastive")
NAMES = {
    "bleu-1": "Bleu_1", "bleu-2": "Bleu_2", "bleu-3": "Bleu_3", "bleu-4": "Bleu_4", "rouge-l": "ROUGE_L",
    "meteor": "METEOR", "cider@subset-idf": "CIDEr",
}  # fmt: skip


def card(folder: Path, name: str, answers: Path) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"name": name, "run": {"family": "predictions", "options": {"path": str(answers)}}}))
    return path


def runs(folder: Path, tasks: str, cards: list[Path], data: Path) -> list[Run]:
    suite = folder / "s.yaml"
    suite.write_text(f"name: s\nversion: 1\ndescription: published answers\ndata: folder\ntasks: {tasks}\n")
    outcome = run_suite(suite, cards, data=data, out=folder / "out")
    assert outcome.failures == ()
    return list(outcome.runs)


def test_four_caption_systems_differ_as_their_published_scores_do(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "coco" / "flickr30k_metric_test"
    published = json.loads((folder / "results" / "reference_scores.json").read_text())
    cards = [
        card(tmp_path, name, folder / "results" / f"captions_flickr30k_{name}_results.json") for name in CAPTIONERS
    ]
    metrics = "[bleu-1, bleu-2, bleu-3, bleu-4, rouge-l, meteor, cider@subset-idf]"
    tasks = f"[{{task: coco-captions, split: flickr30k_test, metrics: {metrics}}}]"
    found = compare(runs(tmp_path, tasks, cards, folder))
    assert len(found.pairs) == 6 * 7
    for pair in found.pairs:
        first, second = (
            published[f"captions_flickr30k_{name}_results"][NAMES[pair.metric]] for name in (pair.first, pair.second)
        )
        assert pair.difference == pytest.approx(first - second, abs=1e-6)
        assert pair.low <= pair.difference <= pair.high
        assert pair.p_value <= pair.p_holm <= 1
    bleu = {(p.first, p.second): p for p in found.pairs if p.metric == "bleu-4"}
    assert bleu["magic", "contrastive"].differs
    # retrieved and generated captions: 0.0520 against 0.0535 BLEU-4 on 1,000 images is within what chance does
    assert not bleu["zerocap", "clipretrieval"].differs


def test_bleu_agrees_with_the_paired_bootstrap_of_sacrebleu(shared_data: Path, tmp_path: Path) -> None:
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    folder = shared_data / "coco" / "flickr30k_metric_test"
    names = ("zerocap", "clipretrieval")
    cards = [card(tmp_path, n, folder / "results" / f"captions_flickr30k_{n}_results.json") for n in names]
    tasks = "[{task: coco-captions, split: flickr30k_test, metrics: [bleu-4]}]"
    done = runs(tmp_path, tasks, cards, folder)
    (pair,) = compare(done).pairs
    from harness.metrics.ptb import tokenise

    frame = done[0].samples()
    tokens = tokenise([*frame["text"], *done[1].samples()["text"], *(r for refs in frame["references"] for r in refs)])
    systems = [(n, [tokens[t] for t in run.samples()["text"]]) for n, run in zip(names, done, strict=True)]
    references = [[tokens[refs[k]] for refs in frame["references"]] for k in range(5)]
    metric = BLEU(tokenize="none", smooth_method="none", force=True)
    results = PairedTest(systems, {"BLEU": metric}, references, test_type="bs", n_samples=2000)()[1]["BLEU"]
    # sacrebleu's shortest-reference rule for the brevity penalty and its one-sided bootstrap p are its own; the
    # difference and the verdict at 5 % must be the same
    assert pair.difference == pytest.approx((results[0].score - results[1].score) / 100, abs=0.002)
    assert (pair.p_value <= 0.05) == (results[1].p_value <= 0.05)


def test_llava_and_gpt3_on_the_same_science_questions(shared_data: Path, tmp_path: Path) -> None:
    outputs = shared_data / "scienceqa" / "model_outputs"
    cards = [
        card(tmp_path, "llava-1.5-13b-answers", outputs / "llava-v1.5-13b_subset_output.json"),
        card(tmp_path, "gpt-3-answers", outputs / "gpt3_cot_subset.json"),
    ]
    llava, gpt = runs(tmp_path, "[scienceqa]", cards, shared_data)
    (pair,) = compare([llava, gpt]).pairs
    assert pair.difference == pytest.approx((185 - 180) / 250)
    right = {run.record.model: run.scores().set_index("unit")["value"] for run in (llava, gpt)}
    first, second = right["llava-1.5-13b-answers"], right["gpt-3-answers"]
    only_first = int(((first == 1) & (second == 0)).sum())
    only_second = int(((first == 0) & (second == 1)).sum())
    assert (pair.only_first, pair.only_second) == (only_first, only_second)
    assert pair.mcnemar_p == pytest.approx(binomtest(only_first, only_first + only_second).pvalue)
    assert pair.n_units == pair.n_clusters == 250
