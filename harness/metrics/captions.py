"""The registered caption metrics. Their numbers are those of pycocoevalcap 1.2 after its PTB tokeniser.

Every one has per-image statistics whose sums give the corpus value; see `bleu`, `rouge`, `cider`, `meteor`, `spice`.
"""

from __future__ import annotations

from harness.metrics.bleu import Bleu
from harness.metrics.cider import Cider
from harness.metrics.meteor import Meteor
from harness.metrics.rouge import RougeL
from harness.metrics.spice import Spice
from harness.metrics.variants import no_variants


def bleu_1(variant: str = "") -> Bleu:
    """The metric BLEU-1."""
    no_variants("bleu-1", variant)
    return Bleu(1)


def bleu_2(variant: str = "") -> Bleu:
    """The metric BLEU-2."""
    no_variants("bleu-2", variant)
    return Bleu(2)


def bleu_3(variant: str = "") -> Bleu:
    """The metric BLEU-3."""
    no_variants("bleu-3", variant)
    return Bleu(3)


def bleu_4(variant: str = "") -> Bleu:
    """The metric BLEU-4."""
    no_variants("bleu-4", variant)
    return Bleu(4)


def rouge_l(variant: str = "") -> RougeL:
    """The metric ROUGE-L."""
    no_variants("rouge-l", variant)
    return RougeL()


def cider(variant: str = "") -> Cider:
    """The metric CIDEr: `subset-idf` (default) or `full-idf`."""
    return Cider(variant)


def meteor(variant: str = "") -> Meteor:
    """The metric METEOR."""
    no_variants("meteor", variant)
    return Meteor()


def spice(variant: str = "") -> Spice:
    """The metric SPICE."""
    no_variants("spice", variant)
    return Spice()
