"""Penn Treebank tokens of captions, as COCO's caption evaluation makes them.

Stanford's tokeniser (CoreNLP 3.4.1, lower case) followed by the removal of punctuation, both as in pycocoevalcap 1.2.

One departure, on purpose. The tokeniser looks past the end of a line to decide whether the dot of "K." ends a sentence,
so in pycocoevalcap a caption's tokens depend on the caption that happens to come next. Here each caption is followed by
a line "The" or "the", as the caption itself begins with a capital or not, and its tokens depend on nothing else. Of
31,464 COCO and Flickr30k captions, all get the tokens that they get in file order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.errors import MetricError
from harness.metrics.java import package_file, run_java

if TYPE_CHECKING:
    from collections.abc import Mapping

JAR = "tokenizer/stanford-corenlp-3.4.1.jar"
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
"""Tokens that COCO's evaluation removes; its brackets are written in capitals and so stay, as -lrb- and -rrb-."""

_LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x00\x1c-\x1e\x85\u2028\u2029]")


def tokenise(captions: Iterable[str]) -> Mapping[str, str]:
    """Caption → its tokens joined by single spaces; one run of the tokeniser for all of them.

    An empty caption, or one of punctuation alone, has no tokens and becomes "".

    Raises:
        MetricUnavailable: no Java or no pycocoevalcap.
        MetricError: the tokeniser fails.
    """
    lines = {caption: _LINE_BREAK.sub(" ", caption).strip() for caption in captions}
    work = sorted({line for line in lines.values() if line})
    tokens = {"": ""}
    if work:
        text = "".join(f"{line}\n{'The' if line[0].isupper() else 'the'}\n" for line in work)
        arguments = ["-cp", str(package_file(JAR)), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines"]
        printed = run_java([*arguments, "-lowerCase"], text, timeout_s=60 + len(work) / 500).split("\n")
        found = printed[: 2 * len(work) : 2]
        if len(found) != len(work) or any(line != "the" for line in printed[1 : 2 * len(work) : 2]):
            raise MetricError(
                f"the PTB tokeniser gave {len(printed)} lines for {2 * len(work)}; its output is not usable"
            )
        for line, printed_line in zip(work, found, strict=True):
            tokens[line] = " ".join(t for t in printed_line.rstrip().split(" ") if t not in PUNCTUATION)
    return {caption: tokens[line] for caption, line in lines.items()}
