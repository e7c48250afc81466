"""Sample ids that a data set's reader and a reader of other people's answers must make alike.

Only benchmarks without ids of their own are here. An id is made of what is asked, never of a row number, so that it
stays the same under subsets and reordering.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import PurePosixPath


class ChartQAIds:
    """Ids of ChartQA questions: `human/two_col_101/1f2e3d4c5b`, with `#2` for a repeated question.

    The published sets repeat some questions word for word; each occurrence counts, as in the published scores.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def next(self, subset: str, imgname: str, query: str) -> str:
        """The id of the next occurrence of this question in file order."""
        digest = hashlib.sha256(query.encode("utf-8", "surrogatepass")).hexdigest()[:10]
        base = f"{subset}/{PurePosixPath(imgname).stem}/{digest}"
        self._seen[base] += 1
        return base if self._seen[base] == 1 else f"{base}#{self._seen[base]}"


MMBENCH_PASS = 1_000_000
"""A question's circular passes carry its index + 1,000,000 x pass."""


def mmbench_id(index: int, circular_pass: int = 0) -> str:
    """The id of one circular pass of an MMBench question."""
    return str(index % MMBENCH_PASS + MMBENCH_PASS * (index // MMBENCH_PASS + circular_pass))
