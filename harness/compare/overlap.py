"""What a model's training may have shown it of a benchmark, read from the names of data sets on its card.

A card names data sets in words; the table below says what each of those names means for each benchmark. A name that is
not there proves nothing: web crawls are not searched for benchmark images, and mixtures that nobody lists may hold
anything.
Sources are the papers of the data sets; what was not read again for this table is marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from harness.cards.schema import Describe

Kind = Literal["questions", "images", "possible"]
"""`questions`: the benchmark's own training questions or captions; `images`: its pictures under other questions;
`possible`: nobody looked."""

_RECALLED = "; recalled, not checked"


@dataclass(frozen=True, slots=True)
class Overlap:
    """One thing that training showed of one benchmark."""

    benchmark: str
    kind: Kind
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What a data set's name means for a benchmark."""

    names: tuple[str, ...]
    benchmark: str
    kind: Kind
    what: str
    source: str

    def named_in(self, text: str) -> str | None:
        """The first of the names that stands in the text as a word of its own."""
        for name in self.names:
            if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text):
                return name
        return None


_VQA = "Goyal et al. 2017, arXiv 1612.00837: the questions are about COCO images" + _RECALLED
_GQA = "Hudson and Manning 2019, arXiv 1902.09506: the images are Visual Genome's" + _RECALLED
_VG = "Krishna et al. 2016, arXiv 1602.07332: images from the intersection of COCO and YFCC100M" + _RECALLED
_HALF = "about half of its images are COCO's, test part included unless taken out"
_REF = "Yu et al. 2016, arXiv 1608.00272: referring expressions on COCO train2014 images" + _RECALLED
_OK = "Marino et al. 2019, arXiv 1906.00067, and Schwenk et al. 2022, arXiv 2206.01718: COCO images" + _RECALLED
_LLAVA = "Liu et al. 2023, arXiv 2304.08485: conversations about COCO train images" + _RECALLED
_RECAP = "card of LLaVA-ReCap-118K: new captions of COCO train images" + _RECALLED
_MMB = "Liu et al. 2023, arXiv 2307.06281, table of sources" + _RECALLED
_NAMED = "the card names the benchmark's own training data"
_PMD = "arXiv 2112.04482: PMD holds COCO, Visual Genome and localized narratives" + _RECALLED

_KNOWN = (
    _Known(("COCO", "COCO captions", "COCO-QA"), "COCO captions", "questions", "COCO's own training part", _NAMED),
    _Known(("COCO",), "VQAv2", "images", "COCO images, which VQAv2 asks about", _VQA),
    _Known(("VQAv2",), "VQAv2", "questions", "training questions", _NAMED),
    _Known(("VQAv2",), "COCO captions", "images", "COCO train (and often val) images under questions", _VQA),
    _Known(("GQA",), "GQA", "questions", "training questions", _NAMED),
    _Known(("Visual Genome", "VG-QA", "VGQA"), "GQA", "images", "the images that GQA asks about", _GQA),
    _Known(("Visual Genome", "VG-QA", "VGQA", "GQA"), "COCO captions", "images", _HALF, _VG),
    _Known(("Visual Genome", "VG-QA", "VGQA", "GQA"), "VQAv2", "images", _HALF, _VG),
    _Known(
        ("RefCOCO", "RefCOCO+", "RefCOCOg"),
        "COCO captions",
        "images",
        "COCO train2014 images under referring expressions",
        _REF,
    ),
    _Known(("OKVQA", "A-OKVQA"), "COCO captions", "images", "COCO images under knowledge questions", _OK),
    _Known(
        ("LLaVA-Instruct", "LLaVA-Instruct-158K", "LLaVA-Instruct-150K"),
        "COCO captions",
        "images",
        "COCO train images in conversations",
        _LLAVA,
    ),
    _Known(("LLaVA-ReCap-118K",), "COCO captions", "images", "COCO train images under generated captions", _RECAP),
    _Known(("PMD",), "COCO captions", "questions", "COCO captions inside PMD", _PMD),
    _Known(("TextVQA",), "TextVQA", "questions", "training questions", _NAMED),
    _Known(
        ("TextCaps",),
        "TextVQA",
        "images",
        "the images that TextVQA asks about",
        "Sidorov et al. 2020, arXiv 2003.12462" + _RECALLED,
    ),
    _Known(("ChartQA",), "ChartQA", "questions", "training charts, questions and tables", _NAMED),
    _Known(("PlotQA",), "PlotQA", "questions", "training charts and questions", _NAMED),
    _Known(("DocVQA",), "DocVQA", "questions", "training questions", _NAMED),
    _Known(("ScienceQA",), "ScienceQA", "questions", "training questions", _NAMED),
    _Known(("ScienceQA",), "MMBench", "images", "MMBench takes some pictures and questions from ScienceQA", _MMB),
    _Known(("NLVR2",), "NLVR2", "questions", "training statements", _NAMED),
    _Known(("Flickr30k",), "Flickr30k", "questions", "training captions", _NAMED),
    _Known(("ImageNet-1k",), "ImageNet", "questions", "training images and labels", _NAMED),
    _Known(
        ("ImageNet-21k",),
        "ImageNet",
        "images",
        "its classes hold the 1000 classes of ImageNet-1k",
        "Deng et al. 2009, and arXiv 2104.10972" + _RECALLED,
    ),
    _Known(("latex-formulas",), "LaTeX formulas", "questions", "training formulas", _NAMED),
    _Known(("LibriSpeech",), "LibriSpeech", "questions", "training speech and transcripts", _NAMED),
    _Known(
        ("Libri-Light",),
        "LibriSpeech",
        "images",
        "read books of the same source, without transcripts",
        "Kahn et al. 2019, arXiv 1912.07875" + _RECALLED,
    ),
    _Known(("CIFAR-10 train",), "CIFAR-10", "questions", "training images and labels", _NAMED),
)

_CRAWLS = (
    *("LAION", "LAION-400M", "LAION-2B", "CC", "CC3M", "CC12M", "Conceptual Captions", "Conceptual 12M", "SBU", "COYO"),
    *(
        "web",
        "WebLI",
        "WebImageText",
        "ALIGN",
        "OBELICS",
        "MMC4",
        "Common Crawl",
        "DataComp",
        "interleaved",
        "LTIP",
        "M3W",
        "JFT-3B",
    ),
)
_UNLISTED = ("not listed", "not published", "in-house", "and others", "mixture")
_HEARD = ("LibriSpeech",)
"""Benchmarks of sound, of which a crawl of pictures shows nothing."""


_BENCHMARK_OF: dict[str, str] = {
    "coco": "COCO captions",
    "chartqa": "ChartQA",
    "mmbench": "MMBench",
    "scienceqa": "ScienceQA",
    "nlvr2": "NLVR2",
    "latex": "LaTeX formulas",
    "librispeech": "LibriSpeech",
}
"""Registry name of a data set → the benchmark it is."""


def seen_in_training(describe: Describe, dataset: str) -> list[Overlap]:
    """What the card's training data is known to show of a data set; what merely cannot be excluded is left out."""
    benchmark = _BENCHMARK_OF.get(dataset)
    return _named(describe, benchmark) if benchmark is not None else []


def benchmarks() -> list[str]:
    """Every benchmark that the table knows, sorted."""
    return sorted({known.benchmark for known in _KNOWN})


def overlaps(describe: Describe, chosen: Iterable[str] | None = None) -> list[Overlap]:
    """What the training data of a card shows of each benchmark, by name; surest first within a benchmark."""
    wanted = benchmarks() if chosen is None else list(chosen)
    return [
        entry for benchmark in wanted for entry in _named(describe, benchmark) or _not_excluded(describe, benchmark)
    ]


def _named(describe: Describe, benchmark: str) -> list[Overlap]:
    """What named data sets show, the benchmark's own training part first; the stages of one name are joined."""
    stages: dict[tuple[_Known, str], list[str]] = {}
    for data in describe.training_data:
        for known in _KNOWN:
            name = known.named_in(data.dataset) if known.benchmark == benchmark else None
            if name:
                stages.setdefault((known, name), []).append(data.stage)
    entries = [
        Overlap(benchmark, known.kind, f"{known.what} ({name}, {' and '.join(dict.fromkeys(seen))})", known.source)
        for (known, name), seen in stages.items()
    ]
    return sorted(entries, key=lambda entry: entry.kind != "questions")


def _not_excluded(describe: Describe, benchmark: str) -> list[Overlap]:
    """One entry where web data or an unlisted mixture may hold the benchmark; none where it cannot."""
    if (benchmark in _HEARD) != (describe.domain == "speech"):
        return []
    reasons = [why for data in describe.training_data if (why := _possible(data.dataset))]
    return [Overlap(benchmark, "possible", reasons[0], "not searched for this benchmark")] if reasons else []


def _possible(dataset: str) -> str:
    """Why a data set may hold anything; empty where it cannot."""
    for name in _CRAWLS:
        if re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", dataset):
            return f"web data ({name})"
    return next((f"parts of the training data are not listed ({name})" for name in _UNLISTED if name in dataset), "")
